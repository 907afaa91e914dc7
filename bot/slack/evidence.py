"""Evidence that is too long for a form: the whole attachment of a result, as a file in the thread of its release."""

from __future__ import annotations

from bot.domain.checklist import Check
from bot.domain.posts import CardPost
from bot.domain.results import Result
from bot.domain.view import ReleaseView
from bot.slack import text
from bot.slack.blocks.details import fits
from bot.store import checks, files, posts
from bot.store.files import File
from bot.store.pool import Tx

KIND = "evidence"


def share(tx: Tx, view: ReleaseView, check: Check, result: Result) -> None:
    """Owe the thread the whole attachment of ``result`` where the form shows only its beginning; each one once."""
    if fits(result):
        return
    name = text.clean(result.attachment_name) or "attachment.txt"
    whole = File(
        name=name,
        title=f"{check.id}, {name}",
        content=checks.attachment(tx, result.id).encode(),
        comment=f"Everything that {text.bold(check.title, 150)} saw, {text.moment(result.finished_at)}.",
    )
    card = posts.find(tx, view.release.id, CardPost())
    files.enqueue_file(tx, view.release.id, KIND, str(result.id), whole, parent=card.id if card else None)
