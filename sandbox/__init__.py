"""A world to try the release bot in: a Slack-like workspace and a simulated product with its vendors.

A program of its own (`python -m sandbox`). It imports neither `bot` nor `checks`, and they do not import it: they
meet over sockets only, exactly as the bot meets Slack and a real environment.
"""
