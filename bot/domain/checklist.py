"""The checklist as data: sections, checks, steps and watch, and the rules that hold between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar, Literal, TypeAlias

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator
from pydantic_core import PydanticCustomError

from bot.domain.actions import Notify, RunCheck, StepSpec
from bot.domain.ids import CheckId
from bot.domain.model import Model, digest_of, read_duration
from bot.renamed_keys import DocumentModel, RenamedKeys
from checks.spelling import did_you_mean

ID = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?")
ID_LIMIT = 150  # characters; a button carries the id, and its whole value has 2,000


ATTEST_KIND = "attest"  # the kind that only a person answers
ANNOUNCED_KIND = "announced"  # the kind that the bot's own message at the end of a release answers
IN_A_RELEASE = frozenset({ATTEST_KIND, ANNOUNCED_KIND})  # nobody can be asked these without a release

Phase: TypeAlias = Literal["before", "after"]
Path: TypeAlias = tuple[str | int, ...]  # keys and indexes, from the top of the file
ChecklistProblem: TypeAlias = tuple[str, Path]  # what is wrong, and where
_OF_A_REFERENCE = frozenset({"id", "title", "same_as", "action", "expected", "runbook"})  # all else its original says


class Check(Model):
    """One line of the checklist: a question, or with ``same_as`` a second place in which another one is shown.

    A reference is never asked itself. The Checklist gives it what its original says, so that who looks at kind, target
    or waivable need not tell the two apart; only what the file says is stored.
    """

    id: CheckId
    title: str = Field(max_length=150)  # the wording of the checklist's line
    same_as: CheckId | None = None  # the check whose result this line shows
    kind: str = ""
    target: str = "staging"  # name of a target in the configuration
    params: dict[str, Any] = Field(default_factory=dict)
    action: str = ""  # the command or action, in the checklist's words
    expected: str = ""  # what the checklist expects, in its words
    runbook: str = ""  # section of the runbook; empty: that of the section here
    waivable: bool = True
    max_age: timedelta = Field(default=timedelta(hours=4), gt=timedelta(0))  # an older PASS has expired
    timeout: float | None = Field(default=None, gt=0)  # seconds; unset: the kind's own
    needs: tuple[CheckId, ...] = ()  # checks that must have passed before this one runs

    _read_age = field_validator("max_age", mode="before")(read_duration)

    @model_validator(mode="after")
    def _asked_or_referring(self) -> Check:
        """A check says how it is asked, or whose result it shows; never both."""
        if self.same_as is None and not self.kind:
            raise ValueError("a check needs kind, or same_as with the id of another check")
        own_keys = sorted(self.model_fields_set - _OF_A_REFERENCE)
        if self.same_as is not None and own_keys:
            raise ValueError(f"with same_as the other check defines how it runs: remove {', '.join(own_keys)}")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write all keys of a check, and of a reference only its own."""
        values: dict[str, Any] = serialize(self)
        if self.same_as is None:
            return {key: value for key, value in values.items() if key != "same_as"}
        return {key: value for key, value in values.items() if key in _OF_A_REFERENCE}

    @property
    def canonical_id(self) -> CheckId:
        """The id under which it is asked, recorded and waived: its own, or that of its original."""
        return self.same_as or self.id


class Section(Model):
    """A group of checks; ``gate`` says whether they decide Go or No-Go.

    With ``blocks`` a section holds up the deploy as well, and its lines are no rows of the Go/No-Go table.
    """

    id: str
    title: str
    runbook: str = ""
    gate: bool = False
    blocks: bool = False  # without gate: holds up a deploy too, beside the rows that decide
    phase: Phase = "before"  # before the deploy, or close-out after it
    checks: tuple[Check, ...] = Field(min_length=1)


class Probe(Model):
    """One question that the watch asks at each poll. Its kind is told when the deploy began."""

    id: CheckId
    title: str = Field(max_length=150)
    kind: str
    target: str = "production"  # name of a target in the configuration
    params: dict[str, Any] = Field(default_factory=dict)
    timeout: float | None = Field(default=None, gt=0)  # seconds; unset: the kind's own
    confirm_polls: int = Field(default=1, ge=1, le=10)  # how many polls must find fault before it is an alarm

    @property
    def as_check(self) -> Check:
        """The probe as the check that one poll runs."""
        return Check(**self.model_dump(exclude={"confirm_polls"}))


class WatchSpec(Model):
    """What the watch after the deploy asks; how long and how often is configuration."""

    probes: tuple[Probe, ...] = Field(
        default=(Probe(id=CheckId("watch.issues"), title="New and regressed issues in Sentry", kind="sentry_quiet"),),
        min_length=1,
    )


def check_of_step(step_id: str, title: str, action: RunCheck, *, timeout: float | None = None) -> Check:
    """The check that a step runs. ``timeout``: seconds, instead of those of the action."""
    check = Check(id=CheckId(step_id), title=title, **action.model_dump(exclude={"do"}))
    return check if timeout is None else check.model_copy(update={"timeout": timeout})


class Checklist(Model, DocumentModel):
    """A whole checklist. Its digest is stored with the Release and is part of every sign-off's fingerprint."""

    renamed_keys: ClassVar[RenamedKeys] = {
        ("watch", "probes", "*", "confirm"): "confirm_polls",
        ("deploy", "*", "action", "remind"): "remind_after",
        ("rollback", "*", "action", "remind"): "remind_after",
    }

    id: str
    title: str
    runbook: str = ""  # link or path
    sections: tuple[Section, ...] = Field(min_length=1)
    deploy: tuple[StepSpec, ...] = Field(min_length=1)
    rollback: tuple[StepSpec, ...] = Field(min_length=1)
    watch: WatchSpec = WatchSpec()

    @field_validator("sections")
    @classmethod
    def _fill_in(cls, sections: tuple[Section, ...]) -> tuple[Section, ...]:
        """Give each line its section's place in the runbook where it names none, and one with ``same_as`` what its
        original says; a reference that leads nowhere is refused below.
        """
        checks_by_id = {check.id: check for section in sections for check in section.checks}

        def fill_in(check: Check, runbook: str) -> Check:
            more: dict[str, Any] = {"runbook": check.runbook or runbook}
            if check.same_as in checks_by_id:
                original = checks_by_id[check.same_as]
                more |= {name: getattr(original, name) for name in Check.model_fields if name not in _OF_A_REFERENCE}
            return check.model_copy(update=more)

        return tuple(
            section.model_copy(update={"checks": tuple(fill_in(check, section.runbook) for check in section.checks)})
            for section in sections
        )

    @model_validator(mode="after")
    def _consistent(self) -> Checklist:
        """Refuse a checklist that contradicts itself, with everything that is wrong at once."""
        if problems := [
            *self._bad_ids(),
            *self._bad_gates(),
            *self._bad_references(),
            *self._bad_needs(),
            *self._bad_steps(),
        ]:
            raise PydanticCustomError("checklist", "{first}", {"first": problems[0][0], "problems": problems})
        return self

    def _bad_gates(self) -> Iterator[ChecklistProblem]:
        """No section that decides, one that decides or holds up too late or says so twice, one that waits for what comes later."""
        if not any(section.gate for section in self.sections):
            yield "no section has gate: true, so nothing would decide Go or No-Go", ("sections",)
        for number, section in enumerate(self.sections):
            if section.gate and section.phase == "after":
                yield "what decides Go or No-Go can't run after the deploy", ("sections", number, "phase")
            if section.blocks and section.phase == "after":
                yield "what blocks a deploy can't run after it", ("sections", number, "blocks")
            for index, check in enumerate(section.checks if section.phase == "before" else ()):
                if check.kind == ANNOUNCED_KIND:
                    yield (
                        "a release is announced after its deploy: use phase: after",
                        ("sections", number, "checks", index, "kind"),
                    )
            if section.blocks and section.gate:
                yield "gate: true blocks a deploy already: remove blocks", ("sections", number, "blocks")

    def _bad_references(self) -> Iterator[ChecklistProblem]:
        """A ``same_as`` that leads nowhere, on to another reference, or across the deploy."""
        checks_by_id = {check.id: (section.phase, check) for section in self.sections for check in section.checks}
        for number, section in enumerate(self.sections):
            for index, check in enumerate(section.checks):
                at: Path = ("sections", number, "checks", index, "same_as")
                if check.same_as is None:
                    continue
                if check.same_as not in checks_by_id:
                    suggestion = did_you_mean(check.same_as, checks_by_id.keys() - {check.id})
                    yield f"{check.id} is the same as {check.same_as!r}, which is not in the checklist{suggestion}", at
                    continue
                asked_in, original = checks_by_id[check.same_as]
                if original.same_as is not None:
                    yield f"{original.id} is itself a reference: name {original.same_as}", at
                elif asked_in != section.phase:
                    yield f"{original.id} is asked {asked_in} the deploy, and this line {section.phase} it", at

    def _bad_needs(self) -> Iterator[ChecklistProblem]:
        """Needs that lead nowhere or in a circle."""
        checks_by_id = {check.id: check for check in self.checks}
        for number, section in enumerate(self.sections):
            for index, check in enumerate(section.checks):
                at: Path = ("sections", number, "checks", index, "needs")
                others = checks_by_id.keys() - {check.id}
                for need in check.needs:
                    if need not in checks_by_id:
                        suggestion = did_you_mean(need, others)
                        yield f"{check.id} needs {need!r}, which is not in the checklist{suggestion}", at
                    elif checks_by_id[need].same_as is not None:
                        yield f"{need} only shows the result of {checks_by_id[need].same_as}: name that one", at
                if self._reaches(checks_by_id, check.needs, check.id):
                    yield f"{check.id} needs itself in a circle", at

    def _bad_steps(self) -> Iterator[ChecklistProblem]:
        """A step of the deploy that only a rollback can have."""
        for index, step in enumerate(self.deploy):
            if isinstance(step.action, Notify):
                yield (
                    f"{step.id}: `do: notify` announces the end of a rollback; a deploy has none",
                    ("deploy", index, "action"),
                )

    def _bad_ids(self) -> Iterator[ChecklistProblem]:
        """Malformed, too long or double ids. Sections have ids of their own; checks, steps and probes share theirs."""
        sections: list[tuple[str, Path]] = [
            (section.id, ("sections", number, "id")) for number, section in enumerate(self.sections)
        ]
        others: list[tuple[str, Path]] = [
            (check.id, ("sections", number, "checks", index, "id"))
            for number, section in enumerate(self.sections)
            for index, check in enumerate(section.checks)
        ]
        for plan, steps in (("deploy", self.deploy), ("rollback", self.rollback)):
            others += [(step.id, (plan, index, "id")) for index, step in enumerate(steps)]
        others += [(probe.id, ("watch", "probes", index, "id")) for index, probe in enumerate(self.watch.probes)]
        for group in ([(self.id, ("id",))], sections, others):
            names_so_far: set[str] = set()
            for name, at in group:
                if not ID.fullmatch(name):
                    yield f"ids are lower-case words such as go.backup, not {name!r}", at
                elif len(name) > ID_LIMIT:
                    yield f"an id has at most {ID_LIMIT} characters, not {len(name)}: buttons carry it", at
                if name in names_so_far:
                    yield f"the id {name!r} is used twice", at
                names_so_far.add(name)

    @staticmethod
    def _reaches(checks_by_id: dict[CheckId, Check], start: tuple[CheckId, ...], goal: CheckId) -> bool:
        ids_so_far: set[CheckId] = set()
        stack = list(start)
        while stack:
            current = stack.pop()
            if current == goal:
                return True
            if current in checks_by_id and current not in ids_so_far:
                ids_so_far.add(current)
                stack.extend(checks_by_id[current].needs)
        return False

    @property
    def checks(self) -> tuple[Check, ...]:
        """All lines, references too, in the order of the file."""
        return tuple(check for section in self.sections for check in section.checks)

    @property
    def distinct_checks(self) -> tuple[Check, ...]:
        """The checks that are asked: every line but the references, in the order of the file."""
        return tuple(check for check in self.checks if check.same_as is None)

    def distinct_checks_in(self, phase: Phase) -> tuple[Check, ...]:
        """The checks that are asked in one phase, in the order of the file."""
        return tuple(
            check
            for section in self.sections
            if section.phase == phase
            for check in section.checks
            if check.same_as is None
        )

    @property
    def gate_checks(self) -> tuple[Check, ...]:
        """The checks that decide Go or No-Go."""
        return tuple(check for section in self.sections if section.gate for check in section.checks)

    @property
    def non_gate_checks(self) -> tuple[tuple[Section, Check], ...]:
        """The lines before the deploy whose results are not in the Go/No-Go table, with their sections; each result once."""
        ids_so_far = {check.canonical_id for check in self.gate_checks}
        lines = []
        for section in sorted(self.sections, key=lambda one: not one.blocks):  # what blocks in one place blocks
            for check in section.checks if section.phase == "before" else ():
                if check.canonical_id not in ids_so_far:
                    ids_so_far.add(check.canonical_id)
                    lines.append((section, check))
        return tuple(lines)

    def check(self, check_id: str) -> Check | None:
        """The check of that id, or None."""
        return next((check for check in self.checks if check.id == check_id), None)

    def section(self, section_id: str) -> Section | None:
        """The section of that id, or None."""
        return next((section for section in self.sections if section.id == section_id), None)

    def step(self, step_id: str) -> StepSpec | None:
        """The step of that id in either plan, or None."""
        return next((step for step in (*self.deploy, *self.rollback) if step.id == step_id), None)

    def dependents(self, check_id: CheckId) -> tuple[CheckId, ...]:
        """The checks that need ``check_id``, directly or through another, in the order of the file."""
        dependent_ids = {check_id}
        for _ in self.distinct_checks:
            dependent_ids |= {check.id for check in self.distinct_checks if dependent_ids & set(check.needs)}
        return tuple(check.id for check in self.distinct_checks if check.id in dependent_ids and check.id != check_id)

    @property
    def body(self) -> dict[str, Any]:
        """The checklist as JSON values, complete with defaults; ``Checklist.model_validate`` reads it back."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """sha256 over the canonical JSON of all that it says, so comments and layout of the file do not count."""
        return digest_of(self.body)
