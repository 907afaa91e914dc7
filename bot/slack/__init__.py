"""The way in from Slack and the way out to it.

What lives here: the grammar of `/release`, action ids and button payloads, the sentences and messages that people see,
and the thin code that receives from Slack and publishes to it. What does not: rules (bot.domain), use cases
(bot.flows), SQL (bot.store). `blocks`, `grammar`, `ids` and `text` are pure and import no Slack package.
"""
