"""The report as Markdown: the whole release without the long attachments, to be pasted or kept under version control."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bot.evidence import reading

Row = Mapping[str, Any]
LONGEST = 300  # characters of a cell; the whole stands in release.json and on the page


def render(facts: Row, record: Sequence[Row]) -> str:
    """Return the report of a release from its facts and its record."""
    version = facts["release"]["version"]
    parts = [
        f"# Evidence of {_text(version)}: {_text(facts['release']['state'])}",
        f"Made {reading.moment(facts['made_at'])}. People are Slack user ids. Times are UTC.",
        _table(("", ""), reading.facts_of_release(facts)),
        _table(("Figure", ""), reading.numbers(facts)),
        *_checks(facts),
        *_people(facts),
        *_break_glass(facts),
        *_steps(facts),
        *_mitigations(facts),
        *_watch(facts),
        *_messages(facts),
        *_record(record),
    ]
    return "\n\n".join(parts) + "\n"


def _checks(facts: Row) -> Iterable[str]:
    for section in reading.sections(facts):
        yield f"## {_text(section.title)}" + (" (decides)" if section.gate else "")
        yield _table(
            ("Line", "Result", "What was found", "Asked", "By", "When"),
            (
                (
                    line.title,
                    line.status,
                    *((run["summary"], run["asked"], run["by_whom"], reading.moment(run["finished_at"]))),
                )
                if (run := line.results[0] if line.results else None) is not None
                else (line.title, line.status, "", "", "", "")
                for line in section.lines
            ),
        )


def _people(facts: Row) -> Iterable[str]:
    yield "## Sign-offs"
    yield _table(
        ("Role", "By", "For", "Verdict", "Reason", "When", "Ended"),
        (
            (
                row["role"], row["by_whom"], row["purpose"], row["verdict"], row["reason"], reading.moment(row["at"]),
                f"{row['ended_why']}, {row['ended_by']}" if row["ended_at"] else "",
            )
            for row in reading.rows(facts, "signoffs")
        ),
    )  # fmt: skip
    yield "## Waivers"
    yield _table(
        ("Check", "By", "Reason", "When"),
        (
            (row["check_id"], row["by_whom"], row["reason"], reading.moment(row["at"]))
            for row in reading.rows(facts, "waivers")
        ),
    )


def _break_glass(facts: Row) -> Iterable[str]:
    for row in reading.rows(facts, "break_glass"):
        yield "## Break-glass"
        yield f"Deployed past the gate by {_text(row['by_whom'])}, {reading.moment(row['at'])}: {_text(row['reason'], LONGEST)}"
        yield _table(("Passed over", "Reason"), ((one["cause"], one["text"]) for one in row["passed"]))
        yield f"Review: {_text(reading.review_of(row), LONGEST)}"


def _mitigations(facts: Row) -> Iterable[str]:
    if mitigations := reading.rows(facts, "mitigations"):
        yield "## Mitigations"
        yield _table(
            ("What", "Why", "Owner", "Since", "End"),
            (
                (row["what"], row["reason"], row["owner"], reading.moment(row["begun_at"]), reading.end_of(row))
                for row in mitigations
            ),
        )


def _steps(facts: Row) -> Iterable[str]:
    for run in reading.plan_runs(facts):
        yield f"## {_text(run.title)}"
        yield _table(
            ("Step", "State", "What was done", "Began", "Took", "By hand"),
            (
                (
                    title, row["state"], row["summary"], reading.moment(row["started_at"]),
                    reading.between(row["started_at"], row["finished_at"]),
                    f"{row['by_whom']}: {row['note']}" if row["by_whom"] else "",
                )
                for title, row in run.steps
            ),
        )  # fmt: skip


def _watch(facts: Row) -> Iterable[str]:
    for row in reading.rows(facts, "watches"):
        yield "## Watch"
        yield f"{row['polls']} polls from {reading.moment(row['started_at'])} to {reading.moment(row['ends_at'])}: {row['state']}."
        yield _table(
            ("Alarm", "Kind", "When", "Acknowledged"),
            (
                (
                    f"{alarm['short_id']} {alarm['title']}", alarm["kind"], reading.moment(alarm["at"]),
                    f"{alarm['acknowledged_by']}: {alarm['note']}" if alarm["acknowledged_by"] else "no",
                )
                for alarm in reading.rows(facts, "alarms")
            ),
        )  # fmt: skip


def _messages(facts: Row) -> Iterable[str]:
    yield "## Messages"
    yield _table(
        ("When", "Kind", "Text", "Link"),
        (
            (reading.moment(message["sent_at"]), message["kind"], message["text"], message["permalink"])
            for message in facts["messages"]
        ),
    )


def _record(record: Sequence[Row]) -> Iterable[str]:
    yield "## Record"
    yield _table(
        ("Row", "When", "Who", "What", "Details"),
        (
            (str(row["seq"]), reading.moment(row["at"]), row["actor"], row["event"], _body(reading.event_fields(row)))
            for row in record
        ),
    )
    yield f"Head: `{record[-1]['hash'] if record else 'none'}`. FORMAT.md says how to verify it."


def _body(body: Row) -> str:
    return json.dumps(body, ensure_ascii=False, sort_keys=True) if body else ""


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = ["| " + " | ".join(_text(cell, LONGEST) for cell in line) + " |" for line in lines]
    if not rows:
        return "None."
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *rows])


def _text(text: object, limit: int = 200) -> str:
    """Return a text from outside, escaped, so that nothing in it is markup, on one line and of at most ``limit`` characters."""
    words = " ".join(str(text).split())
    words = words if len(words) <= limit else words[: limit - 1] + "…"
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>|#!~$" else char for char in words).replace("&", "&amp;")
