"""Importer: makes one of our checklists of somebody's issue template. It reads, places, proposes and writes; no I/O."""
