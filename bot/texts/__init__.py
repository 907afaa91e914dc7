"""Texts: the sentences that say what values of the domain mean, in plain text.

Rules give values, and Slack, the terminal and the record tell people of them with these words. No markup, no rule, no I/O.
"""
