"""Doctor: asks every system that the checklist uses, all at once, what works, what is missing and what to do. Reads only."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import psycopg
from psycopg.rows import dict_row

from bot.flows.configuration_needs import EVERY_RELEASE, Part, PartFinding, list_needed_parts
from bot.store import grants as own_grants
from bot.store import work
from bot.store.migrate import list_missing_in
from checks.checkup import cluster, databases, product, repository, vendors
from checks.checkup.finding import Finding, Needs, State, trouble
from clients.cluster import KUBE_PACKAGES
from clients.errors import ClientError, first_line
from clients.http import CONNECT_TIMEOUT
from clients.packages import load

if TYPE_CHECKING:
    from bot.domain.checklist import Checklist
    from bot.settings import Settings
    from bot.store.pool import Tx
    from checks.registry import Registry
    from clients.target import Target

logger = logging.getLogger(__name__)

DEADLINE = 15.0  # seconds for all, once the vendors' packages are loaded; for one answer see checks.checkup.finding
TELL_EVERY = 2.0  # seconds without a word
QUEUE = "doctor"
OWN_DATABASE = "The bot's database"


@dataclass(frozen=True)
class Question:
    """One part that is asked, with the ids of the lines of the checklist that need it."""

    part: str
    ask: Callable[[], Sequence[Finding]]
    lines: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()  # of the vendor, which take long to load


@dataclass(frozen=True)
class Examination:
    """The questions that are asked at once, and the findings that need no question."""

    questions: tuple[Question, ...] = ()
    findings: tuple[PartFinding, ...] = ()

    def carry_out(self, tell: Callable[[Sequence[str]], None]) -> list[PartFinding]:
        """Ask all questions and return all findings; ``tell`` gets the names of the parts that have not answered yet."""
        return [*self.findings, *examine(self.questions, tell)]


def examination(settings: Settings, checklist: Checklist, registry: Registry, own: Examination) -> Examination:
    """Return the examination of the bot's ``own`` parts, and then of all that the checklist needs."""
    parts, findings = list_needed_parts(settings, checklist, registry)
    return Examination((*own.questions, *list_questions(parts, settings)), (*own.findings, *findings))


def configuration_findings(settings: Settings, checklist: Checklist) -> list[PartFinding]:
    """Return the findings for a configuration with which the bot starts: that it is good, and each key with a new name."""
    good = Finding(State.OK, f"file, policy and checklist {checklist.id} are valid")
    notes = [Finding(State.NOTE, f"{notice}: rename it") for notice in (*settings.notices, *checklist.notices)]
    return [PartFinding("Configuration", finding) for finding in (good, *notes)]


def database_question(url: str, *, is_embedded: bool = False) -> Question:
    """Return the question about the state of the bot's own database."""
    return Question(OWN_DATABASE, partial(examine_own_database, url, is_embedded=is_embedded), (EVERY_RELEASE,))


def request_examination(tx: Tx, examination: Examination, asked_by: int) -> str:
    """Enqueue the examination, and return the first answer; a worker sends the findings as a second one.

    ``asked_by``: the row of the inbox with the delivery of the person who asked.
    """
    names = [question.part for question in examination.questions]
    work.enqueue(tx, QUEUE, asked_by)
    part_names = ", ".join(names)
    return f"Asking {part_names}. The findings follow within half a minute." if names else "There is nothing to ask."


def list_questions(parts: Iterable[Part], settings: Settings) -> list[Question]:
    """Return a question for each part that can be asked; others, such as the id of a tenant, need only be set."""
    return [
        Question(part.title, examiner, part.lines, _PACKAGES.get(part.section, ()))
        for part in parts
        if (examiner := _examiner_of(part, settings)) is not None
    ]


def _examiner_of(part: Part, settings: Settings) -> Callable[[], Sequence[Finding]] | None:
    section = part.section
    if section == "registry" and settings.registry is not None:
        return partial(vendors.registry, settings.registry, part.lines)
    target = part.target
    if section == "kubernetes":
        return partial(cluster.cluster, target, part.rights)
    if section in {"api_url", "frontend_url"}:
        return partial(product.address, target, str(getattr(target, section)), part.lines)
    if section != "vercel" and not any(use.right for use in part.needs):
        return None
    examine = EXAMINERS.get(section)
    return examine and partial(examine, target, part.needs)


_PACKAGES = {"kubernetes": KUBE_PACKAGES, "backup": ("boto3",), "stripe": ("stripe",)}
# What is asked about a section of a target's, by name; the preflight of a deploy asks some of it too.
EXAMINERS: Mapping[str, Callable[[Target, Needs], list[Finding]]] = {
    "database_url": databases.database,
    "migrate_database_url": partial(databases.database, setting="migrate_database_url"),
    "restore_database_url": databases.restore_server,
    "backup": vendors.bucket,
    "sentry": vendors.sentry,
    "grafana": vendors.grafana,
    "stripe": vendors.stripe,
    "github": repository.github,
    "vercel": vendors.vercel,
}


def examine_own_database(url: str, *, is_embedded: bool = False) -> list[Finding]:
    """Check that the bot's own database answers, is migrated, and gives its role the rights of deploy/postgres-grants.sql.

    An embedded one is migrated by the next start, and its role is the owner on purpose.
    """
    lines = (EVERY_RELEASE,)
    try:
        with psycopg.connect(url, row_factory=dict_row, connect_timeout=int(CONNECT_TIMEOUT)) as tx:
            if (names := list_missing_in(tx)) and is_embedded:
                return [Finding(State.NOTE, f"needs {len(names)} migrations, which the next start applies")]
            if names:
                what = f"needs {len(names)} migrations, starting with {names[0]}"
                return [Finding(State.MISSING, what, "Run as its owner:", "release-bot migrate", lines)]
            missing_rights = own_grants.list_missing_rights(tx)
            role, rules = tx.info.user, own_grants.rules_over_the_record(tx)
    except psycopg.OperationalError as error:
        state, hint = State.UNREACHABLE, "Is the server up, and is its host right?"
        if databases.ANSWERED in str(error):
            state, hint = State.MISSING, "Fix the user, password or database in DATABASE_URL."
        return [Finding(state, first_line(error), hint, lines=lines)]
    except psycopg.Error as error:
        return [Finding(State.MISSING, first_line(error), "Is this the bot's own database?", lines=lines)]
    if missing_rights:
        names = [f"{right} on {table}" for table, right in missing_rights]
        what = f"the role {role} isn't allowed to {', '.join(names[:5])}{' and so on' if names[5:] else ''}"
        rule = 'psql "$OWNER_DATABASE_URL" --file deploy/postgres-grants.sql'
        return [Finding(State.MISSING, what, "Run as the owner of the tables:", rule, lines)]
    findings = [Finding(State.OK, "works and is up to date")]
    if rules and not is_embedded:
        hint = "Give the bot a separate role: docs/howto/run-in-production.md."
        findings.append(Finding(State.NOTE, f"the role {role} could change the record", hint))
    return findings


def examine(questions: Iterable[Question], tell: Callable[[Sequence[str]], None]) -> list[PartFinding]:
    """Ask all questions at once, and return the findings in the order of the questions.

    ``tell`` gets every two seconds the parts that have not answered yet. Who does not answer in time is UNREACHABLE.
    """
    pending = list(questions)
    results: queue.SimpleQueue[tuple[int, Sequence[Finding]]] = queue.SimpleQueue()
    for number, question in enumerate(pending):
        # Daemons, so that a system which says nothing at all does not keep the program from ending.
        threading.Thread(target=_put_findings, args=(number, question, results), daemon=True).start()
    # On a busy machine these take as long as all the answers together: that is no vendor's fault, so it does not count.
    load(*sorted({package for question in pending for package in question.packages}))
    findings_by_number: dict[int, Sequence[Finding]] = {}
    end = time.monotonic() + DEADLINE
    while len(findings_by_number) < len(pending) and (seconds_left := end - time.monotonic()) > 0:
        try:
            number, findings = results.get(timeout=min(seconds_left, TELL_EVERY))
        except queue.Empty:
            tell([question.part for number, question in enumerate(pending) if number not in findings_by_number])
        else:
            findings_by_number[number] = findings
    return [
        PartFinding(question.part, finding)
        for number, question in enumerate(pending)
        for finding in findings_by_number.get(number, [_silence_finding(question)])
    ]


def _put_findings(number: int, question: Question, results: queue.SimpleQueue[tuple[int, Sequence[Finding]]]) -> None:
    try:
        findings = question.ask()
    except ClientError as error:
        findings = [trouble(error, question.lines)]
    # The one seam, as for checks: whatever else a vendor's package throws means that it could not be found out.
    except Exception as error:
        logger.exception("asking %s failed unexpectedly", question.part)
        what = f"unexpected {type(error).__name__}"
        findings = [Finding(State.UNREACHABLE, what, "This is a bug in the bot: see its log.", lines=question.lines)]
    results.put((number, findings))


def _silence_finding(question: Question) -> Finding:
    what = f"no answer within {DEADLINE:.0f} s"
    return Finding(State.UNREACHABLE, what, "Is it up and reachable from the bot?", lines=question.lines)
