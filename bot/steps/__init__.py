"""What changes the world, or judges it for a step of a plan. Knows nothing of Slack or of our tables."""
