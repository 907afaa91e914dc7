"""Questions about a target, each answered by one kind. Runs without Slack and without our tables; imports nothing of bot."""
