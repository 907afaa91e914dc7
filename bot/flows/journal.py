"""Journal: what a step writes down in our tables while it acts: fenced by the claim of who carries it out, and redacted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bot.domain.ids import ReleaseId
from bot.domain.plan import Mutation
from bot.domain.posts import CardPost
from bot.errors import StepError, Superseded
from bot.flows.deps import Deps, Job
from bot.store import files, mitigations, posts, steps, work
from bot.store.files import File
from checks.runner import redact_values


class StepJournal:
    """The journal of one step."""

    def __init__(
        self, deps: Deps, job: Job, release_id: ReleaseId, row: int, planned: Sequence[Mutation] | None = None
    ) -> None:
        """``planned``: the only changes that it may make; None: whatever it finds to be done."""
        self._deps, self._job, self._release_id, self._row, self._planned = deps, job, release_id, row, planned

    def intent(self, changes: Sequence[Mutation]) -> None:
        """Store what is about to be changed, directly before it is. Raises StepError when that is not what was planned.

        Prolongs the lease. Raises Superseded in a process that stood still meanwhile for so long that another one may have
        followed it: what it would ask a vendor for then, nobody could refuse.
        """
        clean = self._deps.clean
        intended = [change.scrub(clean) for change in changes]
        planned = None if self._planned is None else [change.scrub(clean) for change in self._planned]
        for change in intended:
            if planned is not None and change not in planned:
                raise StepError(
                    f"{change.what} has changed since the plan was made: it is {change.now or 'not there'} now",
                    hint="Find out who and why. A retry plans this step anew and carries on from what stands there now.",
                )
        clock, claim = self._deps.clock, self._job.claim
        started = clock.steady()
        with self._deps.store.transaction() as tx:
            if not work.renew(tx, claim):
                raise Superseded
            steps.write_journal(tx, self._row, claim.token, "intent", {"changes": [change.body for change in intended]})
        if clock.steady() - started > work.ACT_WITHIN:
            raise Superseded

    def observed(self, **body: object) -> None:
        """Store what was seen; a vendor's words may be among it."""
        self._write("observed", body)

    def unmade(self, changes: Sequence[Mutation]) -> None:
        """Store that a change was refused."""
        self._write("observed", {"changes": [change.body for change in changes]})

    def seen(self) -> list[Mapping[str, Any]]:
        """What was seen so far."""
        with self._deps.store.transaction() as tx:
            work.ensure_claim(tx, self._job.claim)
            return [line["body"] for line in steps.journal(tx, self._row) if line["entry"] == "observed"]

    def begun(self) -> bool:
        """Whether the step ever was about to change something, in any attempt and by any process."""
        with self._deps.store.transaction() as tx:
            work.ensure_claim(tx, self._job.claim)
            return any(line["entry"] == "intent" for line in steps.journal(tx, self._row))

    def acted(self, **body: object) -> None:
        """Store what was changed."""
        self._write("acted", body)

    def before(self, **body: object) -> None:
        """Keep what stood there before the first change, for people: a rollback goes by what was recorded exactly."""
        with self._deps.store.transaction() as tx:
            work.ensure_claim(tx, self._job.claim)
            steps.before(tx, self._row, redact_values(body, self._deps.clean))

    def progress(self, line: str) -> None:
        """Show how far it is."""
        with self._deps.store.transaction() as tx:
            work.ensure_claim(tx, self._job.claim)
            if steps.progress(tx, self._row, self._deps.clean(line, 200)):
                posts.mark_stale(tx, self._release_id)

    def log(self, name: str, title: str, text: str) -> None:
        """Owe the thread a file with what something printed."""
        content = self._deps.clean(text).encode()
        if not content:
            return
        with self._deps.store.transaction() as tx:
            work.ensure_claim(tx, self._job.claim)
            card = posts.find(tx, self._release_id, CardPost())
            files.enqueue_file(
                tx,
                self._release_id,
                "step",
                f"{self._row}/{name}",
                File(name, title, content),
                parent=card.id if card else None,
            )

    def _write(self, entry: str, body: dict[str, object]) -> None:
        with self._deps.store.transaction() as tx:
            work.ensure_claim(tx, self._job.claim)
            steps.write_journal(tx, self._row, self._job.claim.token, entry, redact_values(body, self._deps.clean))


class MitigationJournal(StepJournal):
    """The journal of a mitigation: that of the step which offers it; what people see of it stands in its own row."""

    def __init__(self, deps: Deps, job: Job, release_id: ReleaseId, row: int, mitigation: int) -> None:
        """``row``: of the step, ``mitigation``: its own id."""
        super().__init__(deps, job, release_id, row)
        self._mitigation = mitigation

    def progress(self, line: str) -> None:
        """Show how far it is."""
        with self._deps.store.transaction() as tx:
            work.ensure_claim(tx, self._job.claim)
            if mitigations.say(tx, self._mitigation, progress=self._deps.clean(line, 200)):
                posts.mark_stale(tx, self._release_id)
