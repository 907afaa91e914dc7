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


def check_facts(facts, record):
    rows, release = facts["rows"], facts["release"]["id"]
    told = [(row["actor"], row["event"], row["body"]) for row in record if row["release"] == release]
    pairs = {
        "result": (
            Counter((row.get("redacted") or digest(row, EVIDENCE), row["outcome"]) for row in rows["check_results"]),
            Counter((body["evidence"], body.get("outcome", "PASS")) for _, _, body in told if "evidence" in body),
        ),
        "sign-off": (
            {(row["by_whom"], row["role"], row["fingerprint"]) for row in rows["signoffs"]},
            {(who, body["role"], body["fingerprint"]) for who, _, body in told if {"role", "fingerprint"} <= {*body}},
        ),
        "waiver": (
            {(row["by_whom"], row["check_id"], row["reason"]) for row in rows["waivers"]},
            {(who, body["check"], body["reason"]) for who, event, body in told if event == "check.waived"},
        ),
    }
    for what, (kept, told) in pairs.items():
        yield from (f"a {what} in release.json is not in the record: {entry}" for entry in sorted(kept - told))
        yield from (f"a {what} of the record is not in release.json: {entry}" for entry in sorted(told - kept))


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
