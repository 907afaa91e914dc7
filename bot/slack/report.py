"""Report: the evidence pack of a release, made for the command line and for the thread of its card (promise P9)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from bot.domain.actor import Actor
from bot.domain.events import EvidenceExported
from bot.domain.posts import CardPost
from bot.domain.view import ReleaseView
from bot.errors import RefusedError
from bot.evidence import pack
from bot.flows import report
from bot.flows.commit import commit_change
from bot.slack import text
from bot.slack.blocks.limits import Rendered
from bot.slack.blocks.render import render
from bot.store import files, posts
from bot.store.files import File
from bot.store.pool import Tx
from checks.runner import redact_values

KIND = "pack"


def make(tx: Tx, view: ReleaseView, redact: Callable[[str], str]) -> bytes:
    """The pack as a ZIP file. Every text in it passes ``redact`` once more: a secret may have become known meanwhile."""
    record = report.record(tx, view, redact)
    facts, digests = report.gather(tx, view, redact, report.format_of(record))
    return pack.build({**facts, "messages": redact_values(_messages(tx, view), redact)}, record, digests)


def share(tx: Tx, view: ReleaseView, actor: Actor, redact: Callable[[str], str], delivery: int) -> str:
    """Owe the thread of the card the pack of the release. ``asked``: the delivery that asked for it, for which it is made once."""
    card = posts.find(tx, view.release.id, CardPost())
    if card is None:
        raise RefusedError("The release has no message in Slack yet.", hint="Try again in a moment.")
    version = view.release.version
    content = make(tx, view, redact)
    mark = hashlib.sha256(content).hexdigest()
    file = File(
        name=f"evidence-{version}.zip",
        title=f"Evidence of {version}",
        content=content,
        comment=f"Evidence of {text.outside(text.name(view), 150)}, for {text.mention(actor.user)}. sha256 `{mark}`",
    )
    files.enqueue_file(tx, view.release.id, KIND, str(delivery), file, parent=card.id)
    event = EvidenceExported(sha256=mark, bytes=len(content))
    commit_change(tx, view.release.id, event, at=view.now, by=actor.user)
    return f"The evidence of {version} comes as a file in the thread of its card."


def _messages(tx: Tx, view: ReleaseView) -> list[dict[str, Any]]:
    """Each message of the release as it is to stand now."""
    messages = []
    for post in posts.of_release(tx, view.release.id):
        message = render(post.about, view)
        messages.append(
            {
                "kind": post.kind,
                "subject": post.subject,
                "channel": post.channel,
                "ts": post.ts,
                "permalink": post.permalink,
                "sent_at": post.sent_at.isoformat() if post.sent_at else None,
                "in_thread": post.parent is not None,
                "text": message.text,
                "lines": _lines(message),
                "blocks": message.blocks,
            }
        )
    return messages


def _lines(message: Rendered) -> list[str]:
    """What people read in a message, from top to bottom, without its buttons."""
    return [line for block in message.blocks if block["type"] != "actions" for line in _texts(block)]


def _texts(part: Any) -> list[str]:
    if isinstance(part, list):
        return [words for item in part for words in _texts(item)]
    if not isinstance(part, dict) or part.get("type") == "button":
        return []
    own = [part["text"]] if isinstance(part.get("text"), str) else []
    return own + [words for value in part.values() for words in _texts(value)]
