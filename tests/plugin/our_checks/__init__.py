"""Kinds of another team, installed beside the bot as pip would lay them out: what a plugin's author writes, and no more."""
