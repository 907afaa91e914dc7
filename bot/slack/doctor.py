"""Doctor: carries out what `/release doctor` asked for, and owes the findings to whoever asked."""

from __future__ import annotations

import logging
from datetime import datetime

from bot.flows.deps import Deps, Job
from bot.slack.blocks import doctor
from bot.slack.blocks import status as answers
from bot.slack.blocks.limits import Rendered
from bot.slack.delivery import sender_of
from bot.store import inbox, replies, work
from checks.runner import redact_values

logger = logging.getLogger(__name__)

PART = "findings"  # of the answer


class Doctor:
    """Carries out the queue `doctor`."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def execute(self, job: Job) -> datetime | None:
        """Examine all parts for one delivery (key: id of its inbox row). After a crash it is done again, and answered once."""
        findings = self._deps.examination().carry_out(lambda parts: logger.info("waiting for %s", ", ".join(parts)))
        self._owe(job, doctor.findings([one.with_clean_words(self._deps.clean) for one in findings]))
        return None

    def give_up(self, job: Job, error: Exception) -> None:
        """Say that nothing could be found out."""
        logger.error("gave up examining for inbox %s: %s", job.claim.key, type(error).__name__)
        self._owe(job, answers.answer("The parts couldn't be checked.", "Type `/release doctor` again."))

    def _owe(self, job: Job, answer: Rendered) -> None:
        with self._deps.store.transaction() as tx:
            work.ensure_claim(tx, job.claim)
            row = inbox.get(tx, int(job.claim.key))
            if row is None:
                return
            to = sender_of(row, self._deps.channel)
            body = redact_values({"text": answer.text, "blocks": answer.blocks}, self._deps.clean)
            replies.store_reply(
                tx, row.id, to.user, to.channel, to.response_url, body, self._deps.clock.now(), part=PART
            )
