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
from tests.integration.test_canaries import CANARIES, REGISTERED, TEXT, Leak, log, tables
from tests.sandbox.slack_world import CLIENT_LEAKS_SOCKETS, DEV, QUINN, RITA

__all__ = ["log"]  # a fixture
pytestmark = CLIENT_LEAKS_SOCKETS

VERIFY = Path(__file__).parents[2] / "bot" / "evidence" / "verify.py"
NOTES = "https://notes:pwcanary99@example.com/"


class Everybody:
    """The people of a release, who type secrets wherever they can, and the workers that carry it out."""

    def __init__(self, bot: Bot, outside: Outside) -> None:
        self.bot, self.outside = bot, outside
        self.world = World(bot.store, outside)
        ours = [spec.model_dump() for spec in checklist().deploy[1:]]
        tag = {"id": "deploy.tag", "title": "Tag", "action": {"do": "attest"}}
        bot.change_deps(
            checklist=checklist(deploy=(tag, *ours)), registry=self.world.deps.registry, targets=self.world.deps.targets
        )  # its own redactor stays
        self.release = ReleaseId(0)

    def types(self, *commands: str, user: str = RITA) -> None:
        """Commands, as they are after /release."""
        for command in commands:
            self._breathe()
            self.bot.command(command, user=user)

    def fills_in(self, user: str, action: str, at: tuple[str, str] = ("card", ""), **ids: object) -> None:
        """Press a button that opens a form, and submit it."""
        self.presses(user, action, at, **ids)
        self._breathe()
        self.bot.submit(user, TEXT)

    def presses(self, user: str, action: str, at: tuple[str, str] = ("card", ""), **ids: object) -> None:
        """Press a button, whether it is shown or not."""
        self._breathe()
        value = json.dumps({"release": self.release, **ids})
        self.bot.click(user, self.bot.ts(self.release, *at), action, value=value, forged=True)

    def _breathe(self) -> None:
        """A minute passes for Slack, which says only so often who is in a user group."""
        self.bot.slack.clock.advance(60)

    def carry_out(self, *queues: str) -> None:
        """What the workers do; then every message shows it."""
        self.world.deps = self.bot.deps
        for queue in queues:
            self.world.run(queue)
        self.bot.published(self.release)

    def step(self, state: StepState) -> int:
        """The row of the first step in a state."""
        return next(step.row for step in self.world.view(self.release).steps if step.state is state)


def refused_and_started(everybody: Everybody, tags: Tags) -> None:
    """Words that make no sense, vendors that leak in their errors, and a start with a password in its link."""
    with Leak(500) as broken, Leak(200) as odd:
        for vendor in (broken, odd):
            everybody.bot.ask_vendors_at(vendor.url + "/")
            everybody.types("start v4.8.0")
    everybody.types(TEXT, f"start {TEXT}", f"freeze 2h {TEXT}", "unfreeze")
    everybody.types(f"freeze {TEXT}", user=DEV)
    everybody.bot.change_deps(sources=tags.sources())
    everybody.types(f"start v4.8.0 {NOTES}?token=hunter-canary-2", f"start v4.8.0 {NOTES}")
    (row,) = everybody.bot.rows("SELECT id FROM releases")
    everybody.release = ReleaseId(row["id"])
    everybody.types(f"check {TEXT}", f"status {TEXT}")


def checked(everybody: Everybody) -> None:
    """Checks that find secrets, in each way in which one can end; waived, attested, declined with secrets."""
    answers = everybody.outside.answers
    answers |= {"go.one": TEXT, "go.two": CheckError(TEXT, hint=TEXT, seen=TEXT), "prep.first": RuntimeError(TEXT)}
    everybody.carry_out("check")
    everybody.presses(QUINN, "check.details", ("section", "go"), check="go.one")
    for view in everybody.bot.slack.state(QUINN)["views"]:
        everybody.bot.slack.post("close", user=QUINN, view_id=view["id"])
    everybody.fills_in(RITA, "check.waive", ("section", "prep"), check="prep.first")
    everybody.fills_in(QUINN, "check.attest", ("section", "prep"), check="prep.person")
    everybody.fills_in(QUINN, "signoff.decline", role="qa")
    everybody.fills_in(DEV, "check.waive", ("section", "prep"), check="prep.first")
    everybody.carry_out()
    everybody.presses(QUINN, "signoff.revoke", role="qa")
    answers.clear()
    everybody.types("check all")
    everybody.carry_out("check")


def deployed_and_taken_back(everybody: Everybody) -> None:
    """A step that fails with a secret, an alarm that is titled with one, and a rollback because of one."""
    for user, role in ((RITA, "release_manager"), (QUINN, "qa")):
        everybody.presses(user, "signoff.approve", role=role)
    everybody.presses(PAT, "release.deploy")
    everybody.carry_out("advance")
    everybody.outside.answers["deploy.health"] = RuntimeError(TEXT)
    everybody.fills_in(RITA, "step.attest", ("steps", "deploy"), step=everybody.step(StepState.TO_ATTEST))
    everybody.carry_out("advance")
    everybody.outside.answers["deploy.health"] = TEXT
    everybody.presses(RITA, "step.retry", ("steps", "deploy"), step=everybody.step(StepState.FAILED))
    everybody.carry_out("advance")
    everybody.outside.answers.clear()
    everybody.presses(RITA, "step.retry", ("steps", "deploy"), step=everybody.step(StepState.FAILED))
    everybody.carry_out("advance", "check")
    for seen in ([f"API {TEXT}"], []):
        everybody.outside.issues[:] = seen
        everybody.outside.sentry = None if seen else RuntimeError(TEXT)
        everybody.world.poll()
    everybody.carry_out()
    (alarm,) = everybody.bot.rows("SELECT min(id) AS id FROM alarms")
    everybody.fills_in(RITA, "watch.acknowledge", ("alarm", str(alarm["id"])), alarm=alarm["id"])
    everybody.fills_in(RITA, "watch.rollback")
    everybody.outside.answers["rollback.health"] = Outcome.ERROR
    everybody.carry_out("advance")
    everybody.types(f"rollback {TEXT}")
    everybody.outside.answers.clear()
    everybody.carry_out("advance")


def evidence(everybody: Everybody) -> dict[str, str]:
    """The files of the pack as it comes into the thread."""
    everybody.types("report")
    (row,) = everybody.bot.rows("SELECT id, content FROM files WHERE kind = 'pack'")
    everybody.bot.uploader.execute(a_job("file", row["id"]))
    everybody.bot.answer()
    with zipfile.ZipFile(io.BytesIO(bytes(row["content"]))) as pack:
        return {f"pack {name}": pack.read(name).decode() for name in pack.namelist()}


@pytest.mark.slow
def test_no_secret_that_is_typed_or_met_leaves(
    live: Bot, outside: Outside, tags: Tags, log: tuple[Redactor, io.StringIO], tmp_path: Path
) -> None:
    """Commands, forms, notes, reasons, vendors' errors, steps and alarms; in no message, row, log line or file."""
    redactor, stream = log
    redactor.register(REGISTERED)
    live.change_deps(redact=redactor.scrub)
    everybody = Everybody(live, outside)
    refused_and_started(everybody, tags)
    checked(everybody)
    deployed_and_taken_back(everybody)
    pack = evidence(everybody)
    places = {"log": stream.getvalue(), "tables": tables(live), "Slack": json.dumps(live.slack.get("calls")), **pack}
    places |= {f"what {user} sees": json.dumps(live.slack.state(user)) for user in (RITA, QUINN, PAT, DEV)}

    assert {(place, secret) for place, text in places.items() for secret in CANARIES if secret in text} == set()
    told = {row["event"] for row in live.rows("SELECT event, body::text AS body FROM audit") if MARK in row["body"]}
    assert told >= {
        "command.refused", "freeze.begun", "check.answered", "check.waived", "check.attested", "signoff.declined",
        "step.failed", "step.attested", "watch.acknowledged", "rollback.started",
    }  # fmt: skip
    verify(pack, tmp_path)


def verify(pack: dict[str, str], folder: Path) -> None:
    """What is scrubbed before it is stored leaves nothing to be redacted later: the pack proves every word."""
    for name, text in pack.items():
        (folder / name.removeprefix("pack ")).write_text(text, encoding="utf-8")
    asked = [sys.executable, "-I", "-S", str(VERIFY), str(folder)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1].startswith("The pack holds."), done.stdout
