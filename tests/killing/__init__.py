"""The bot's release worker as a real process, killed or stopped at each point of a deploy and of a rollback."""
