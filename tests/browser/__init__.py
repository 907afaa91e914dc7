"""Tests that drive the page of the sandbox with a real browser."""
