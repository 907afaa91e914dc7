"""Evidence: what is known of one release, as a pack of files that can be read and verified with nothing but Python.

Pure functions over JSON: where the rows come from and where the pack goes is not known here.
"""
