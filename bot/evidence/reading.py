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
    """One line of the checklist with its results and its waiver."""

    id: str
    title: str
    results: Sequence[Row]  # the results, the newest first
    waiver: Row | None

    @property
    def status(self) -> str:
        """The newest outcome, WAIVED if it was waived without a PASS, or NOT RUN."""
        newest = self.results[0]["outcome"] if self.results else "NOT RUN"
        return "WAIVED" if newest != "PASS" and self.waiver is not None else str(newest)

    @property
    def good(self) -> bool:
        """Whether the line allows the deploy."""
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
    """Return the sections of the checklist in order; a line that repeats another check has the results of that."""
    results: dict[str, list[Row]] = {}
    for row in rows(facts, "check_results"):
        results.setdefault(row["check_id"], []).insert(0, row)
    waivers = {row["check_id"]: row for row in rows(facts, "waivers")}
    return [
        SectionEvidence(
            str(section["title"]),
            bool(section.get("gate")),
            [_line(check, results, waivers) for check in section.get("checks", ())],
        )
        for section in facts["checklist"].get("sections", ())
    ]


def _line(check: Row, results: Mapping[str, list[Row]], waivers: Mapping[str, Row]) -> LineEvidence:
    check_id = str(check.get("same_as") or check["id"])
    title = str(check.get("title") or check["id"])
    return LineEvidence(str(check["id"]), title, results.get(check_id, ()), waivers.get(check_id))


def plan_runs(facts: Row) -> list[PlanRun]:
    """Return each run of the deploy and of the rollback, in order."""
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
    """Return the entries of the journal of one step."""
    return [entry for entry in facts.get("journal", ()) if entry["step"] == step["id"]]


def rows(facts: Row, table: str) -> Sequence[Row]:
    """Return the rows of a table; none if the pack does not have the table."""
    named_rows: Sequence[Row] = facts["rows"].get(table, ())
    return named_rows


def event_fields(event: Row) -> Row:
    """Return the fields of an event, without its version and the digests of rows."""
    return {key: value for key, value in event["body"].items() if key not in {"rows", "event_version"}}


def event_sentence(event: Row) -> str:
    """Return what an event means, in a sentence; empty for an event of a newer bot."""
    kind = EVENTS.get(event["event"])  # none where a newer bot has written it
    return (kind.__doc__ or "").partition("\n")[0] if kind else ""


def review_of(break_glass: Row) -> str:
    """Return the result of the review of a break-glass, for people."""
    if not break_glass["reviewed_by"]:
        return "nobody has reviewed it yet"
    return f"by {break_glass['reviewed_by']}, {moment(break_glass['reviewed_at'])}: {break_glass['finding']}"


def end_of(mitigation: Row) -> str:
    """Return when and by whom a mitigation was put back, for people."""
    if not mitigation["resolved_at"]:
        return "not put back yet"
    by_hand = f", by hand: {mitigation['note']}" if mitigation["note"] else ""
    return f"put back by {mitigation['resolved_by']}, {moment(mitigation['resolved_at'])}{by_hand}"


def facts_of_release(facts: Row) -> Iterator[tuple[str, str]]:
    """Return the facts and times of the release as pairs of name and value; unknown ones are left out."""
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
    """Return the figures of the release as pairs of name and value."""
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
    """Return a time as people write it, in UTC; empty if there is none."""
    return f"{_time(text):%d %b %Y, %H:%M:%S} UTC" if text else ""


def between(begin: str | None, end: str | None) -> str:
    """Return the time between two moments, as ``42 s``, ``12 min`` or ``3 h 05 min``; empty if one is unknown."""
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
