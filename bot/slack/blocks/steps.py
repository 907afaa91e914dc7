"""The steps of a deploy or a rollback as they happen, one message each, in the thread of the card."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.domain.actions import SetVariable
from bot.domain.plan import FAILED_IN, PlanKind, StepState, Way, failed_step, lasting_changes
from bot.domain.release import MAY_ROLL_BACK, ReleaseState
from bot.slack import text
from bot.slack.blocks import elements, limits
from bot.slack.blocks.plan import lasting_block
from bot.slack.cut import cut_plain
from bot.slack.payloads import ReleasePayload, StepPayload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bot.domain.plan import Mutation, Step
    from bot.domain.posts import StepsPost
    from bot.domain.view import ReleaseView
    from bot.slack.blocks.elements import Element
    from bot.slack.blocks.limits import Rendered

_STEPS = 7_400  # characters for all steps
_MAX_STEPS = limits.MAX_BLOCKS - 5
_REST = 600
_LASTING_LIMIT = 800  # for what a rollback does not take back
_GOES_ON = {ReleaseState.DEPLOYING, ReleaseState.ROLLING_BACK}
_OFFER_STATES = {ReleaseState.ROLLING_BACK, ReleaseState.ROLLBACK_FAILED, ReleaseState.ROLLED_BACK}
_FINISHED_STATES = {StepState.DONE, StepState.ATTESTED}


def render(about: StepsPost, view: ReleaseView) -> Rendered:
    """The steps of a deploy or a rollback."""
    plan = about.plan
    steps = sorted((step for step in view.steps if step.plan is plan), key=lambda step: step.ordinal)
    finished_count = sum(step.state in _FINISHED_STATES or _is_offered(view, step) for step in steps)
    heading = f"{text.bold(f'{text.PLAN_WORDS[plan]} of {text.name(view)}', 200)} {finished_count}/{len(steps)}"
    blocks = [elements.section("plan", heading)]
    visible_steps = steps[:_MAX_STEPS]
    room = limits.share(_STEPS, len(visible_steps), at_least=150, at_most=1_500)
    blocks += [
        elements.section(f"step:{step.row}", _step(view, step, room), limit=room, accessory=_button(view, step))
        for step in visible_steps
    ]
    if rest := steps[_MAX_STEPS:]:
        lines = [f":{text.STEP_MARKS[step.state]}: {text.outside(text.step_title(view, step), 100)}" for step in rest]
        blocks.append(elements.section("rest", limits.join_lines(lines, _REST)))
    if plan is PlanKind.ROLLBACK:
        blocks += lasting_block("Left in place", lasting_changes(view.steps, view.checklist.deploy), _LASTING_LIMIT)
    stands_at = failed_step(steps, plan) or next((step for step in steps if step is view.awaited_step), None)
    buttons = _ways_on(view, stands_at) if stands_at is not None else []
    offer = next((step for step in steps if _is_offered(view, step)), None)
    if offer is not None and view.release.state in _OFFER_STATES:
        payload = StepPayload(release=view.release.id, step=offer.row)
        spec = view.checklist.step(offer.id)
        if spec is not None and isinstance(spec.action, SetVariable):
            buttons.append(elements.button("mitigation.apply", payload, f"Set {spec.action.name}"))
    blocks += elements.actions("plan:buttons", buttons)
    return limits.message(_fallback(view, plan, steps), blocks)


def _ways_on(view: ReleaseView, step: Step) -> list[Element]:
    """What can be done about a step at which the plan stands, besides Retry or Attest, which stands beside it."""
    buttons = []
    spec = view.checklist.step(step.id)
    if spec is not None and spec.by_hand and view.release.state is FAILED_IN[step.plan]:
        by_hand = StepPayload(release=view.release.id, step=step.row)
        buttons.append(elements.button("step.attest", by_hand, "Done by hand"))
    payload = ReleasePayload(release=view.release.id)
    if step.plan is PlanKind.DEPLOY and view.may_abort:
        buttons.append(elements.button("release.abort", payload, "Abort"))
    if step.plan is PlanKind.DEPLOY and view.release.state in MAY_ROLL_BACK:
        buttons.append(elements.button("release.rollback", payload, "Roll back", style="danger"))
    return buttons


def _fallback(view: ReleaseView, plan: PlanKind, steps: list[Step]) -> str:
    head = f"{text.PLAN_WORDS[plan]} of {text.name(view)}"
    ahead = [step for step in steps if step.state not in _FINISHED_STATES and not _is_beside_the_plan(view, step)]
    step = failed_step(ahead, plan) or next(iter(ahead), None)
    if step is not None:
        detail = text.clean(step.summary if step.state is StepState.FAILED else step.progress)
        word = text.STEP_WORDS[step.state]
        word = f"waits: {word}" if step is view.awaited_step else word
        words = f"{text.step_title(view, step)} {word}" + (f": {detail}" if detail else "")
        return text.escape(cut_plain(f"{head}: step {steps.index(step) + 1} of {len(steps)}, {words}", 600))
    return text.escape(f"{head}: {'all steps done' if steps else 'no steps yet'}")


def _step(view: ReleaseView, step: Step, room: int) -> str:
    """Mark and title, then what stood there before and what stands there now."""
    title = text.bold(text.step_title(view, step), max(room // 3, 60))
    mark = text.STEP_MARKS[StepState.PENDING if _untold(view, step) else step.state]
    if step.is_unconfirmed:
        mark = text.UNCONFIRMED_MARK
    lines = [f":{mark}: {title}{_how_long(step)}"]
    room_left = room - len(lines[0]) - 2
    if before := _before(step.before):
        lines.append(f"before: {text.outside(before, max(room_left // 3, 30))}")
        room_left -= len(lines[-1]) + 1
    if words := _step_words(view, step):
        arrow = "→ " if before else ""
        lines.append(f"{arrow}{text.outside(words, max(room_left - 60, 30))}")
    if step.state is StepState.ATTESTED and step.by is not None:
        note = f": {text.outside(step.note, max(room_left // 2, 30))}" if text.clean(step.note) else ""
        lines.append(f"attested by {text.mention(step.by)}{note}")
    return "\n".join(lines)


def _step_words(view: ReleaseView, step: Step) -> str:
    """What the step says about itself now; where it says nothing, the word for its state."""
    if step is view.awaited_step:
        return f"{text.who_attests(view, step)}: do this, then press Attest. The {step.plan} waits for it."
    if _is_offered(view, step):
        return "optional: whoever sets it owns it and puts it back"
    if _untold(view, step):
        return "done by the bot's message in the channel at the end"
    words = step.progress if step.state is StepState.RUNNING else step.summary
    if text.clean(words):
        return text.clean(words)
    if step.state is StepState.PENDING and step.planned_changes:
        return "; ".join(_to_come(change) for change in step.planned_changes)
    return text.STEP_WORDS[step.state] if step.state not in {StepState.DONE, StepState.ATTESTED} else ""


def _to_come(change: Mutation) -> str:
    """What a step that has not begun is to change; the way back is said where there is none."""
    words = f"{text.clean(change.what)}: {text.clean(change.now) or 'nothing'} → {text.clean(change.after)}"
    final = f" ({text.clean(change.back)})" if change.way is Way.FINAL else ""
    return text.short_digest(words) + final


def _before(before: Mapping[str, object]) -> str:
    """The single values of what was recorded; whole templates stay in the row."""
    pairs = [
        f"{key.replace('_', ' ')} {cut_plain(text.short_digest(str(value)), 90)}"
        for key, value in before.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip()
    ]
    return ", ".join(pairs)


def _how_long(step: Step) -> str:
    if step.started_at is None:
        return ""
    if step.finished_at is not None:
        return f" · {text.duration(step.finished_at - step.started_at)}"
    return f" · since {text.clock_time(step.started_at)}" if step.state is StepState.RUNNING else ""


def _goes_on(step: Step) -> str:
    return f"job/{' and job/'.join(step.unfinished_jobs)} keeps running. " if step.unfinished_jobs else ""


def _button(view: ReleaseView, step: Step) -> Element | None:
    payload = StepPayload(release=view.release.id, step=step.row)
    if step.state is StepState.FAILED and view.release.state is FAILED_IN[step.plan]:
        return elements.button("step.retry", payload, "Retry", style="primary")
    if step.state is StepState.RUNNING and view.release.state in _GOES_ON:
        question = elements.confirm(
            "Cancel this step?",
            f"What it changed so far stays. {_goes_on(step)}You can retry it, or roll back.",
            "Cancel it",
            "Let it run",
        )
        return elements.button("step.cancel", payload, "Cancel", confirm=question)
    if _is_offered(view, step):
        return elements.button("step.attest", payload, "Not needed")
    if step is view.awaited_step:
        return elements.button("step.attest", payload, "Attest", style="primary")
    return None


def _is_offered(view: ReleaseView, step: Step) -> bool:
    """Whether it is done only if somebody decides so, and nobody has: the plan does not wait for it."""
    return step.state is StepState.TO_ATTEST and view.is_optional(step)


def _untold(view: ReleaseView, step: Step) -> bool:
    """Whether it is done by a message that is not in the channel yet."""
    return step.state is StepState.TO_ATTEST and view.is_announcement(step)


def _is_beside_the_plan(view: ReleaseView, step: Step) -> bool:
    """Whether it is open and the plan does not wait for it."""
    return _is_offered(view, step) or _untold(view, step)
