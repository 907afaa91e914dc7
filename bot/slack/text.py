"""The sentences that people read, and how outside strings get into them. Layout is in `blocks`.

Everything that comes from a row, a vendor or a person goes through `outside`, `code`, `link` or `mention` before it
stands in mrkdwn: a commit title with `<!channel>` in it must not page the channel.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from bot.domain.ids import SYSTEM
from bot.domain.mitigation import MitigationState
from bot.domain.options import UNDER_WAY, count_settled, status_of
from bot.domain.plan import PlanKind, StepState
from bot.domain.policy import Action
from bot.domain.release import ReleaseState
from bot.domain.results import CheckStatus
from bot.domain.runbook import places
from bot.domain.watch import ProbeStatus
from bot.slack.cut import cut_mrkdwn, cut_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.domain.checklist import Check, Section
    from bot.domain.gate import Decision
    from bot.domain.ids import UserId
    from bot.domain.mitigation import Mitigation
    from bot.domain.plan import Step
    from bot.domain.view import Freeze, ReleaseView

# Names of emoji, without colons.
MARKS = {
    CheckStatus.PASSED: "white_check_mark",
    CheckStatus.WAIVED: "fast_forward",
    CheckStatus.EXPIRED: "alarm_clock",
    CheckStatus.FAILED: "x",
    CheckStatus.ERROR: "warning",
    CheckStatus.INCONCLUSIVE: "raised_hand",
    CheckStatus.RUNNING: "hourglass_flowing_sand",
    CheckStatus.WAITING: "hourglass_flowing_sand",
    CheckStatus.MISSING: "white_circle",
}
WORDS = {
    CheckStatus.PASSED: "passed",
    CheckStatus.WAIVED: "waived",
    CheckStatus.EXPIRED: "expired",
    CheckStatus.FAILED: "failed",
    CheckStatus.ERROR: "couldn't be checked",
    CheckStatus.INCONCLUSIVE: "needs a person",
    CheckStatus.RUNNING: "running",
    CheckStatus.WAITING: "waiting",
    CheckStatus.MISSING: "not run yet",
}
STEP_MARKS = {
    StepState.PENDING: "white_circle",
    StepState.RUNNING: "hourglass_flowing_sand",
    StepState.DONE: "white_check_mark",
    StepState.FAILED: "x",
    StepState.CANCELLED: "no_entry_sign",
    StepState.TO_ATTEST: "raised_hand",
    StepState.ATTESTED: "white_check_mark",
}
STEP_WORDS = {
    StepState.PENDING: "not started",
    StepState.RUNNING: "running",
    StepState.DONE: "done",
    StepState.FAILED: "failed",
    StepState.CANCELLED: "not done",
    StepState.TO_ATTEST: "a person does this and attests it",
    StepState.ATTESTED: "attested",
}
UNCONFIRMED_MARK = "grey_question"  # of a step that was done by hand, where the bot could not look
NOT_THERE = "the bot's message is not in the channel yet"  # of a step that waits for it
STATE_MARKS = {
    ReleaseState.OPEN: "large_blue_circle",
    ReleaseState.DEPLOYING: "hourglass_flowing_sand",
    ReleaseState.DEPLOY_FAILED: "x",
    ReleaseState.WATCHING: "eyes",
    ReleaseState.DONE: "white_check_mark",
    ReleaseState.ROLLING_BACK: "hourglass_flowing_sand",
    ReleaseState.ROLLBACK_FAILED: "x",
    ReleaseState.ROLLED_BACK: "leftwards_arrow_with_hook",
    ReleaseState.ABORTED: "no_entry_sign",
}
PLAN_WORDS = {PlanKind.DEPLOY: "Deploy", PlanKind.ROLLBACK: "Rollback"}

_USER = re.compile(r"[UW][A-Z0-9]{1,30}")
_WEB = re.compile(r"https?://[^\s<>|]+")
_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}")


class _PrintableTable(dict[int, str]):
    """For ``str.translate``: what can be read as it is, a space for what stands between words, nothing for the others."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        self[code] = text = char if char.isprintable() else " " * char.isspace()
        return text


_PRINTABLE = _PrintableTable()


def clean(text: str) -> str:
    """``text`` on one line, without control characters and without those that turn the direction of writing.

    A line break in a summary must not start a line of its own, which could read like the result of another check.
    """
    return " ".join((text if text.isprintable() else text.translate(_PRINTABLE)).split())


def escape(text: str) -> str:
    """``text`` with & < > as entities (docs.slack.dev/messaging/formatting-message-text#escaping)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def outside(text: str, limit: int = 300) -> str:
    """An outside string as one line of mrkdwn, in at most ``limit`` characters."""
    return cut_mrkdwn(escape(clean(text)), limit)


_MENTION = re.compile(r"&lt;(@[UW][A-Z0-9]+|#C[A-Z0-9]+)&gt;")


def sentence(text: str, limit: int) -> str:
    """Lines that a flow says to one person: escaped like outside strings, but mentions by id stay."""
    lines = "\n".join(escape(clean(line)) for line in text.splitlines())
    return cut_mrkdwn(_MENTION.sub(r"<\1>", lines), limit)


def bold(text: str, limit: int = 300) -> str:
    """An outside string in bold; as it is where a star of its own (``SELECT * FROM``) would end the bold part."""
    cut_text = outside(text, limit - 2)
    return cut_text if "*" in cut_text else f"*{cut_text}*"


def code(text: str, limit: int = 300) -> str:
    """An outside string in a fixed-width font, in at most ``limit`` characters."""
    code_text = escape(clean(text).replace("`", "'"))
    return f"`{cut_mrkdwn(code_text, limit - 2)}`"


def code_block(text: str, limit: int) -> str:
    """Outside lines in a fixed-width font, in at most ``limit`` characters."""
    lines = "\n".join(line.translate(_PRINTABLE) for line in text.expandtabs(4).splitlines())
    code_text = escape(lines.replace("```", "'''"))
    return f"```\n{cut_mrkdwn(code_text, limit - 8)}\n```"


def mention(user: UserId | str) -> str:
    """Somebody, by id; names can be copied at will."""
    if user == SYSTEM:
        return "the bot"
    return f"<@{user}>" if _USER.fullmatch(user) else outside(user, 40)


def link(url: str, label: str, limit: int = 400) -> str:
    """A link; the address as text where it is not of the web or too long to stand whole."""
    whole = f"<{escape(url)}|{outside(label, 60)}>"
    return whole if _WEB.fullmatch(url) and len(whole) <= limit else outside(url or label, limit)


def runbook(document: str, sections: str, limit: int) -> str:
    """The sections of the runbook that a line names, as links into it; as words where it has no address or they are too long."""
    links = [
        link(address, heading, limit) if address else outside(heading, limit)
        for heading, address in places(document, sections)
    ]
    link_list = ", ".join(links)
    return link_list if len(link_list) <= limit else outside(sections, limit)


def clock_time(at: datetime) -> str:
    """The time of day in the reader's time zone, UTC where Slack cannot convert it."""
    return f"<!date^{int(at.timestamp())}^{{time}}|{utc_time(at)}>"


def moment(at: datetime) -> str:
    """Day and time in the reader's time zone, UTC where Slack cannot convert it."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{utc_moment(at)}>"


def day(at: datetime) -> str:
    """The date in the reader's time zone, UTC where Slack cannot convert it."""
    return f"<!date^{int(at.timestamp())}^{{date_num}}|{at.astimezone(UTC):%Y-%m-%d}>"


def utc_time(at: datetime) -> str:
    """The time of day for plain text, which Slack does not convert."""
    return at.astimezone(UTC).strftime("%H:%M UTC")


def utc_moment(at: datetime) -> str:
    """Day and time for plain text, which Slack does not convert."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(length: timedelta) -> str:
    """``42 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``: the two largest units."""
    seconds = max(0, round(length.total_seconds()))
    units = [(seconds // 86_400, "d"), (seconds // 3_600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    first = next((index for index, (count, _) in enumerate(units) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2] if count) or "0 s"


def minutes_left(length: timedelta) -> str:
    """How long it still takes, in whole minutes."""
    minutes = -(-int(length.total_seconds()) // 60)
    return f"{minutes} min left" if minutes > 0 else "time is up"


def short_digest(text: str) -> str:
    """``text`` with image digests shortened to twelve hex digits, as people compare them."""
    return _DIGEST.sub(r"\1", text)


def count(number: int, word: str) -> str:
    """``1 reason``, ``3 reasons``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def name(view: ReleaseView) -> str:
    """What is released, in plain text: the title of the checklist and the version."""
    return f"{cut_plain(clean(view.checklist.title), 100)} {view.release.version}"


def progress(view: ReleaseView, section: Section) -> str:
    """How many checks of the section are passed or waived, and how many there are: ``3/5``."""
    return f"{count_settled(view, section)}/{len(section.checks)}"


def result_line(view: ReleaseView, check: Check) -> str:
    """A check in one plain line: the word for its status, and its summary, progress or waiver."""
    status, state = status_of(view, check), view.checks[check.id]
    word = WORDS[status]
    if status in UNDER_WAY:
        return f"{word}: {clean(state.progress)}" if clean(state.progress) else word
    if status is CheckStatus.WAIVED and state.waiver is not None:
        return f"{word}: {clean(state.waiver.reason)}"
    if state.result is None:
        return word
    return f"{word}: {clean(state.result.summary)}" if clean(state.result.summary) else word


def step_title(view: ReleaseView, step: Step) -> str:
    """The step in the words of the checklist; its id where a later checklist no longer has it."""
    spec = view.checklist.step(step.id)
    return clean(spec.title if spec else step.id) or step.id


def verdict(decision: Decision) -> str:
    """The gate in a few plain words."""
    return "Go" if decision.is_open else f"No-Go, {count(len(decision.reasons), 'reason')}"


def frozen_until(freeze: Freeze) -> str:
    """When a freeze ends, in mrkdwn: a time, or what has to happen."""
    return moment(freeze.until) if freeze.until else "someone lifts it"


def state_line(view: ReleaseView) -> str:
    """Name and state in one sentence of mrkdwn that a notification can show, with times in UTC."""
    return f"{outside(name(view), 150)}: {state_words(view, utc_moment)}"


# States that somebody chose with a reason; where a step failed, the step says why.
_CHOSEN_STATES = {ReleaseState.ABORTED, ReleaseState.ROLLING_BACK, ReleaseState.ROLLED_BACK}


def state_words(view: ReleaseView, write_time: Callable[[datetime], str]) -> str:
    """Where the release is, as a sentence of mrkdwn without its full stop; ``write_time`` writes a time."""
    release = view.release
    words = str(release.state)
    if detail := _state_detail(view, write_time):
        words += f" {detail}" if release.state is ReleaseState.WATCHING else f", {detail}"
    if clean(release.reason) and release.state in _CHOSEN_STATES:
        words += f": {outside(release.reason, 300)}"
    return words


def _state_detail(view: ReleaseView, write_time: Callable[[datetime], str]) -> str:
    """The one fact that belongs to the state: which step, until when, since when."""
    release, state = view.release, view.release.state
    if state in {ReleaseState.DEPLOYING, ReleaseState.DEPLOY_FAILED}:
        return _at_step(view, PlanKind.DEPLOY)
    if state in {ReleaseState.ROLLING_BACK, ReleaseState.ROLLBACK_FAILED}:
        return _at_step(view, PlanKind.ROLLBACK)
    if state is ReleaseState.WATCHING and view.watch is not None:
        alarms = len(view.watch.open_alarms)
        blind = sum(reading.status is ProbeStatus.CANNOT_TELL for reading in view.watch.readings)
        parts = [f"until {write_time(view.watch.ends_at)}"]
        parts += [count(alarms, "open alarm")] if alarms else []
        parts += [f"{count(blind, 'probe')} {'has' if blind == 1 else 'have'} no data"] if blind else []
        return ". ".join(parts)
    if state is ReleaseState.ABORTED:
        return "nothing was deployed"
    if view.open_mitigations:
        return f"open until {' and '.join(outside(entry.what, 100) for entry in view.open_mitigations[:3])} is put back"
    return write_time(release.closed_at) if release.closed_at is not None else ""


# Of a mitigation: what becomes of it at this moment.
IN_FORCE = {
    MitigationState.SETTING: "is being set",
    MitigationState.SET: "is set for now",
    MitigationState.LIFTING: "is being put back",
    MitigationState.LIFTED: "is put back",
}


def mitigation_line(entry: Mitigation) -> str:
    """A mitigation that keeps its release open: what stands, whose it is, since when, and how it ends."""
    words = f":warning: *{outside(entry.what, 100)}* {IN_FORCE[entry.state]}"
    if entry.is_stuck:
        words += f", but is stuck: {outside(entry.trouble, 150)}"
    ending = "" if entry.state is MitigationState.LIFTING and not entry.is_stuck else " Press *Put it back* to end it."
    return f"{words}. {mention(entry.owner)} has owned it since {moment(entry.begun_at)}.{ending}"


def who_attests(view: ReleaseView, step: Step) -> str:
    """The roles that may attest a step, by the policy."""
    return view.policy.who_may(Action.ATTEST, step.id)


def _at_step(view: ReleaseView, plan: PlanKind) -> str:
    """The step at which a plan is or stopped, with its place among all, and why it failed."""
    steps = sorted((step for step in view.steps if step.plan is plan), key=lambda step: step.ordinal)
    for place, step in enumerate(steps, start=1):
        if step.state in {StepState.FAILED, StepState.RUNNING, StepState.PENDING} or step is view.awaited_step:
            words = f"step {place} of {len(steps)}, {outside(step_title(view, step), 80)}"
            words += f", waiting for {who_attests(view, step)}" if step is view.awaited_step else ""
            failure = step.state is StepState.FAILED and clean(step.summary)
            return f"{words}: {outside(step.summary, 200)}" if failure else words
    return ""
