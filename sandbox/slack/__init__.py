"""A Slack workspace in one process: enough of Slack for slack_sdk, Bolt and a person with a browser.

What belongs here is how Slack behaves, with its limits and refusals. Nothing here knows what the bot is for; the
simulated product and its vendors live beside this package.
"""

from sandbox.slack.server import SlackServer

__all__ = ["SlackServer"]
