"""What several kinds share, whatever product they look at. What serves one kind alone lives with it."""
