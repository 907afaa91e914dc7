"""The report as one HTML page: everything about the release, with no script and nothing from the network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from bot.evidence import reading

Row = Mapping[str, Any]

GOOD = {"PASS", "DONE", "done", "attested", "approve", "clean"}
BAD = {"FAIL", "ERROR", "failed", "decline", "DEPLOY_FAILED", "ROLLBACK_FAILED", "regressed"}
MIND = {"WAIVED", "INCONCLUSIVE", "NOT RUN", "NOT REVIEWED", "IN FORCE", "ROLLED_BACK", "ABORTED", "ROLLING_BACK"}
MIND |= {"to_attest", "cancelled", "accepted", "ended"}
LABELS = {"to_attest": "not attested", "approve": "approved", "decline": "declined", "ROLLED_BACK": "ROLLED BACK"}
# The page may not load anything, whoever put what into the texts on it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(facts: Row, record: Sequence[Row]) -> str:
    """Return the page of a release from its facts and its record."""
    release = facts["release"]
    parts = [
        *_checks(facts),
        _people(facts),
        *_break_glass(facts),
        *_steps(facts),
        *_mitigations(facts),
        *_watch(facts),
        _messages(facts),
        _record(record),
    ]
    name = f"{facts['checklist'].get('title', '')} {release['version']}".strip()
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, _ in parts)
    body = "".join(f'<section id="{anchor}">{content}</section>' for anchor, _, content in parts)
    style = resources.files("bot.evidence").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evidence of {escape(name)}</title><style>\n{style}</style></head><body><main>"
        f"{_header(facts, name)}<nav>{links}</nav>{body}</main></body></html>\n"
    )


Part = tuple[str, str, str]  # anchor, title (HTML), content (HTML)


def _header(facts: Row, name: str) -> str:
    figures = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(word)}</span></div>" for word, value in reading.numbers(facts)
    )
    facts_list = "".join(
        f"<dt>{escape(word)}</dt><dd>{_value(word, value)}</dd>" for word, value in reading.facts_of_release(facts)
    )
    notice = (
        f"Evidence pack, made {escape(reading.moment(facts['made_at']))}. People are Slack user ids, times are UTC."
    )
    title = f"<h1>{escape(name)} {_badge(facts['release']['state'])}</h1>"
    return (
        f'<header>{title}<p class="soft">{notice}</p><dl>{facts_list}</dl><div class="figures">{figures}</div></header>'
    )


def _value(word: str, value: str) -> str:
    if word in {"Commit", "Image", "Checklist", "Policy"}:
        return f"<code>{escape(value)}</code>"
    return escape(value)


def _checks(facts: Row) -> Iterable[Part]:
    for number, section in enumerate(reading.sections(facts), start=1):
        through = sum(line.good for line in section.lines)
        note = f"{through} of {len(section.lines)}" + (", decides Go or No-Go" if section.gate else "")
        title = escape(section.title)
        lines = "".join(_line(line) for line in section.lines)
        table = _table(("Result", "Line", "When", "By"), lines)
        yield f"checks-{number}", title, f"<h2>{title} <small>{note}</small></h2>{table}"


def _line(line: reading.LineEvidence) -> str:
    newest = line.results[0] if line.results else None
    words = f"<b>{escape(line.title)}</b>"
    if newest is not None:
        words += f"<br>{escape(newest['summary'])}"
    if line.waiver is not None:
        words += f"<br><i>Waived by {escape(line.waiver['by_whom'])}: {escape(line.waiver['reason'])}</i>"
    words += "".join(_run(line, run, number) for number, run in enumerate(line.results))
    when = reading.moment(newest["finished_at"]) if newest else ""
    by = newest["by_whom"] if newest else ""
    return _entry(line.status, words, when, by)


def _run(line: reading.LineEvidence, run: Row, number: int) -> str:
    took = reading.between(run["started_at"], run["finished_at"])
    earlier = f"{_badge(run['outcome'])} {escape(reading.moment(run['finished_at']))}: {escape(run['summary'])}"
    summary = f"What was asked and seen, in {took}" if number == 0 else f"Before: {earlier}"
    parts = [("Asked", run["asked"]), ("Expected", run["expected"]), ("Seen", run["seen"])]
    parts += [(run["attachment_name"] or "Attachment", run["attachment"]), ("Hint", run["hint"])]
    texts = "".join(f"<h3>{escape(name)}</h3><pre>{escape(text)}</pre>" for name, text in parts if text)
    return f'<details><summary>{summary}</summary><p class="soft"><code>{escape(line.id)}</code></p>{texts}</details>'


def _people(facts: Row) -> Part:
    signoffs = "".join(
        _entry(
            "ended" if row["ended_at"] else row["verdict"],
            f"<b>{escape(row['role'].replace('_', ' '))}</b> for the {escape(row['purpose'])}{_because(row['reason'])}"
            f"{_end_of_signoff(row)}<br><span class='soft'>fingerprint <code>{escape(row['fingerprint'])}</code></span>",
            reading.moment(row["at"]),
            row["by_whom"],
        )
        for row in reading.rows(facts, "signoffs")
    )
    waivers = "".join(
        _entry(
            "WAIVED",
            f"<b>{escape(row['check_id'])}</b>{_because(row['reason'])}",
            reading.moment(row["at"]),
            row["by_whom"],
        )
        for row in reading.rows(facts, "waivers")
    )
    head = ("", "", "When", "By")
    return "people", "Sign-offs", f"<h2>Sign-offs</h2>{_table(head, signoffs)}<h2>Waivers</h2>{_table(head, waivers)}"


def _break_glass(facts: Row) -> Iterable[Part]:
    for row in reading.rows(facts, "break_glass"):
        when, mark = reading.moment(row["at"]), "done" if row["reviewed_by"] else "NOT REVIEWED"
        intro = f"<p>Deployed past the gate by {escape(row['by_whom'])}, {escape(when)}{_because(row['reason'])}</p>"
        lines = "".join(_entry(one["cause"], escape(one["text"]), when) for one in row["passed"])
        review = f"<p>{_badge(mark)} Review: {escape(reading.review_of(row))}</p>"
        table = _table(("Reason", "What was overridden", "When"), lines)
        yield "break-glass", "Break-glass", f"<h2>Break-glass</h2>{intro}{table}{review}"


def _because(reason: str) -> str:
    return f": {escape(reason)}" if reason else ""


def _end_of_signoff(row: Row) -> str:
    if not row["ended_at"]:
        return ""
    return f"<br><i>Ended {escape(reading.moment(row['ended_at']))} by {escape(row['ended_by'])}: {escape(row['ended_why'])}</i>"


def _steps(facts: Row) -> Iterable[Part]:
    for number, run in enumerate(reading.plan_runs(facts), start=1):
        lines = "".join(_step(facts, title, row) for title, row in run.steps)
        title = escape(run.title)
        yield f"plan-{number}", title, f"<h2>{title}</h2>{_table(('State', 'Step', 'Began', 'Took'), lines)}"
    targets = reading.rows(facts, "rollback_targets")
    if targets:
        bodies = "".join(f"<h3>{escape(str(row.get('plane', '')))}</h3>{_json(row['body'])}" for row in targets)
        intro = "<p>Recorded before the deploy: what a rollback restores.</p>"
        yield (
            "targets",
            "Rollback targets",
            f"<h2>Rollback targets</h2>{intro}<details><summary>Show</summary>{bodies}</details>",
        )


def _mitigations(facts: Row) -> Iterable[Part]:
    lines = "".join(
        _entry(
            "done" if row["resolved_at"] else "IN FORCE",
            f"<b>{escape(row['what'])}</b>{_because(row['reason'])}<br><i>{escape(reading.end_of(row))}</i>",
            reading.moment(row["begun_at"]),
            row["owner"],
        )
        for row in reading.rows(facts, "mitigations")
    )
    if lines:
        intro = "<p>Set temporarily. The release stays open until all of it is put back.</p>"
        table = _table(("State", "What and why", "Since", "Owner"), lines)
        yield "mitigations", "Mitigations", f"<h2>Mitigations</h2>{intro}{table}"


def _step(facts: Row, title: str, row: Row) -> str:
    words = f"<b>{escape(title)}</b>"
    if row["summary"]:
        words += f"<br>{escape(row['summary'])}"
    if row["by_whom"]:
        words += f"<br><i>Done by hand by {escape(row['by_whom'])}: {escape(row['note'])}</i>"
    entries = reading.journal_of(facts, row)
    if entries:
        journal = "".join(
            f"<h3>{escape(entry['entry'])}, {escape(reading.moment(entry['at']))}</h3>{_json(entry['body'])}"
            for entry in entries
        )
        words += f"<details><summary>What it intended, saw and did</summary>{journal}</details>"
    return (
        f'<tr><td class="mark">{_badge(row["state"])}</td><td>{words}</td>'
        f'<td class="when">{escape(reading.moment(row["started_at"]))}</td>'
        f'<td class="when">{escape(reading.between(row["started_at"], row["finished_at"]))}</td></tr>'
    )


def _watch(facts: Row) -> Iterable[Part]:
    for watch in reading.rows(facts, "watches"):
        time = f"{reading.moment(watch['started_at'])} to {reading.moment(watch['ends_at'])}"
        intro = f"<p>{_badge(watch['state'])} {watch['polls']} polls, {escape(time)}.</p>"
        readings = "".join(
            _entry(
                row["seen"],
                f"<b>{escape(row['probe'])}</b><br>{escape(row['summary'])}",
                reading.moment(row["asked_at"]),
            )
            for row in reading.rows(facts, "watch_readings")
        )
        alarms = "".join(
            f"<tr><td><b>{escape(alarm['short_id'])}</b> {escape(alarm['title'])}{_acknowledgement(alarm)}</td>"
            f'<td class="when">{escape(reading.moment(alarm["at"]))}</td></tr>'
            for alarm in reading.rows(facts, "alarms")
        )
        content = f"<h2>Watch</h2>{intro}{_table(('Last', 'Probe', 'When'), readings)}"
        yield "watch", "Watch", f"{content}<h2>Alarms</h2>{_table(('Alarm', 'When'), alarms)}"


def _acknowledgement(alarm: Row) -> str:
    if not alarm["acknowledged_by"]:
        return "<br><i>Nobody has acknowledged it.</i>"
    return f"<br><i>Acknowledged by {escape(alarm['acknowledged_by'])}{_because(alarm['note'])}</i>"


def _messages(facts: Row) -> Part:
    messages = []
    for message in facts["messages"]:
        link = escape(message["permalink"])
        where = f'<a href="{link}" rel="noreferrer">in Slack</a>' if link.startswith("https://") else ""
        head = f"{escape(message['kind'])} {escape(reading.moment(message['sent_at']))} {where}"
        reply = " reply" if message["in_thread"] else ""
        lines = escape("\n".join(message["lines"]) or message["text"])
        messages.append(f'<div class="message{reply}"><header>{head}</header>{lines}</div>')
    content = "".join(messages) or '<p class="empty">None.</p>'
    details = f"<details><summary>Show {len(messages)} messages as Slack shows them now</summary>{content}</details>"
    return "messages", "Messages", f"<h2>Messages</h2>{details}"


def _record(record: Sequence[Row]) -> Part:
    lines = "".join(
        f'<tr><td class="when">{row["seq"]}</td><td class="when">{escape(reading.moment(row["at"]))}</td>'
        f'<td class="who">{escape(row["actor"])}</td><td><b>{escape(row["event"])}</b> {escape(reading.event_sentence(row))}'
        f"{_details(reading.event_fields(row))}"
        f"<br><code class='soft'>{escape(row['hash'])}</code></td></tr>"
        for row in record
    )
    head = escape(record[-1]["hash"]) if record else "none"
    intro = (
        "<p>Each row holds the hash of the row before it. The last hash stands for all of them, and the bot announces it in the "
        f"channel when a release ends. Here it is</p><pre>{head}</pre>"
        "<p>Verify this pack with <code>python3 verify.py --head HASH</code>, where HASH is what the channel shows. "
        "FORMAT.md says what that does.</p>"
    )
    table = _table(("Row", "When", "Who", "What"), lines)
    content = f"{intro}<details><summary>Show {len(record)} rows</summary>{table}</details>"
    return "record", "Record", f"<h2>Record</h2>{content}"


def _details(body: Row) -> str:
    words = ", ".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in body.items()
    )
    return f"<br>{escape(words)}" if words else ""


def _entry(mark: str, words: str, when: str, who: str | None = None) -> str:
    """Return one row of a table: badge, words (HTML), time, and ``who`` if the table has that column."""
    by = "" if who is None else f'<td class="who">{escape(who)}</td>'
    return f'<tr><td class="mark">{_badge(mark)}</td><td>{words}</td><td class="when">{escape(when)}</td>{by}</tr>'


def _badge(word: str) -> str:
    kind = "good" if word in GOOD else "bad" if word in BAD else "mind" if word in MIND else ""
    return f'<span class="badge {kind}">{escape(LABELS.get(word, word))}</span>'


def _json(body: object) -> str:
    return f"<pre>{escape(json.dumps(body, indent=1, ensure_ascii=False, sort_keys=True))}</pre>"


def _table(head: Sequence[str], lines: str) -> str:
    if not lines:
        return '<p class="empty">None.</p>'
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div>'
