"""Doctor: of everything that the checklist uses, what works, what is missing and what to do. Reads only, all side by side."""

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

from bot.flows.needed import EVERY_RELEASE, Part, Said, needed
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
    """One part to be asked; ``lines`` of the checklist need it."""

    part: str
    ask: Callable[[], Sequence[Finding]]
    lines: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()  # of the vendor, which take long to load


@dataclass(frozen=True)
class Examination:
    """All that is asked at once, and what is known without asking."""

    questions: tuple[Question, ...] = ()
    known: tuple[Said, ...] = ()

    def carry_out(self, tell: Callable[[Sequence[str]], None]) -> list[Said]:
        """Ask, and say everything; ``tell`` hears who is waited for."""
        return [*self.known, *examine(self.questions, tell)]


def examination(
    settings: Settings, checklist: Checklist, registry: Registry, own: Iterable[Question], known: Iterable[Said]
) -> Examination:
    """What a checklist needs, after the bot's ``own`` parts. ``known``: of those, what needs no question."""
    parts, found = needed(settings, checklist, registry)
    return Examination((*own, *questions(parts, settings)), (*known, *found))


def configured(checklist: Checklist) -> Said:
    """Of a configuration with which the bot starts."""
    return Said("Configuration", Finding(State.OK, f"file, policy and the checklist {checklist.id} are good"))


def database_question(url: str, *, embedded: bool = False) -> Question:
    """How the bot's own database is."""
    return Question(OWN_DATABASE, partial(own_database, url, embedded=embedded), (EVERY_RELEASE,))


def ask(tx: Tx, examination: Examination, asked_by: int) -> str:
    """Have everything examined for whoever sent the delivery ``asked_by`` (row of the inbox); the findings are a second answer."""
    names = [question.part for question in examination.questions]
    work.enqueue(tx, QUEUE, asked_by)
    listed = ", ".join(names)
    return f"Asking {listed}. The findings follow within half a minute." if names else "There is nobody to ask."


def questions(parts: Iterable[Part], settings: Settings) -> list[Question]:
    """Whom to ask about them; of some, such as the id of a tenant, it only matters that they are set."""
    found = [(part, _ask(part, settings)) for part in parts]
    return [
        Question(part.title, ask, part.lines, _PACKAGES.get(part.section, ())) for part, ask in found if ask is not None
    ]


def _ask(part: Part, settings: Settings) -> Callable[[], Sequence[Finding]] | None:
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


def own_database(url: str, *, embedded: bool = False) -> list[Finding]:
    """The bot's own: reachable, up to date, and its role with what deploy/postgres-grants.sql gives.

    An ``embedded`` one is brought up to date by the next start, and its role is the owner on purpose.
    """
    lines = (EVERY_RELEASE,)
    try:
        with psycopg.connect(url, row_factory=dict_row, connect_timeout=int(CONNECT_TIMEOUT)) as tx:
            if (names := list_missing_in(tx)) and embedded:
                return [Finding(State.NOTE, f"lacks {len(names)} migrations, which the next start applies")]
            if names:
                what = f"lacks {len(names)} migrations, from {names[0]} on"
                return [Finding(State.MISSING, what, "Run as its owner:", "release-bot migrate", lines)]
            lacking = own_grants.list_missing_rights(tx)
            role, rules = tx.info.user, own_grants.rules_over_the_record(tx)
    except psycopg.OperationalError as error:
        refused = databases.ANSWERED in str(error)
        hint = (
            "Correct user, password and database in DATABASE_URL."
            if refused
            else "Is the server up, and its host right?"
        )
        return [Finding(State.MISSING if refused else State.UNREACHABLE, first_line(error), hint, lines=lines)]
    except psycopg.Error as error:
        return [Finding(State.MISSING, first_line(error), "Is this the bot's own database?", lines=lines)]
    if lacking:
        names = [f"{right} on {table}" for table, right in lacking]
        what = f"the role {role} may not {', '.join(names[:5])}{' and so on' if names[5:] else ''}"
        rule = 'psql "$OWNER_DATABASE_URL" --file deploy/postgres-grants.sql'
        return [Finding(State.MISSING, what, "Run as the owner of the tables:", rule, lines)]
    found = [Finding(State.OK, "answers and is up to date")]
    if rules and not embedded:
        hint = "Better give the bot a role of its own: docs/howto/run-in-production.md."
        found.append(Finding(State.NOTE, f"the role {role} could change the record", hint))
    return found


def examine(questions: Iterable[Question], tell: Callable[[Sequence[str]], None]) -> list[Said]:
    """Ask all side by side, and say what each said, in their order. ``tell`` hears every two seconds who is waited for."""
    asked = list(questions)
    answers: queue.SimpleQueue[tuple[int, Sequence[Finding]]] = queue.SimpleQueue()
    for number, question in enumerate(asked):
        # Daemons, so that a system which says nothing at all does not keep the program from ending.
        threading.Thread(target=_answer, args=(number, question, answers), daemon=True).start()
    # On a busy machine these take as long as all the answers together: that is no vendor's fault, so it does not count.
    load(*sorted({package for question in asked for package in question.packages}))
    found: dict[int, Sequence[Finding]] = {}
    end = time.monotonic() + DEADLINE
    while len(found) < len(asked) and (left := end - time.monotonic()) > 0:
        try:
            number, findings = answers.get(timeout=min(left, TELL_EVERY))
        except queue.Empty:
            tell([question.part for number, question in enumerate(asked) if number not in found])
        else:
            found[number] = findings
    return [
        Said(question.part, finding)
        for number, question in enumerate(asked)
        for finding in found.get(number, [_silent(question)])
    ]


def _answer(number: int, question: Question, answers: queue.SimpleQueue[tuple[int, Sequence[Finding]]]) -> None:
    try:
        findings = question.ask()
    except ClientError as error:
        findings = [trouble(error, question.lines)]
    # The one seam, as for checks: whatever else a vendor's package throws means that it could not be found out.
    except Exception as error:
        logger.exception("asking %s failed unexpectedly", question.part)
        what = f"unexpected {type(error).__name__}"
        findings = [Finding(State.UNREACHABLE, what, "This is a fault of the bot: see its log.", lines=question.lines)]
    answers.put((number, findings))


def _silent(question: Question) -> Finding:
    what = f"no answer within {DEADLINE:.0f} s"
    return Finding(State.UNREACHABLE, what, "Is it up and reachable from here?", lines=question.lines)
