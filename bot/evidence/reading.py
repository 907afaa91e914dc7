"""What a reader wants to know, read out of the facts: the lines of the checklist, the steps, times in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bot.domain.events import EVENTS

Row = Mapping[str, Any]

PLANS = {"deploy": "Deploy", "rollback": "Rollback"}


@dataclass(frozen=True)
class LineEvidence:
    """One line of the checklist with what is known of it."""

    id: str
    title: str
    results: Sequence[Row]  # the results, the newest first
    waiver: Row | None

    @property
    def status(self) -> str:
        """What became of it: the newest outcome, WAIVED where a person let it go, NOT RUN."""
        newest = self.results[0]["outcome"] if self.results else "NOT RUN"
        return "WAIVED" if newest != "PASS" and self.waiver is not None else str(newest)

    @property
    def good(self) -> bool:
        """Whether it lets the release go."""
        return self.status in {"PASS", "WAIVED"}


@dataclass(frozen=True)
class SectionEvidence:
    """One section of the checklist."""

    title: str
    gate: bool
    lines: Sequence[LineEvidence]


@dataclass(frozen=True)
class PlanRun:
    """One run of a plan: its steps with their titles."""

    title: str
    steps: Sequence[tuple[str, Row]]


def sections(facts: Row) -> list[SectionEvidence]:
    """The sections of the checklist in order; a line that shows another's result has that."""
    results_by_check: dict[str, list[Row]] = {}
    for row in rows(facts, "check_results"):
        results_by_check.setdefault(row["check_id"], []).insert(0, row)
    waivers = {row["check_id"]: row for row in rows(facts, "waivers")}
    return [
        SectionEvidence(
            str(section["title"]),
            bool(section.get("gate")),
            [_line(check, results_by_check, waivers) for check in section.get("checks", ())],
        )
        for section in facts["checklist"].get("sections", ())
    ]


def _line(check: Row, results_by_check: Mapping[str, list[Row]], waivers: Mapping[str, Row]) -> LineEvidence:
    check_id = str(check.get("same_as") or check["id"])
    return LineEvidence(
        str(check["id"]),
        str(check.get("title") or check["id"]),
        results_by_check.get(check_id, ()),
        waivers.get(check_id),
    )


def plan_runs(facts: Row) -> list[PlanRun]:
    """Each run of the deploy and of the rollback, in order."""
    titles = {step["id"]: step.get("title", step["id"]) for plan in PLANS for step in facts["checklist"].get(plan, ())}
    steps = sorted(rows(facts, "steps"), key=lambda row: (row["plan"], row["run"], row["ordinal"]))
    steps_by_run: dict[tuple[str, int], list[tuple[str, Row]]] = {}
    for row in steps:
        steps_by_run.setdefault((row["plan"], row["run"]), []).append(
            (str(titles.get(row["step_id"], row["step_id"])), row)
        )
    return [
        PlanRun(PLANS.get(plan, plan) + (f", run {run}" if run > 1 else ""), each)
        for (plan, run), each in steps_by_run.items()
    ]


def journal_of(facts: Row, step: Row) -> list[Row]:
    """What one step wrote into its journal."""
    return [entry for entry in facts.get("journal", ()) if entry["step"] == step["id"]]


def rows(facts: Row, table: str) -> Sequence[Row]:
    """The rows of a table; none where the pack has no such table."""
    named_rows: Sequence[Row] = facts["rows"].get(table, ())
    return named_rows


def event_fields(event: Row) -> Row:
    """What an event tells, without what binds rows to it."""
    return {key: value for key, value in event["body"].items() if key not in {"rows", "event_version"}}


def event_sentence(event: Row) -> str:
    """What an event means in a sentence."""
    kind = EVENTS.get(event["event"])  # none where a newer bot has written it
    return (kind.__doc__ or "").partition("\n")[0] if kind else ""


def review_of(break_glass: Row) -> str:
    """What became of the review of a break-glass, in words."""
    if not break_glass["reviewed_by"]:
        return "nobody has reviewed it yet"
    return f"by {break_glass['reviewed_by']}, {moment(break_glass['reviewed_at'])}: {break_glass['finding']}"


def end_of(mitigation: Row) -> str:
    """How a mitigation ended, in words: when, and by whom it was put back."""
    if not mitigation["resolved_at"]:
        return "it is not put back yet"
    by_hand = f", by hand: {mitigation['note']}" if mitigation["note"] else ""
    return f"put back by {mitigation['resolved_by']}, {moment(mitigation['resolved_at'])}{by_hand}"


def facts_of_release(facts: Row) -> Iterator[tuple[str, str]]:
    """What the release is and when what happened, name by name; what is not known is left out."""
    release = facts["release"]
    yield "Version", release["version"]
    yield "State", release["state"]
    yield "Environment", release["environment"]
    yield "Commit", release["commit_sha"]
    yield "Image", f"{release['image']}@{release['digest']}"
    yield "Release manager", release["manager"]
    for name, value in (
        ("Deployed by", release["deployer"]),
        ("Reason", release["reason"]),
        ("Notes", release["notes_url"]),
    ):
        if value:
            yield name, value
    for name in ("started_at", "deployed_at", "closed_at"):
        if release[name]:
            yield name.removesuffix("_at").capitalize(), moment(release[name])
    yield "Checklist", release["checklist_digest"]
    yield "Policy", release["policy_digest"]


def numbers(facts: Row) -> list[tuple[str, str]]:
    """The release in a few figures: a word and its value."""
    lines = [line for section in sections(facts) for line in section.lines]
    deciding = [line for section in sections(facts) if section.gate for line in section.lines]
    release = facts["release"]
    active_signoffs = [row for row in rows(facts, "signoffs") if not row["ended_at"] and row["purpose"] == "deploy"]
    approvals = sum(row["verdict"] == "approve" for row in active_signoffs)
    figures = [
        ("Go/No-Go", f"{sum(line.good for line in deciding)} of {len(deciding)}"),
        ("All lines", f"{sum(line.good for line in lines)} of {len(lines)}"),
        ("Waived", str(sum(line.status == "WAIVED" for line in lines))),
        ("Approvals", str(approvals)),
        ("Alarms", str(len(rows(facts, "alarms")))),
    ]
    if release["closed_at"]:
        figures.append(("Took", between(release["started_at"], release["closed_at"])))
    return figures


def moment(text: str | None) -> str:
    """A time as people write it, in UTC; empty where there is none."""
    return f"{_time(text):%d %b %Y, %H:%M:%S} UTC" if text else ""


def between(begin: str | None, end: str | None) -> str:
    """How long it took: ``42 s``, ``12 min``, ``3 h 05 min``; empty where one of the two is not known."""
    if not begin or not end:
        return ""
    seconds = (_time(end) - _time(begin)).total_seconds()
    if seconds < 10:  # noqa: PLR2004  below it a tenth tells something
        return f"{seconds:.1f} s"
    if seconds < 120:  # noqa: PLR2004  two minutes
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
