#!/usr/bin/env python3
"""Verify an evidence pack of the release bot with nothing but Python 3.8 or newer: no network, no bot, no database.

    python3 verify.py [PACK.zip | FOLDER] [--head HASH] [--sum SHA256]     (default: the folder of this script)

HASH is the head that the bot announced in the channel at the end of the release. Without it the pack is only shown to be
consistent with itself. SHA256 is the sum of the ZIP that the bot posted with it: it proves every byte of that file. What is
in the pack and not bound to its record is listed as NOT PROVED. A script out of a forged pack proves nothing: take it from
elsewhere, or write one from FORMAT.md.

How it proves a fact: a column of a row in release.json has the digest that digests.json names for it; all digests of the row
together have the digest that an event of the record names for the row; the event has the hash to which all later events of
the record are chained; and the channel was told the hash of the last one.
"""

import argparse
import hashlib
import json
import pathlib
import sys
import zipfile
from collections import Counter

EVENT = ("seq", "at", "actor", "event", "release")  # what the hash of an event is made of, and the digests of its body
TABLES = {"release", "check_results", "waivers", "signoffs", "break_glass", "steps", "mitigations", "watches", "alarms"}


def digest(value, before=""):
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256((before + text).encode()).hexdigest()


def is_redacted(value):
    return "[redacted]" in json.dumps(value)


def read_files(where):
    if where.is_dir():
        return {f.relative_to(where).as_posix(): f.read_bytes() for f in where.rglob("*") if f.is_file()}
    with zipfile.ZipFile(where) as pack:
        return {name: pack.read(name) for name in pack.namelist()}


def check_files(files, manifest):
    """Every file is one that manifest.json names, with the sum that it names."""
    for name in sorted({*files, *manifest["files"]} - {"manifest.json"}):
        if name not in files:
            yield f"{name} is missing"
        elif hashlib.sha256(files[name]).hexdigest() != manifest["files"].get(name):
            yield f"{name} is not the file that manifest.json names"


# --- record.json: the events, each with the hash of the one before it


def check_chain(record, head):
    """The events are in order, none is missing, each says what its hash stands for, and the last one is the head."""
    for before, event in zip([None, *record], record):
        if before and event["seq"] != before["seq"] + 1:
            yield f"row {before['seq'] + 1} of the record is missing or out of order"
        elif before and event["previous"] != before["hash"]:
            yield f"row {event['seq']} of the record is not chained to the row before it"
        if not has_its_hash(event):
            yield f"row {event['seq']} of the record was changed"
    if not record or record[-1]["hash"] != head:
        yield "the record does not end with the head that manifest.json names"


def has_its_hash(event):
    """Whether an event has the hash of its content; a redacted value of its body counts with its digest in ``redacted``."""
    body, redacted_digests = event["body"], event.get("redacted", {})
    if not isinstance(redacted_digests, dict) or not all(is_redacted(body.get(key, "")) for key in redacted_digests):
        return False
    digests = {**{key: digest(value) for key, value in body.items()}, **redacted_digests}
    row = {**{key: event[key] for key in EVENT}, "digests": digests}
    return event["hash"] == digest(row, event["previous"] + "\n")


# --- release.json: the rows, each with the digest that the newest event about it has


def rows_of(facts):
    """Each row with its name in the record: its table, and its id or what else tells it from the others."""
    for table, rows in {"release": [facts["release"]], **facts["rows"]}.items():
        for row in rows:
            yield table, f"{table}/{row.get('id') or row.get('check_id') or row.get('release_id')}", row


def check_rows(facts, digests, record, gaps, redactions):
    """What is wrong with a row; counts in ``gaps``, by table, the rows with a column that is not proved (None: all)."""
    bindings = {}
    for event in record:
        if event["release"] == facts["release"]["id"]:
            bindings.update({name: (mark, event["seq"]) for name, mark in event["body"].get("rows", {}).items()})
    for table, name, row in rows_of(facts):
        if table not in TABLES:
            gaps.setdefault(table, None)
            continue
        mark, seq = bindings.pop(name, (None, None))
        columns = digests.get(name, {})
        if mark is None:
            yield f"{name}: this row of release.json is not in the record"
        elif digest(columns) != mark:
            yield f"{name}: digests.json does not have the digests that row {seq} of the record binds"
        else:
            gaps.setdefault(table, Counter()).update(set(row) - set(columns))
            yield from check_columns(name, row, columns, seq, redactions)
    for name, (_, seq) in bindings.items():
        yield f"{name}: a row of the record is not in release.json: see row {seq}"


def check_columns(name, row, columns, seq, redactions):
    redacted_columns = []
    for column, mark in columns.items():
        value = row.get(column)
        if name.startswith("steps/") and column == "state" and value == "running":
            value = "pending"  # that a step began is on record only once it has ended
        if digest(value) != mark and is_redacted(value):
            redacted_columns.append(column)
        elif digest(value) != mark:
            text = json.dumps(value, ensure_ascii=False)
            yield f"{name}: {column} is {text[:99]}, row {seq} of the record says something else"
    if redacted_columns:
        redactions.append(f"{name} is redacted, not proved: {', '.join(redacted_columns)}")


def check_rules(facts, manifest, gaps):
    for name in ("checklist", "policy"):
        if digest(facts[name]) != facts["release"][name + "_digest"]:
            if is_redacted(facts[name]):
                gaps[name] = None
            else:
                yield f"{name}: it is not the one with the digest that the release has"
    if manifest["version"] != facts["release"]["version"]:
        yield "manifest.json names another version than release.json"


def list_not_proved(facts, files, gaps):
    """Each fact of the pack that nothing binds, in a line for a table."""
    for table in sorted(TABLES & set(gaps)):
        total = len(facts["rows"].get(table, [facts["release"]]))
        columns = (name if n == total else f"{name} ({n} of {total} rows)" for name, n in sorted(gaps[table].items()))
        yield f"{table}: {', '.join(columns) or 'nothing'}"
    whole = {name for name, columns in gaps.items() if columns is None}
    whole |= (set(facts) - {"release", "rows", "checklist", "policy"}) | (set(files) & {"report.html", "report.md"})
    yield ", ".join(sorted(whole)) + ": not bound to the record at all"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    parser.add_argument("--head", help="the head that the channel was told")
    parser.add_argument("--sum", help="the sha256 of the ZIP that the channel was told")
    options = parser.parse_args()
    gaps, redactions = {}, []
    try:
        files = read_files(options.pack)
        manifest, facts, digests, record = (
            json.loads(files[name + ".json"]) for name in ("manifest", "release", "digests", "record")
        )
        problems = [*check_files(files, manifest), *check_chain(record, manifest["head"])]
        problems += [*check_rows(facts, digests, record, gaps, redactions), *check_rules(facts, manifest, gaps)]
        notes = list(list_not_proved(facts, files, gaps))
        has_sum = options.sum and hashlib.sha256(options.pack.read_bytes()).hexdigest() == options.sum.lower()
    except (AttributeError, LookupError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        sys.exit(f"BROKEN: this is no evidence pack: {type(error).__name__} {error}")
    if options.head and options.head.lower() not in {event["hash"] for event in record}:
        problems.append(f"no row of the record has the head {options.head}")
    if options.sum and not has_sum:
        problems.append(f"the file does not have the sum {options.sum}")
    redactions += [
        f"row {event['seq']} is redacted, not proved: {', '.join(event['redacted'])}"
        for event in record
        if isinstance(event.get("redacted"), dict)
    ]
    lines = [f"NOTE: {line}." for line in redactions] + [f"NOT PROVED: {line}" for line in notes if not has_sum]
    lines += [f"BROKEN: {line}" for line in problems] or [f"The pack holds. Its head is {manifest['head']}."]
    print("\n".join(lines))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
