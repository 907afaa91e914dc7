"""Tests that prove what the project promises; `docs` and the folders below say which."""
