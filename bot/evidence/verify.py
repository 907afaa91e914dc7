#!/usr/bin/env python3
"""Verify an evidence pack of the release bot with nothing but Python 3.8 or newer: no network, no bot, no database.

    python3 verify.py [PACK.zip | FOLDER] [--head HASH]     (default: the folder of this script)

HASH is the head that the bot announced in the channel at the end of the release. Without it the pack is only shown to be
consistent with itself. A script out of a forged pack proves nothing: take it from elsewhere, or write one from FORMAT.md.
"""

import argparse
import hashlib
import json
import pathlib
import sys
import zipfile
from collections import Counter

EVIDENCE = ("outcome", "summary", "asked", "expected", "seen", "attachment", "attachment_name", "hint")
ROW = ("seq", "at", "actor", "event", "release", "body")
# what it is|its table|a column that is set then|columns, =as the record calls them|events of the record
BOUND = """sign-off|signoffs|at|by_whom=actor role fingerprint|signoff.approved signoff.declined signoff.rollback
waiver|waivers|at|by_whom=actor check_id=check reason|check.waived
break-glass|break_glass|at|by_whom=actor reason passed|break_glass.used
review|break_glass|reviewed_by|reviewed_by=actor finding|break_glass.reviewed
mitigation|mitigations|id|id=mitigation owner=actor what reason|mitigation.begun
mitigation's end|mitigations|resolved_at|id=mitigation resolved_by=by note|mitigation.lifted mitigation.attested""".splitlines()


def digest(row, keys, before=""):
    text = json.dumps({key: row[key] for key in keys}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(f"{before}{text}".encode()).hexdigest()


def files_of(where):
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


def check_chain(rows, head):
    for before, row in zip([None, *rows], rows):
        if before and row["seq"] != before["seq"] + 1:
            yield f"row {before['seq'] + 1} of the record is missing or out of order"
        elif before and row["previous"] != before["hash"]:
            yield f"row {row['seq']} of the record is not chained to the row before it"
        redacted = row.get("redacted") is True and "[redacted]" in json.dumps(row["body"])
        if digest(row, ROW, row["previous"] + "\n") != row["hash"] and not redacted:
            yield f"row {row['seq']} of the record was changed"
    if not rows or rows[-1]["hash"] != head:
        yield "the record does not end with the head that manifest.json names"


def bound(line, facts, told):
    what, table, given, columns, events = (part.split() for part in line.split("|"))
    kept = [[row[c.split("=")[0]] for c in columns] for row in facts["rows"][table[0]] if row[given[0]] is not None]
    said = [[row.get(c.split("=")[-1]) for c in columns] for row in told if row["event"] in events]
    return " ".join(what), *({json.dumps(entry, sort_keys=True) for entry in entries} for entries in (kept, said))


def check_facts(facts, record):
    told = [{**row["body"], **row} for row in record if row["release"] == facts["release"]["id"]]
    results = Counter((r.get("redacted") or digest(r, EVIDENCE), r["outcome"]) for r in facts["rows"]["check_results"])
    answers = Counter((row["evidence"], row.get("outcome", "PASS")) for row in told if "evidence" in row)
    for what, kept, said in [("result", results, answers), *(bound(line, facts, told) for line in BOUND)]:
        yield from (f"a {what} in release.json is not in the record: {entry}" for entry in sorted(kept - said))
        yield from (f"a {what} of the record is not in release.json: {entry}" for entry in sorted(said - kept))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", nargs="?", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    parser.add_argument("--head", help="the head that the channel was told")
    options = parser.parse_args()
    try:
        files = files_of(options.pack)
        manifest, facts, record = (json.loads(files[f"{name}.json"]) for name in ("manifest", "release", "record"))
        wrong = [*check_files(files, manifest), *check_chain(record, manifest["head"]), *check_facts(facts, record)]
    except (KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        sys.exit(f"BROKEN: this is no evidence pack: {type(error).__name__} {error}")
    if options.head and options.head.lower() not in {row["hash"] for row in record}:
        wrong.append(f"no row of the record has the head {options.head}")
    for row in (row for row in [*record, *facts["rows"]["check_results"]] if "redacted" in row):
        what = f"row {row['seq']}" if "seq" in row else f"result {row['id']}"
        print(f"NOTE: {what} is redacted: its words are not proved.")
    print("\n".join(f"BROKEN: {line}" for line in wrong) or f"The pack holds. Its head is {manifest['head']}.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
