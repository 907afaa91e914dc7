"""Tests of the sandbox: real clients against its servers."""
