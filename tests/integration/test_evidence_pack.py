"""The evidence pack of a real release: complete, readable, and verified by its own script; what was tampered with is found."""

import hashlib
import json
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from bot.domain.audit import GENESIS, AuditEvent, chain_hash, examine_record, first_form_hash
from bot.domain.bound_rows import BOUND_COLUMNS
from bot.domain.ids import CheckId, ReleaseId
from bot.domain.mitigation import MitigationState
from bot.domain.model import digest_of
from bot.domain.plan import Plane
from bot.domain.policy import BreakGlassRule, Policy, Role
from bot.domain.posts import RolledBackNotice
from bot.flows import abort, announce, break_glass, check, mitigation, sign, watch
from bot.flows.deploying import step_clicks
from bot.flows.deploying.rollback import judge_rollback
from bot.flows.deps import locked_view
from bot.redact import MARK, Redactor
from bot.slack import report
from bot.store import audit, mitigations, posts, steps
from tests.fix_bot import MANAGER, QA, World, checklist
from tests.integration.slack_bot import Bot
from tests.sandbox.slack_world import RITA
from tests.unit.factories import NOW

EVIDENCE = Path(__file__).parents[2] / "bot" / "evidence"
VERIFY, VERIFY_2 = EVIDENCE / "verify.py", EVIDENCE / "format_2" / "verify.py"
LATE = "Zirkel-9/known-too-late"
Files = dict[str, bytes]


@pytest.fixture
def files(world: World) -> Files:
    """The pack of an aborted release, in which one check ran twice and one was waived."""
    world.outside.answers["prep.first"] = "it is <b>down</b> & out"
    world.start()
    world.run("check")
    world.outside.answers.clear()
    (release,) = world.rows("SELECT id FROM releases")
    world.act(check.waive, MANAGER, release["id"], CheckId("prep.second"), "known; see the runbook")
    world.act(check.rerun, MANAGER, release["id"], "go.one")
    world.run("check")
    world.approve(release["id"])
    world.act(abort.abort, MANAGER, release["id"], "enough")
    return make_pack(world, release["id"])


def make_pack(world: World, release_id: ReleaseId) -> Files:
    """The files of the evidence pack of a release."""
    with world.store.transaction() as tx:
        content = report.make(tx, world.view(release_id), world.deps.redact)
    with zipfile.ZipFile(BytesIO(content)) as pack:
        return {name: pack.read(name) for name in pack.namelist()}


def run_script(folder: Path, files: Files, *options: str) -> tuple[int, str]:
    """Run the script of the pack in a process without our packages; returns exit code and output."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    process = subprocess.run(
        [sys.executable, "-I", "-S", str(folder / "verify.py"), *options], capture_output=True, text=True, check=False
    )
    return process.returncode, process.stdout + process.stderr


def test_a_pack_is_valid_alone_and_with_the_announced_head(files: Files, world: World, tmp_path: Path):
    """The head is the one that was announced in the channel."""
    (post,) = world.rows("SELECT subject FROM posts WHERE kind = 'record'")
    head = post["subject"].partition(":")[2]

    code, words = run_script(tmp_path, files, "--head", head)

    assert (code, words.splitlines()[-1]) == (0, f"The pack holds. Its head is {head}.")
    assert "check_results: nothing\n" in words
    assert "messages, " in words
    assert run_script(tmp_path, files, "--head", "0" * 64)[0] == 1


def _forge(name: str, change: Callable[[Any], Any], *, manifest: bool = True) -> Callable[[Files], Files]:
    """A function that changes a file of a pack, and its manifest so that it fits."""

    def forge(files: Files) -> Files:
        value = json.loads(files[name])
        forgery = {**files, name: json.dumps(change(value) or value).encode()}
        if manifest:
            manifest_body = json.loads(files["manifest.json"])
            manifest_body["files"][name] = hashlib.sha256(forgery[name]).hexdigest()
            forgery["manifest.json"] = json.dumps(manifest_body).encode()
        return forgery

    return forge


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda f: {**f, "report.html": f["report.html"] + b" "}, "report.html is not the file"),
        (lambda f: {**f, "report.md": b""}, "report.md is not the file"),
        (lambda f: {**f, "more.txt": b"x"}, "more.txt is not the file"),
        (_forge("record.json", lambda r: r[3].update(actor="U0NOBODY01")), "of the record was changed"),
        (_forge("record.json", lambda r: r[3]["body"].update(more=1)), "of the record was changed"),
        (_forge("record.json", lambda r: [*r[:3], *r[4:]]), "is missing or out of order"),
        (_forge("record.json", lambda r: [*r[:2], r[3], r[2], *r[4:]]), "is missing or out of order"),
        (_forge("record.json", lambda r: r[:-1]), "does not end with the head"),
        (_forge("release.json", lambda f: f["rows"]["check_results"][0].update(outcome="PASS", summary="fine")), "check_results/"),
        (_forge("release.json", lambda f: f["rows"]["check_results"][0].update(seen="nothing")), ": seen is "),
        (_forge("release.json", lambda f: f["rows"]["check_results"].__delitem__(-1)), ": a row of the record is not in"),
        (_forge("release.json", lambda f: f["rows"]["signoffs"][0].update(by_whom="U0PAT00001")), "signoffs/"),
        (_forge("release.json", lambda f: f["rows"]["waivers"][0].update(reason="none")), "waivers/prep.second: reason is"),
        (_forge("release.json", lambda f: f["rows"]["waivers"].clear()), "waivers/prep.second: a row of the record is not in"),
        (_forge("release.json", lambda f: f["release"].update(version="v9.9.9"), manifest=False), "release.json is not the file"),
        (_forge("release.json", lambda f: f["rows"]["waivers"].append(f["rows"]["waivers"][0])), "is not in the record"),
        (_forge("release.json", lambda f: f["rows"]["waivers"].append({"check_id": "go.one"})), "waivers/go.one: this row"),
        (_forge("digests.json", lambda d: d["waivers/prep.second"].update(reason=digest_of("none"))), "does not have the digests"),
        (_forge("digests.json", lambda d: d["waivers/prep.second"].pop("reason") and None), "does not have the digests"),
        (_forge("digests.json", lambda d: d.clear()), "does not have the digests"),
        (lambda f: {**f, "release.json": b"[]"}, "is no evidence pack"),
        (lambda f: {**f, "manifest.json": b"{"}, "is no evidence pack"),
    ],
)  # fmt: skip
def test_a_forged_pack_is_found(files: Files, tmp_path: Path, forge: Callable[[Files], Files], message: str):
    """A forgery is found even if the manifest fits, because the record binds what was found, signed and waived."""
    code, words = run_script(tmp_path, forge(files))

    assert code == 1
    assert message in words


def test_the_values_of_variables_are_not_in_the_pack(world: World):
    """The recorded template of a rollback is in the pack without the values of its variables."""
    release_id = world.start()
    variables = [{"name": "MODE", "value": LATE}, {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "api"}}}]
    template = {"spec": {"containers": [{"name": "api", "image": "app:1", "env": variables}]}}
    body = {"image": "app:1", "template": template}
    with world.store.transaction() as tx:
        steps.record_target(tx, release_id, Plane.BACKEND, body, world.clock.now())
    pack = make_pack(world, release_id)
    (target,) = json.loads(pack["release.json"])["rows"]["rollback_targets"]
    with world.store.transaction() as tx:
        assert steps.rollback_targets(tx, release_id) == {Plane.BACKEND: body}

    assert [name for name, content in pack.items() if LATE.encode() in content] == []
    assert target["body"]["template"]["spec"]["containers"] == [
        {"name": "api", "image": "app:1", "env": [{"name": "MODE", "value": MARK}, variables[1]]}
    ]


@pytest.fixture
def emergency_pack(world: World) -> Files:
    """The pack of a release with a break-glass, a rollback and two mitigations, all lifted and reviewed."""
    offers = tuple(
        {"id": f"rollback.{name}", "title": name, "action": {"do": "set_variable", "name": name, "value": "off"}}
        for name in ("mode", "mails")
    )
    notify = {"id": "notify", "title": "Notify team", "action": {"do": "notify"}}
    world.change(
        checklist=checklist(rollback=(*offers, notify)), policy=Policy(break_glass=BreakGlassRule(allowed=True))
    )
    release_id = world.start()
    world.run("check")
    world.approve(release_id)
    world.act(sign.revoke, MANAGER, release_id, Role.RELEASE_MANAGER)
    world.break_glass(MANAGER, release_id, "logins fail for all customers")
    world.run("advance")
    world.outside.issues.append("API-1")
    world.poll()
    (alarm,) = world.rows("SELECT id FROM alarms")
    world.act(watch.acknowledge, MANAGER, alarm["id"], "known")
    world.act(judge_rollback, QA, release_id, "bills are wrong")
    world.run("advance")
    with world.store.transaction() as tx:
        post = posts.find(tx, release_id, RolledBackNotice())
        assert post is not None
        announce.complete_awaited(tx, locked_view(tx, world.deps, release_id), post, "https://example.com/p1")
    world.act(break_glass.review, QA, release_id, "it was wrong")
    for step in (step for step in world.view(release_id).steps if step.id.startswith("rollback.")):
        world.act(mitigation.apply, QA, step.row, "bills")
    mode, mails = world.view(release_id).mitigations
    with world.store.transaction() as tx:
        for entry in (mode, mails):
            mitigations.move(tx, entry, MitigationState.SET, world.clock.now())
    world.act(mitigation.resolve, MANAGER, mode.id)
    with world.store.transaction() as tx:
        view = locked_view(tx, world.deps, release_id)
        mitigation.record_lifted(tx, world.deps, view, view.open_mitigations[0])
        mitigations.say(tx, mails.id, trouble="the Deployment is gone")
    world.act(mitigation.attest, MANAGER, mails.id, "switched it on again")
    return make_pack(world, release_id)


def test_a_pack_of_a_break_glass_is_valid(emergency_pack: Files, tmp_path: Path):
    """A pack with a break-glass, its review and mitigations that ended in both ways is valid."""
    code, words = run_script(tmp_path, emergency_pack)

    assert (code, words.splitlines()[-1][:14]) == (0, "The pack holds")


LIE = "2020-01-01T00:00:00+00:00"
FORGERIES: tuple[tuple[str, str, object], ...] = (
    *(("release", column, "forged") for column in ("version", "manager", "deployer", "commit_sha", "image", "digest", "state",
       "reason", "environment", "channel", "notes_url", "checklist_digest", "policy_digest")),
    *(("release", column, LIE) for column in ("started_at", "deployed_at", "closed_at", "bound_at")),
    *(("check_results", column, "forged") for column in ("check_id", "outcome", "summary", "seen", "by_whom")),
    *(("check_results", column, LIE) for column in ("started_at", "finished_at")),
    *(("signoffs", column, "forged") for column in ("role", "by_whom", "verdict", "purpose", "reason", "fingerprint", "ended_by",
       "ended_why")),
    *(("signoffs", column, LIE) for column in ("at", "ended_at")),
    *(("break_glass", column, "forged") for column in ("by_whom", "reason", "passed", "reviewed_by", "finding")),
    *(("break_glass", column, LIE) for column in ("at", "reviewed_at")),
    *(("mitigations", column, "forged") for column in ("state", "owner", "what", "reason", "resolved_by", "note")),
    *(("mitigations", column, LIE) for column in ("begun_at", "resolved_at")),
    *(("steps", column, "forged") for column in ("plan", "step_id", "state", "by_whom", "note", "summary")),
    *(("steps", column, LIE) for column in ("started_at", "finished_at")),
    *(("watches", column, "forged") for column in ("state", "polls")),
    *(("watches", column, LIE) for column in ("started_at", "ends_at")),
    *(("alarms", column, "forged") for column in ("short_id", "title", "kind", "acknowledged_by", "note")),
    *(("alarms", column, LIE) for column in ("at", "acknowledged_at")),
)  # fmt: skip


def test_a_pack_of_plans_that_waited_for_people_is_valid(world: World):
    """Aborted and rolled back plans with steps for people have valid packs."""
    person = {"title": "By hand", "action": {"do": "attest"}}
    world.change(checklist=checklist(deploy=({"id": "deploy.it", **person},), rollback=({"id": "back", **person},)))
    first, pack = world.run_to_watch("v4.7.0"), {}
    world.act(abort.abort, QA, first, "not today")
    pack["ABORTED"] = make_pack(world, first)
    release_id = world.run_to_watch()
    world.act(judge_rollback, QA, release_id, "wrong version")
    world.run("advance")
    pack["ROLLING_BACK"] = make_pack(world, release_id)
    steps_for_people = world.view(release_id).awaited_step
    assert steps_for_people is not None
    world.act(step_clicks.attest, QA, steps_for_people.row, "put back")
    world.run("advance")
    pack["ROLLED_BACK"] = make_pack(world, release_id)
    for state, files in pack.items():
        record, facts, digests = (json.loads(files[f"{name}.json"]) for name in ("record", "release", "digests"))
        assert facts["release"]["state"] == state
        assert list(runpy.run_path(str(VERIFY))["check_rows"](facts, digests, record, {}, [])) == []


def test_every_fact_that_people_act_on_is_bound(emergency_pack: Files):
    """Every forged field is found even if the manifest fits, and is named with its table."""
    script = runpy.run_path(str(VERIFY))
    record, digests = (json.loads(emergency_pack[f"{name}.json"]) for name in ("record", "digests"))
    missed_forgeries = []
    for table, column, value in FORGERIES:
        facts = json.loads(emergency_pack["release.json"])
        rows = [facts["release"]] if table == "release" else facts["rows"][table]
        row = next((row for row in rows if row["started_at"]), rows[0]) if table == "steps" else rows[0]
        row[column] = value
        problems = list(script["check_rows"](facts, digests, record, {}, []))
        if not any(line.startswith(f"{table}/") and f": {column} is " in line for line in problems):
            missed_forgeries.append((table, column, problems[:2]))

    assert missed_forgeries == []


def test_the_description_of_the_format_has_all_tables(emergency_pack: Files):
    """The description suffices to write a script of one's own."""
    tables = runpy.run_path(str(VERIFY))["TABLES"]
    assert tables == set(BOUND_COLUMNS)
    assert [table for table in tables if f"`{table}`" not in emergency_pack["FORMAT.md"].decode()] == []


def test_every_bound_column_exists(world: World):
    """Each column that the record binds is one of its table."""
    columns = world.rows(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema()"
    )
    all_columns = {(row["table_name"], row["column_name"]) for row in columns}
    release_keys = "jsonb_object_keys(release_on_record(jsonb_populate_record(NULL::releases, '{}')))"
    all_columns |= {("release", row["name"]) for row in world.rows(f"SELECT {release_keys} AS name")}
    assert {(table, column) for table, names in BOUND_COLUMNS.items() for column in names} <= all_columns


# Tables about a release whose rows no event binds, and why not.
NOT_BOUND = {
    "check_runs": "what runs just now",
    "files": "what is owed to Slack, as posts is",
    "posts": "rendered from the other rows",
    "rollback_targets": "where a rollback goes; the journal has it too",
    "shown_plans": "its digest is in the event plan.shown",
    "undos": "settled by undo.settled",
    "watch_clocks": "of the processes that poll",
    "watch_readings": "what each probe said last",
}


def test_every_table_about_a_release_is_bound_or_has_a_reason_not_to_be(world: World):
    """Every table with a release_id is bound by the record or is in the list of those that need not be, so that no new
    table is forgotten.
    """
    rows = world.rows("SELECT table_name FROM information_schema.columns WHERE column_name = 'release_id'")
    tables = {row["table_name"] for row in rows} - {"audit"}
    assert tables == (set(BOUND_COLUMNS) - {"release"}) | set(NOT_BOUND)


def test_a_row_that_was_changed_in_the_database_breaks_the_pack(world: World, tmp_path: Path):
    """The owner of the database can change a row, but not what the record binds of it."""
    release_id = world.run_to_approval()
    world.act(abort.abort, MANAGER, release_id, "enough")
    with psycopg.connect(world.store.url) as owner:
        (signoff_id,) = owner.execute("UPDATE signoffs SET by_whom = 'U0NOBODY01' RETURNING id").fetchone() or ()
    code, words = run_script(tmp_path, make_pack(world, release_id))

    assert code == 1
    assert f"BROKEN: signoffs/{signoff_id}: digests.json does not have the digests that row " in words


@pytest.fixture
def older_pack(emergency_pack: Files, world: World) -> Files:
    """The pack of the same release, as if its record had been written before events bound rows."""
    (release,) = world.rows("SELECT id FROM releases")
    with psycopg.connect(world.store.url, row_factory=dict_row) as owner:
        owner.execute("SET session_replication_role = replica")
        previous = GENESIS
        for event in audit.events(owner):
            body = {key: value for key, value in event.body.items() if key not in {"rows", "event_version"}}
            mark = chain_hash(previous, event.seq, event.at, event.actor, event.event, event.release, body)
            row = [Jsonb(body), previous, mark, event.seq]
            owner.execute("UPDATE audit SET body = %s, previous = %s, hash = %s WHERE seq = %s", row)
            previous = mark
    return make_pack(world, release["id"])


def test_a_pack_of_an_older_bot_is_valid(older_pack: Files, world: World, tmp_path: Path):
    """The pack has the script of its own format, which reads the facts from the events."""
    code, words = run_script(tmp_path, older_pack)

    assert (code, words.splitlines()[-1][:14]) == (0, "The pack holds")
    assert older_pack["verify.py"] == VERIFY_2.read_bytes()
    assert examine_record(world.events()).first_break is None


def test_every_fact_of_an_older_pack_is_bound(older_pack: Files):
    """Every forged field of an older pack is found even if the manifest fits, and is named with its table."""
    script = runpy.run_path(str(VERIFY_2))
    manifest, record = (json.loads(older_pack[f"{name}.json"]) for name in ("manifest", "record"))
    missed_forgeries = []
    for table, column, value in FORGERIES:
        facts = json.loads(older_pack["release.json"])
        rows = [facts["release"]] if table == "release" else facts["rows"][table]
        row = next((row for row in rows if row["started_at"]), rows[0]) if table == "steps" else rows[0]
        row[column] = value
        manifest_body = {**manifest, "version": facts["release"]["version"]}
        problems = list(script["check_facts"](facts, record, manifest_body, {}))
        names = (
            "evidence" if column in script["EVIDENCE"] and column != "outcome" and table == "check_results" else column
        )
        if not any(line.startswith(table) and f"{names} " in line for line in problems):
            missed_forgeries.append((table, column, problems[:2]))

    assert missed_forgeries == []


@pytest.fixture
def late_pack(world: World) -> Files:
    """The pack of a release with a value that was registered as a secret only afterwards."""
    world.outside.answers["go.one"] = f"the vendor says {LATE}"
    release_id = world.start()
    world.run("check")
    world.act(check.waive, MANAGER, release_id, CheckId("prep.second"), f"{LATE} was rotated")
    world.act(abort.abort, MANAGER, release_id, f"{LATE} leaked")
    redactor = Redactor()
    redactor.register(LATE)
    world.change(redact=redactor.scrub)
    return make_pack(world, release_id)


def test_a_secret_that_is_registered_later_is_in_no_pack(late_pack: Files, world: World, tmp_path: Path):
    """Record and pack stay valid, and the script says which texts are redacted and not proved."""
    code, words = run_script(tmp_path, late_pack)
    *notes, verdict = words.splitlines()
    (answer_event,) = [
        event for event in world.events() if event.event == "check.answered" and event.body["outcome"] == "FAIL"
    ]

    assert [name for name, content in late_pack.items() if LATE.encode() in content] == []
    assert LATE in str(world.rows("SELECT summary FROM check_results"))
    assert code == 0
    assert f"NOTE: row {answer_event.seq} is redacted, not proved: summary." in notes
    assert sum(note.startswith("NOTE: check_results/") for note in notes) == 1
    assert verdict.startswith("The pack holds. Its head is ")


def _without_the_outcome(rows: list[Any]) -> None:
    """Redact the outcome, after which anything could be claimed in its place."""
    row = _row_with_mark(rows)
    row["redacted"]["outcome"] = digest_of(row["body"].pop("outcome"))


NOT_REDACTED = (
    (": outcome is ", _forge("release.json", lambda f: _row_with_mark(f["rows"]["check_results"]).update(outcome="PASS"))),
    (": summary is ", _forge("release.json", lambda f: _row_with_mark(f["rows"]["check_results"]).update(summary="fine"))),
    ("does not have the digests", _forge("digests.json", lambda d: _of_a_result(d).update(summary="0" * 64))),
    ("does not have the digests", _forge("digests.json", lambda d: _of_a_result(d).__delitem__("summary"))),
    ("is not chained", _forge("record.json", lambda r: _row_with_mark(r).update(hash="0" * 64))),
    *(
        ("of the record was changed", _forge("record.json", change))
        for change in (
            lambda r: _row_with_mark(r).update(redacted="yes"),
            lambda r: _row_with_mark(r).update(redacted=True),
            lambda r: _row_with_mark(r).update(actor="U0NOBODY01"),
            lambda r: _row_with_mark(r).update(event="check.attested"),
            lambda r: _row_with_mark(r)["body"].update(outcome="PASS"),
            _without_the_outcome,
            lambda r: r[0].update(redacted=True, actor="U0NOBODY01"),
        )
    ),
)  # fmt: skip


def test_redaction_is_no_way_to_forge(late_pack: Files, tmp_path: Path) -> None:
    """Everything that is not redacted is still bound, and a text without a secret cannot be called redacted."""
    results = [(message, *run_script(tmp_path, forge(late_pack))) for message, forge in NOT_REDACTED]

    assert [(message, words) for message, code, words in results if code != 1 or message not in words] == []


def test_rows_of_the_older_form_are_no_way_around_the_present_one() -> None:
    """A record that an older bot began is valid, but later rows cannot use the older form."""
    check_chain, of_today = (runpy.run_path(str(path))["check_chain"] for path in (VERIFY_2, VERIFY))

    def row(seq: int, previous: str, *, first: bool) -> dict[str, Any]:
        event = AuditEvent(seq, NOW, RITA, "check.answered", 1, {"summary": f"{MARK} failed"}, previous, "")
        fields = (event.previous, event.seq, event.at, event.actor, event.event, event.release, event.body)
        mark = first_form_hash(event) if first else chain_hash(*fields)
        at = NOW.isoformat(timespec="microseconds")
        return {**vars(event), "at": at, "hash": mark}

    old = row(1, GENESIS, first=True)
    new = row(2, old["hash"], first=False)
    last = row(3, new["hash"], first=True)
    assert list(check_chain([old, new], new["hash"])) == []
    assert list(check_chain([{**old, "redacted": True, "body": {"summary": MARK}}, new], new["hash"])) == []
    faults = ["row 3 of the record was changed"]
    assert list(check_chain([old, new, last], last["hash"])) == faults
    assert list(check_chain([old, new, {**last, "redacted": True}], last["hash"])) == faults
    assert list(of_today([old, new], new["hash"])) == ["row 1 of the record was changed"]
    assert list(of_today([{**old, "redacted": True}, new], new["hash"])) == ["row 1 of the record was changed"]


def _row_with_mark(rows: list[Any]) -> Any:
    return next(row for row in rows if MARK in str(row))


def _of_a_result(digests: dict[str, Any]) -> Any:
    return next(columns for name, columns in digests.items() if name.startswith("check_results/"))


def test_the_pack_is_complete(files: Files, world: World):
    """The pack has every table of the release, the journal, the checklist and the shown messages."""
    facts = json.loads(files["release.json"])
    tables = world.rows("SELECT table_name FROM information_schema.columns WHERE column_name = 'release_id'")
    outcomes = [row["outcome"] for row in facts["rows"]["check_results"] if row["check_id"] == "go.one"]

    assert set(facts["rows"]) == {row["table_name"] for row in tables} - {"audit"}
    assert outcomes == ["PASS", "PASS"]
    assert facts["rows"]["check_results"][0]["summary"]
    assert {message["kind"] for message in facts["messages"]} >= {"card", "section", "notice", "record"}
    assert [row["seq"] for row in json.loads(files["record.json"])] == list(range(1, len(world.events()) + 1))


def test_the_reports_are_readable_and_safe(files: Files):
    """Both reports have the findings, text from outside is escaped, and the page loads nothing."""
    page, words = files["report.html"].decode(), files["report.md"].decode()

    for text in ("v4.8.0", "ABORTED", "known; see the runbook", RITA, "release.aborted"):
        assert text in page
    assert "it is &lt;b&gt;down&lt;/b&gt; &amp; out" in page
    assert "<b>down</b>" not in page
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "\\<b\\>down" in words
    assert "known; see the runbook" in words


def test_the_script_is_short_and_stands_alone():
    """The script has fewer than 200 lines and uses the standard library only."""
    text = VERIFY.read_text(encoding="utf-8")
    modules = {line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))}

    assert len(text.splitlines()) < 200
    assert modules <= set(sys.stdlib_module_names)


def test_report_sends_the_pack_to_the_thread(bot: Bot):
    """`/release report` stores the file once, announces it, and records its checksum."""
    bot.open_release()
    with bot.online():
        bot.command("report")
    (file,) = bot.rows("SELECT name, comment, content FROM files")
    (row,) = bot.rows("SELECT actor, body FROM audit WHERE event = 'evidence.exported'")
    mark = hashlib.sha256(bytes(file["content"])).hexdigest()

    assert file["name"] == "evidence-v4.8.0.zip"
    assert (row["actor"], row["body"]["sha256"]) == (RITA, mark)
    assert mark in file["comment"]
    assert bot.reply_texts(RITA) == ["The evidence of v4.8.0 comes as a file in the thread of its card."]
    assert zipfile.ZipFile(BytesIO(bytes(file["content"]))).testzip() is None
