"""The Web API, method by method. A module here holds what belongs to one family of methods; how a request arrives,
who may call and how often is the business of `sandbox.slack.web_api`.
"""

from sandbox.slack.methods import chat, conversations, directory, files, pins, session, views
from sandbox.slack.methods.call import Method

METHODS: dict[str, Method] = {
    **session.METHODS,
    **chat.METHODS,
    **conversations.METHODS,
    **directory.METHODS,
    **views.METHODS,
    **files.METHODS,
    **pins.METHODS,
}
