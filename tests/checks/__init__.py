"""Tests of the checks: each kind green, red for the right reason, and ERROR when it could not find out."""
