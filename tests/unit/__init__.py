"""Tests of rules and renderers: no socket, no file, no clock."""
