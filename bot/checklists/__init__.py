"""Checklists: the ones that ship, how one is read from its file, and the JSON Schema of such files. No rule of a release."""
