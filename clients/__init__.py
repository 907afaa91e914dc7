"""Clients of the systems outside; a module each: how it is reached, what it is asked, and its errors.

Knows neither checks nor bot.
"""
