#!/usr/bin/env python3
"""Verify an evidence pack of the release bot with nothing but Python 3.8 or newer: no network, no bot, no database.

    python3 verify.py [PACK.zip | FOLDER] [--head HASH] [--sum SHA256]     (default: the folder of this script)

HASH is the head that the bot announced in the channel at the end of the release. Without it the pack is only shown to be
consistent with itself. SHA256 is the sum of the ZIP that the bot posted with it: it proves every byte of that file. What is
in the pack and not bound to its record is listed as NOT PROVED. A script out of a forged pack proves nothing: take it from
elsewhere, or write one from FORMAT.md.
"""

import argparse
import hashlib
import json
import pathlib
import re
import sys
import zipfile
from collections import Counter
from datetime import datetime, timezone
from itertools import zip_longest

EVIDENCE = ("outcome", "summary", "asked", "expected", "seen", "attachment", "attachment_name", "hint")
HEAD = ("seq", "at", "actor", "event", "release")
STEPS_TO_ATTEST = ("attest", "set_variable", "notify")  # steps that begin as to_attest
WORDS = {"": None, "true": True, "false": False, "1": 1, '""': ""}  # what they mean behind a colon
UNKNOWN = object()  # what the record does not tell
# table|events|which row|its columns. FORMAT.md has the same table and says how to read it.
BINDINGS = """\
release|release.started|+|id=release version manager=actor environment channel notes_url commit_sha=commit image digest tagged
release|release.started|*|checklist_digest=checklist policy_digest=policy started_at=at bound_at=at again_because
release|release.started|*|state:OPEN deployer: deployed_at: closed_at: reason:"" unbound:""
release|release.rebound|*|commit_sha=commit digest tagged again_because bound_at=at unbound:""
release|release.unbound|*|unbound=why
release|release.bound|*|unbound:""
release|policy.adopted|*|policy_digest=policy
release|deploy.started|*|state:DEPLOYING deployer=actor commit_sha=commit image digest
release|step.failed step.cancelled|*|state=release_state reason
release|step.retried step.attested|*|state=release_state
release|deploy.complete|*|state:WATCHING deployed_at=at
release|release.done|*|state:DONE closed_at=at
release|rollback.started|*|state:ROLLING_BACK closed_at: reason=reason?
release|rollback.complete|*|state:ROLLED_BACK closed_at reason
release|release.aborted|*|state:ABORTED closed_at=at reason
release|mitigation.begun|*|closed_at:
release|release.closed|*|closed_at=at
check_results|check.answered|+|check_id=check outcome evidence by_whom=actor started_at finished_at=at attested:false
check_results|check.attested|+|check_id=check outcome:PASS evidence by_whom=actor started_at=at finished_at=at attested:true
waivers|check.waived|+|check_id=check by_whom=actor reason at
signoffs|signoff.approved signoff.declined|by_whom=actor role purpose:deploy ended_at:|ended_at=at ended_by=actor ended_why:superseded
signoffs|signoff.approved|+|role by_whom=actor verdict:approve purpose:deploy ended_at: ended_by: ended_why:
signoffs|signoff.declined|+|role by_whom=actor verdict:decline purpose:deploy ended_at: ended_by: ended_why:
signoffs|signoff.rollback|*role purpose:rollback ended_at:|ended_at=at ended_by=actor ended_why:superseded
signoffs|signoff.rollback|+|role by_whom=actor verdict:approve purpose:rollback ended_at: ended_by: ended_why:
signoffs|signoff.approved signoff.declined signoff.rollback|by_whom=actor role ended_at:|reason fingerprint at
signoffs|signoff.approved signoff.declined|by_whom=actor role ended_at:|permalink
signoffs|signoff.revoked|by_whom=signed_by role purpose:deploy ended_at:|ended_at=at ended_by=actor ended_why:revoked
signoffs|signoff.voided|by_whom=signed_by role purpose:deploy ended_at:|ended_at=at ended_by=actor ended_why=why
break_glass|break_glass.used|+|by_whom=actor reason passed at reviewed_by: reviewed_at: finding:""
break_glass|break_glass.reviewed|*|reviewed_by=actor reviewed_at=at finding
steps|deploy.started|+deploy|plan:deploy run ordinal step_id=id state attempt:1 summary:"" by_whom: note:"" finished_at:
steps|rollback.started release.aborted|*plan:deploy state:pending|state:cancelled finished_at=at
steps|rollback.started release.aborted|*plan:deploy state:to_attest|state:cancelled finished_at=at
steps|rollback.started|+rollback|plan:rollback run ordinal step_id=id state attempt:1 summary:"" by_whom: note:"" finished_at:
steps|step.waits|step_id=step|started_at
steps|step.done|step_id=step|state:done summary started_at finished_at=at
steps|step.failed|step_id=step|state:failed summary started_at finished_at=at
steps|step.cancelled|step_id=step|state:failed summary started_at finished_at=at
steps|step.retried|step_id=step|state:pending attempt finished_at: summary=-
steps|step.attested|step_id=step|state:attested by_whom=actor note summary=saw? finished_at=at
steps|mitigation.set|step_id=step run|state:done by_whom=by summary finished_at=at
mitigations|mitigation.begun|+|id=mitigation owner=actor what reason begun_at=at state:setting resolved_by: resolved_at: note:""
mitigations|mitigation.set|id=mitigation|state:set
mitigations|rollback.complete|*state:set|state:setting
mitigations|mitigation.resolving|id=mitigation state:set|state:lifting resolved_by=actor
mitigations|mitigation.resolving|id=mitigation state:setting|state:lifting resolved_by=actor
mitigations|mitigation.lifted mitigation.attested|id=mitigation|state:lifted resolved_by=by resolved_at=at note
watches|deploy.complete|+|state:running started_at=at ends_at
watches|watch.clock_set watch.not_watched|*|started_at ends_at
watches|rollback.started|*state:running|state:stopped polls
watches|release.done|*|state=watch polls
alarms|watch.polled|+alarms|short_id at
alarms|watch.polled|+raised|id issue short_id title permalink kind probe at acknowledged_by: acknowledged_at: note:""
alarms|watch.acknowledged|id=alarm|acknowledged_by=actor acknowledged_at=at note"""


def digest(value, before=""):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{before}{text}".encode()).hexdigest()


def part(row, keys):
    return {key: row[key] for key in keys}


def is_redacted(value):
    return "[redacted]" in json.dumps(value)


def read_files(where):
    if where.is_dir():
        return {f.relative_to(where).as_posix(): f.read_bytes() for f in where.rglob("*") if f.is_file()}
    with zipfile.ZipFile(where) as pack:
        return {name: pack.read(name) for name in pack.namelist()}


def check_files(files, manifest):
    for name in sorted({*files, *manifest["files"]} - {"manifest.json"}):
        if name not in files:
            yield f"{name} is missing"
        elif hashlib.sha256(files[name]).hexdigest() != manifest["files"].get(name):
            yield f"{name} is not the file that manifest.json names"


def check_row(row, first_form):
    """Whether a row says what its hash stands for; only the oldest rows of a record may be of the first form."""
    redacted_digests, before = row.get("redacted", {}), row["previous"] + "\n"
    if first_form and (redacted_digests is True and is_redacted(row["body"])):
        return True
    if not isinstance(redacted_digests, dict) or not all(
        is_redacted(row["body"].get(key, "")) for key in redacted_digests
    ):
        return False
    digests = {**{key: digest(value) for key, value in row["body"].items()}, **redacted_digests}
    whole = {**part(row, HEAD), "body": row["body"]}
    return row["hash"] == digest({**part(row, HEAD), "digests": digests}, before) or (
        first_form and row["hash"] == digest(whole, before)
    )


def check_chain(rows, head):
    first_form = True
    for before, row in zip([None, *rows], rows):
        if before and row["seq"] != before["seq"] + 1:
            yield f"row {before['seq'] + 1} of the record is missing or out of order"
        elif before and row["previous"] != before["hash"]:
            yield f"row {row['seq']} of the record is not chained to the row before it"
        if not check_row(row, first_form):
            yield f"row {row['seq']} of the record was changed"
        first_form = first_form and not check_row(row, first_form=False)
    if not rows or rows[-1]["hash"] != head:
        yield "the record does not end with the head that manifest.json names"


# --- what the record tells of each table


def terms(words, facts):
    """The columns of a line of BINDINGS with the values that an event gives them, as far as it tells."""
    for word in words.split():
        column, mark, rest = re.fullmatch(r"(\w+)([:=]?)(.*)", word).groups()
        key = rest.rstrip("?") or column
        if mark == ":":
            yield column, WORDS.get(rest, rest)
        elif not rest.endswith("?") or facts.get(key):
            yield column, facts.get(key, UNKNOWN)


def comparable(column, value):
    """A value that can be compared: a time as the moment that it is, however it is written."""
    if isinstance(value, str) and (column == "at" or column.endswith("_at")):
        digits = re.sub(r"\.\d+", lambda match: match.group()[:7].ljust(7, "0"), value)
        return datetime.fromisoformat(digits).astimezone(timezone.utc).isoformat()
    return json.dumps(value, sort_keys=True)


def is_meant(entry, terms_of_row):
    """Whether an entry is the one that is meant; None: the record does not tell."""
    pairs = [(column, entry.get(column, (UNKNOWN,))[0], value) for column, value in terms_of_row]
    if any(UNKNOWN not in (a, b) and comparable(column, a) != comparable(column, b) for column, a, b in pairs):
        return False
    return None if any(UNKNOWN in (a, b) for _, a, b in pairs) else True


def apply_event(entries, which, event, values):
    """Write into the newest entry that fits (all with *) what an event says; what it may have changed is unknown from then on."""
    row_terms = list(terms(which.lstrip("*"), event))
    for entry in reversed(entries):
        is_match = is_meant(entry, row_terms)
        if is_match is not False:
            entry.update({column: (value if is_match else UNKNOWN, event["seq"]) for column, value in values})
        if is_match and not which.startswith("*"):
            break


def new_rows(name, event, facts, entries):
    """What a new row is made from: the event itself, or each thing in a list of it or each step of a plan of the checklist."""
    if name not in {"deploy", "rollback"}:
        things = event.get(name, []) if name else [{}]
        return [{**event, **(one if isinstance(one, dict) else {"short_id": one})} for one in things]
    run = 1 + max([0, *(entry["run"][0] for entry in entries if entry["plan"][0] == name)])
    plan = enumerate(facts["checklist"].get(name, []), start=1)
    states = {True: "to_attest", False: "pending"}
    return [
        {**event, "run": run, "ordinal": n, "id": step["id"], "state": states[step["action"]["do"] in STEPS_TO_ATTEST]}
        for n, step in plan
    ]


def tables_of_record(facts, record):
    """{table: [{column: (value, row of the record)}]}: the tables as the record has them."""
    tables = {line.split("|")[0]: [] for line in BINDINGS.splitlines()}
    for row in (row for row in record if row["release"] == facts["release"]["id"]):
        event = {**row["body"], **row}
        if "@" in str(event.get("image")):
            event["image"], _, event["digest"] = event["image"].partition("@")
        for table, events, which, columns in (line.split("|") for line in BINDINGS.splitlines()):
            if row["event"] not in events.split():
                continue
            if not which.startswith("+"):
                apply_event(tables[table], which, event, list(terms(columns, event)))
                continue
            for item in new_rows(which[1:], event, facts, tables[table]):
                tables[table].append({column: (value, row["seq"]) for column, value in terms(columns, item)})
    return tables


# --- what release.json says, against it


def stored_tables_of(facts):
    """The rows of release.json by table, as the record speaks of them."""
    tables = {**facts["rows"], "release": [facts["release"]]}
    for result in tables["check_results"]:
        redacted_digest = result.get("redacted") if is_redacted(part(result, EVIDENCE)) else None
        result["evidence"] = redacted_digest or digest(part(result, EVIDENCE))
    for step in tables.get("steps", []):
        step["state"] = "pending" if step["state"] == "running" else step["state"]  # that it began is not on record
    return tables


def differ(row, entry):
    return [
        column
        for column, (value, _) in entry.items()
        if value is not UNKNOWN and (column not in row or comparable(column, row[column]) != comparable(column, value))
    ]


def short(value):
    text = json.dumps(value, ensure_ascii=False)
    return f"{text[:99]}…" if text[100:] else text


def check_table(table, rows, entries, gaps):
    """What is wrong with a table; counts in ``gaps`` the columns that its rows have and the record does not tell."""
    more_entries, more_rows = list(entries), []
    for row in rows:
        at = next((at for at, entry in enumerate(more_entries) if not differ(row, entry)), None)
        if at is None:
            more_rows.append(row)
            continue
        columns = {column for column, (value, _) in more_entries.pop(at).items() if value is not UNKNOWN} | {
            "release_id"
        }
        columns |= set(EVIDENCE) if "evidence" in columns else set()
        gaps.update(column for column in row if column not in columns | {"redacted"})
    for row, entry in zip_longest(more_rows, more_entries):
        name = f"{table} {row.get('id', row.get('check_id', ''))}".strip() if row else table
        if row is None:
            text = ", ".join(f"{column} {short(value)}" for column, (value, _) in entry.items() if value is not UNKNOWN)
            yield f"{name}: a row of the record is not in release.json: {text}"
        elif entry is None:
            yield f"{name}: this row of release.json is not in the record"
        for column in differ(row, entry) if row and entry else ():
            value, seq = entry[column]
            yield f"{name}: {column} is {short(row.get(column))}, row {seq} of the record says {short(value)}"


def check_facts(facts, record, manifest, gaps):
    entries, stored_tables = tables_of_record(facts, record), stored_tables_of(facts)
    for table in sorted({*entries, *stored_tables}):
        rows = stored_tables.get(table, [])
        if {row.get("release_id", facts["release"]["id"]) for row in rows} - {facts["release"]["id"]}:
            yield f"{table}: release_id of a row is that of another release"
        if table in entries:
            yield from check_table(table, rows, entries[table], gaps.setdefault(table, Counter()))
        elif rows:
            gaps[table] = None
    for name in ("checklist", "policy"):
        if digest(facts[name]) != facts["release"][f"{name}_digest"]:
            if is_redacted(facts[name]):
                gaps[name] = None
            else:
                yield f"{name}: it is not the one with the digest that the release has"
    if manifest["version"] != facts["release"]["version"]:
        yield "manifest.json names another version than release.json"


def list_not_proved(facts, files, gaps):
    """Each fact of the pack that nothing binds, in a line for a table."""
    stored_tables = stored_tables_of(facts)
    for table, columns in gaps.items():
        if columns:
            total = len(stored_tables[table])
            names = (name if n == total else f"{name} ({n} of {total} rows)" for name, n in sorted(columns.items()))
            yield f"{table}: {', '.join(names)}"
    whole = {table for table, columns in gaps.items() if columns is None}
    whole |= set(facts) - {"release", "rows", "checklist", "policy"}
    yield ", ".join(sorted(whole | (set(files) & {"report.html", "report.md"}))) + ": not bound to the record at all"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    parser.add_argument("--head", help="the head that the channel was told")
    parser.add_argument("--sum", help="the sha256 of the ZIP that the channel was told")
    options = parser.parse_args()
    gaps = {}
    try:
        files = read_files(options.pack)
        manifest, facts, record = (json.loads(files[f"{name}.json"]) for name in ("manifest", "release", "record"))
        problems = [*check_files(files, manifest), *check_chain(record, manifest["head"])]
        problems += check_facts(facts, record, manifest, gaps)
        notes = list(list_not_proved(facts, files, gaps))
        whole = options.sum and hashlib.sha256(options.pack.read_bytes()).hexdigest() == options.sum.lower()
    except (AttributeError, LookupError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        sys.exit(f"BROKEN: this is no evidence pack: {type(error).__name__} {error}")
    if options.head and options.head.lower() not in {row["hash"] for row in record}:
        problems.append(f"no row of the record has the head {options.head}")
    if options.sum and not whole:
        problems.append(f"the file does not have the sum {options.sum}")
    for row in (row for row in [*record, *facts["rows"]["check_results"]] if "redacted" in row):
        what = f"row {row['seq']}" if "seq" in row else f"result {row['id']}"
        unproved_text = ", ".join(row["redacted"]) if isinstance(row["redacted"], dict) else "its words"
        unproved_text = "nothing of it is proved" if row["redacted"] is True else f"not proved: {unproved_text}"
        print(f"NOTE: {what} is redacted, {unproved_text}.")
    print("\n".join([f"NOT PROVED: {line}" for line in notes if not whole]))
    print("\n".join(f"BROKEN: {line}" for line in problems) or f"The pack holds. Its head is {manifest['head']}.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
