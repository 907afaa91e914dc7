"""The bot as a process, acted upon by people of the simulated workspace."""
