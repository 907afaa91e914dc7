"""Tests that hold for all of a sort: every kind, every step, every file of the repository."""
