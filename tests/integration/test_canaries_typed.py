"""P10 for what people type and what steps meet: a whole release in which every input holds secrets, and its evidence pack."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from bot.domain.ids import ReleaseId
from bot.domain.plan import StepState
from bot.redact import MARK, Redactor
from checks.contract import CheckError, Outcome
from tests.fix_bot import Outside, World, checklist
from tests.fix_tags import Tags
from tests.integration.slack_bot import PAT, Bot, a_job
from tests.integration.test_canaries import CANARIES, REGISTERED_SECRET, TEXT, Leak, log, tables
from tests.sandbox.slack_world import CLIENT_LEAKS_SOCKETS, DEV, QUINN, RITA

__all__ = ["log"]  # a fixture
pytestmark = CLIENT_LEAKS_SOCKETS

VERIFY = Path(__file__).parents[2] / "bot" / "evidence" / "verify.py"
NOTES = "https://notes:pwcanary99@example.com/"


class Everybody:
    """The people of a release, who type secrets wherever they can, and the workers."""

    def __init__(self, bot: Bot, outside: Outside) -> None:
        self.bot, self.outside = bot, outside
        self.world = World(bot.store, outside)
        ours = [spec.model_dump() for spec in checklist().deploy[1:]]
        tag = {"id": "deploy.tag", "title": "Tag", "action": {"do": "attest"}}
        bot.change_deps(
            checklist=checklist(deploy=(tag, *ours)), registry=self.world.deps.registry, targets=self.world.deps.targets
        )  # its own redactor stays
        self.release = ReleaseId(0)

    def type_commands(self, *commands: str, user: str = RITA) -> None:
        """Type commands, as they are after /release."""
        for command in commands:
            self._breathe()
            self.bot.command(command, user=user)

    def fill_in(self, user: str, action: str, at: tuple[str, str] = ("card", ""), **ids: object) -> None:
        """Press a button that opens a form, and submit the form."""
        self.press(user, action, at, **ids)
        self._breathe()
        self.bot.submit(user, TEXT)

    def press(self, user: str, action: str, at: tuple[str, str] = ("card", ""), **ids: object) -> None:
        """Press a button, whether it is shown or not."""
        self._breathe()
        value = json.dumps({"release": self.release, **ids})
        self.bot.click(user, self.bot.ts(self.release, *at), action, value=value, forged=True)

    def _breathe(self) -> None:
        """Let a minute pass, as Slack limits how often it lists a user group."""
        self.bot.slack.clock.advance(60)

    def carry_out(self, *queues: str) -> None:
        """Run the workers of these queues and publish every message."""
        self.world.deps = self.bot.deps
        for queue in queues:
            self.world.run(queue)
        self.bot.publish_all(self.release)

    def step(self, state: StepState) -> int:
        """The row of the first step in a state."""
        return next(step.row for step in self.world.view(self.release).steps if step.state is state)


def start_with_secrets(everybody: Everybody, tags: Tags) -> None:
    """Type malformed commands, meet vendors that leak in their errors, and start a release with a password in its link."""
    with Leak(500) as error_vendor, Leak(200) as odd:
        for vendor in (error_vendor, odd):
            everybody.bot.ask_vendors_at(vendor.url + "/")
            everybody.type_commands("start v4.8.0")
    everybody.type_commands(TEXT, f"start {TEXT}", f"freeze 2h {TEXT}", "unfreeze")
    everybody.type_commands(f"freeze {TEXT}", user=DEV)
    everybody.bot.change_deps(sources=tags.sources())
    everybody.type_commands(f"start v4.8.0 {NOTES}?token=hunter-canary-2", f"start v4.8.0 {NOTES}")
    (row,) = everybody.bot.rows("SELECT id FROM releases")
    everybody.release = ReleaseId(row["id"])
    everybody.type_commands(f"check {TEXT}", f"status {TEXT}")


def check_with_secrets(everybody: Everybody) -> None:
    """Run checks that find secrets and end in every way; waive, attest and decline with secrets."""
    results = everybody.outside.answers
    results |= {"go.one": TEXT, "go.two": CheckError(TEXT, hint=TEXT, seen=TEXT), "prep.first": RuntimeError(TEXT)}
    everybody.carry_out("check")
    everybody.press(QUINN, "check.details", ("section", "go"), check="go.one")
    for view in everybody.bot.slack.state(QUINN)["views"]:
        everybody.bot.slack.post("close", user=QUINN, view_id=view["id"])
    everybody.fill_in(RITA, "check.waive", ("section", "prep"), check="prep.first")
    everybody.fill_in(QUINN, "check.attest", ("section", "prep"), check="prep.person")
    everybody.fill_in(QUINN, "signoff.decline", role="qa")
    everybody.fill_in(DEV, "check.waive", ("section", "prep"), check="prep.first")
    everybody.carry_out()
    everybody.press(QUINN, "signoff.revoke", role="qa")
    results.clear()
    everybody.type_commands("check all")
    everybody.carry_out("check")


def deploy_and_roll_back_with_secrets(everybody: Everybody) -> None:
    """A step fails with a secret, an alarm has one in its title, and a rollback has one in its reason."""
    for user, role in ((RITA, "release_manager"), (QUINN, "qa")):
        everybody.press(user, "signoff.approve", role=role)
    everybody.press(PAT, "release.deploy")
    everybody.carry_out("advance")
    everybody.outside.answers["deploy.health"] = RuntimeError(TEXT)
    everybody.fill_in(RITA, "step.attest", ("steps", "deploy"), step=everybody.step(StepState.TO_ATTEST))
    everybody.carry_out("advance")
    everybody.outside.answers["deploy.health"] = TEXT
    everybody.press(RITA, "step.retry", ("steps", "deploy"), step=everybody.step(StepState.FAILED))
    everybody.carry_out("advance")
    everybody.outside.answers.clear()
    everybody.press(RITA, "step.retry", ("steps", "deploy"), step=everybody.step(StepState.FAILED))
    everybody.carry_out("advance", "check")
    for issues in ([f"API {TEXT}"], []):
        everybody.outside.issues[:] = issues
        everybody.outside.sentry = None if issues else RuntimeError(TEXT)
        everybody.world.poll()
    everybody.carry_out()
    (alarm,) = everybody.bot.rows("SELECT min(id) AS id FROM alarms")
    everybody.fill_in(RITA, "watch.acknowledge", ("alarm", str(alarm["id"])), alarm=alarm["id"])
    everybody.fill_in(RITA, "watch.rollback")
    everybody.outside.answers["rollback.health"] = Outcome.ERROR
    everybody.carry_out("advance")
    everybody.type_commands(f"rollback {TEXT}")
    everybody.outside.answers.clear()
    everybody.carry_out("advance")


def evidence(everybody: Everybody) -> dict[str, str]:
    """The files of the evidence pack in the thread."""
    everybody.type_commands("report")
    (row,) = everybody.bot.rows("SELECT id, content FROM files WHERE kind = 'pack'")
    everybody.bot.uploader.execute(a_job("file", row["id"]))
    everybody.bot.answer()
    with zipfile.ZipFile(io.BytesIO(bytes(row["content"]))) as pack:
        return {f"pack {name}": pack.read(name).decode() for name in pack.namelist()}


@pytest.mark.slow
def test_no_secret_that_is_typed_leaves(
    live: Bot, outside: Outside, tags: Tags, log: tuple[Redactor, io.StringIO], tmp_path: Path
) -> None:
    """No message, row, log line or file contains a secret of a command, form, vendor's error, step or alarm."""
    redactor, stream = log
    redactor.register(REGISTERED_SECRET)
    live.change_deps(redact=redactor.scrub)
    everybody = Everybody(live, outside)
    start_with_secrets(everybody, tags)
    check_with_secrets(everybody)
    deploy_and_roll_back_with_secrets(everybody)
    pack = evidence(everybody)
    places = {"log": stream.getvalue(), "tables": tables(live), "Slack": json.dumps(live.slack.get("calls")), **pack}
    places |= {f"what {user} sees": json.dumps(live.slack.state(user)) for user in (RITA, QUINN, PAT, DEV)}

    assert {(place, secret) for place, text in places.items() for secret in CANARIES if secret in text} == set()
    events_with_mark = {
        row["event"] for row in live.rows("SELECT event, body::text AS body FROM audit") if MARK in row["body"]
    }
    assert events_with_mark >= {
        "command.refused", "freeze.begun", "check.answered", "check.waived", "check.attested", "signoff.declined",
        "step.failed", "step.attested", "watch.acknowledged", "rollback.started",
    }  # fmt: skip
    verify(pack, tmp_path)


def verify(pack: dict[str, str], folder: Path) -> None:
    """Verify the pack, which needs no later redaction because texts are scrubbed before they are stored."""
    for name, text in pack.items():
        (folder / name.removeprefix("pack ")).write_text(text, encoding="utf-8")
    command = [sys.executable, "-I", "-S", str(VERIFY), str(folder)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.stdout.splitlines()[-1].startswith("The pack holds."), process.stdout
