"""The simulated product and the vendors around it: one aiohttp application a file, no Slack and no Kubernetes."""
