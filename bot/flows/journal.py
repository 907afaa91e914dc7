"""Journal: what a step records in our tables while it acts, redacted. Only the worker that has the claim may write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from bot.domain.ids import ReleaseId
from bot.domain.plan import Mutation
from bot.domain.posts import CardPost
from bot.errors import StepError, Superseded
from bot.flows.deps import Deps, Job
from bot.store import files, mitigations, posts, steps, work
from bot.store.files import File
from bot.store.pool import Tx
from checks.runner import redact_values


class StepJournal:
    """The journal of one step. Each method raises Superseded when the claim of the job is lost."""

    def __init__(
        self, deps: Deps, job: Job, release_id: ReleaseId, row: int, allowed_changes: Sequence[Mutation] | None = None
    ) -> None:
        """``row``: of the step. ``allowed_changes``: the only changes that it may make; None: all."""
        self._deps, self._job, self._release_id, self._row, self._planned = deps, job, release_id, row, allowed_changes

    def record_intent(self, changes: Sequence[Mutation]) -> None:
        """Store the changes that the step makes next, and renew the lease. Raises StepError for a change that is not allowed.

        Raises Superseded too when storing took so long that another process may have taken over meanwhile: a vendor could
        not refuse the second request.
        """
        clean = self._deps.clean
        clean_changes = [change.scrub(clean) for change in changes]
        allowed_changes = None if self._planned is None else [change.scrub(clean) for change in self._planned]
        for change in clean_changes:
            if allowed_changes is not None and change not in allowed_changes:
                raise StepError(
                    f"{change.what} has changed since the plan was made. It is {change.now or 'not there'} now",
                    hint="Find out who and why. A retry plans this step again and continues from the current state.",
                )
        clock, claim = self._deps.clock, self._job.claim
        start = clock.steady()
        with self._deps.store.transaction() as tx:
            if not work.renew(tx, claim):
                raise Superseded
            bodies = [change.body for change in clean_changes]
            steps.write_journal(tx, self._row, claim.token, "intent", {"changes": bodies})
        if clock.steady() - start > work.ACT_WITHIN:
            raise Superseded

    def record_observation(self, **body: object) -> None:
        """Store what the step saw."""
        self._write("observed", body)

    def record_refusal(self, changes: Sequence[Mutation]) -> None:
        """Store that the changes of the last intent were refused, so that nothing of them was made."""
        self._write("observed", {"changes": [change.body for change in changes]})

    def observations(self) -> list[Mapping[str, Any]]:
        """Return what was stored with `record_observation`, in every attempt and by every process; the oldest first."""
        with self._claimed_transaction() as tx:
            return [line["body"] for line in steps.journal(tx, self._row) if line["entry"] == "observed"]

    def has_intent(self) -> bool:
        """Whether an intent of the step was ever stored, in any attempt and by any process."""
        with self._claimed_transaction() as tx:
            return any(line["entry"] == "intent" for line in steps.journal(tx, self._row))

    def record_action(self, **body: object) -> None:
        """Store what the step has changed."""
        self._write("acted", body)

    def record_state_before(self, **body: object) -> None:
        """Store what was there before the first change, for people; a rollback goes by its own exact record."""
        with self._claimed_transaction() as tx:
            steps.before(tx, self._row, redact_values(body, self._deps.clean))

    def show_progress(self, line: str) -> None:
        """Show people how far the step is, in one line."""
        with self._claimed_transaction() as tx:
            if steps.progress(tx, self._row, self._deps.clean(line, 200)):
                posts.mark_stale(tx, self._release_id)

    def attach_log(self, name: str, title: str, text: str) -> None:
        """Enqueue ``text`` as a file in the thread of the release; nothing for an empty text. Once for each ``name``."""
        content = self._deps.clean(text).encode()
        if not content:
            return
        with self._claimed_transaction() as tx:
            card = posts.find(tx, self._release_id, CardPost())
            files.enqueue_file(
                tx,
                self._release_id,
                "step",
                f"{self._row}/{name}",
                File(name, title, content),
                parent=card.id if card else None,
            )

    @contextmanager
    def _claimed_transaction(self) -> Iterator[Tx]:
        with self._deps.store.transaction() as tx:
            work.ensure_claim(tx, self._job.claim)
            yield tx

    def _write(self, entry: str, body: dict[str, object]) -> None:
        with self._claimed_transaction() as tx:
            steps.write_journal(tx, self._row, self._job.claim.token, entry, redact_values(body, self._deps.clean))


class MitigationJournal(StepJournal):
    """The journal of a mitigation: the one of the step that offers it, but its progress is shown in its own message."""

    def __init__(self, deps: Deps, job: Job, release_id: ReleaseId, row: int, mitigation: int) -> None:
        """``row``: of the step; ``mitigation``: the id of the mitigation."""
        super().__init__(deps, job, release_id, row)
        self._mitigation = mitigation

    def show_progress(self, line: str) -> None:
        """Show people how far the mitigation is, in one line."""
        with self._claimed_transaction() as tx:
            if mitigations.say(tx, self._mitigation, progress=self._deps.clean(line, 200)):
                posts.mark_stale(tx, self._release_id)
