"""The release bot: Slack in front, PostgreSQL as the only truth behind, rules as pure functions in between."""
