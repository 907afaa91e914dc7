"""Cuts a text to the characters that it may have: always visibly, and never to an empty text, which Slack refuses."""

from __future__ import annotations

NOTHING = "-"  # in the place of an empty text
_ELLIPSIS = "…"


def cut_plain(text: str, limit: int) -> str:
    """``text`` in at most ``limit`` characters, for plain text and raw cells."""
    text = text.strip() or NOTHING
    return text if len(text) <= limit else text[: limit - 1].rstrip() + _ELLIPSIS


def cut_mrkdwn(text: str, limit: int) -> str:
    """``text`` in at most ``limit`` characters, for mrkdwn of ours in which every outside string is escaped.

    Never cuts inside an entity (``&amp;``) or a token (``<@U…>``): the remains would mean something else.
    """
    text = text.strip() or NOTHING
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    if head.rfind("<") > head.rfind(">"):
        head = head[: head.rfind("<")]
    if head.rfind("&") > head.rfind(";"):
        head = head[: head.rfind("&")]
    return head.rstrip() + _ELLIPSIS
