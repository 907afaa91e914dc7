"""The only code that touches our tables."""
