"""The clients of the systems outside, against real servers."""
