"""Measures the figures that the design promises, as ratios within one run. See README.md. Imports the tests' demo."""
