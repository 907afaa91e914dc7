"""Checkup: what of the systems that checks ask works, what is missing and what to do; each module asks one of them, and reads only."""
