"""Short messages of one event each: aborted, done, rolled back, a void sign-off, a freeze."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.domain.break_glass import is_stopped_by_freeze
from bot.domain.gate import deploy_gate, missing_approvals
from bot.domain.ids import SYSTEM
from bot.domain.plan import FAILED_IN, PlanKind, StepState
from bot.domain.policy import Role
from bot.domain.release import ReleaseState
from bot.domain.signoff import Void
from bot.domain.waiting import find_wait
from bot.slack import text
from bot.slack.blocks import elements, limits
from bot.texts.gate import freeze_exemption_text
from bot.texts.waiting import wait_problem, wait_way_on

if TYPE_CHECKING:
    from bot.domain.posts import (
        AbortedNotice,
        AttestNotice,
        DoneNotice,
        FailedNotice,
        FrozenNotice,
        GaveWayNotice,
        MitigationNotice,
        MovedNotice,
        PolicyNotice,
        ReminderPost,
        RolledBackNotice,
        SourceProblemNotice,
        VoidedNotice,
        WaitingNotice,
    )
    from bot.domain.view import ReleaseView
    from bot.slack.blocks.limits import Rendered


def unknown(view: ReleaseView, sentence: str) -> Rendered:
    """What stands in place of something that the rows do not have; ``sentence`` is ours."""
    return _notice("grey_question", f"{text.outside(text.name(view), 150)}: {sentence}")


def _notice(mark: str, sentence: str) -> Rendered:
    """One sentence of mrkdwn that a notification shows as well."""
    return limits.message(sentence, [elements.section("notice", f":{mark}: {sentence}")])


def _because(view: ReleaseView) -> str:
    reason = text.clean(view.release.reason)
    return f" Reason: {text.outside(reason, 500)}" if reason else ""


def aborted(_about: AbortedNotice, view: ReleaseView) -> Rendered:
    """That nothing was deployed, and why."""
    words = f"{text.outside(text.name(view), 150)} is aborted. Nothing was deployed.{_because(view)}"
    return _notice("no_entry_sign", words)


def gave_way(about: GaveWayNotice, view: ReleaseView) -> Rendered:
    """That it was aborted for the rollback of another release."""
    release = view.release
    people = dict.fromkeys([release.manager, *(signoff.by for signoff in view.signoffs)])
    call = " ".join(text.mention(one) for one in people)
    words = f"{call}: {text.outside(text.name(view), 150)} is aborted because {text.mention(about.user)} rolls back"
    again = f"Once production is healthy: `/release start {text.outside(release.version, 100)}`"
    nothing = "Nothing of it was deployed."
    return _notice("no_entry_sign", f"{words} {text.outside(about.version, 100)}. {nothing} {again}")


def done(_about: DoneNotice, view: ReleaseView) -> Rendered:
    """That its watch is over; once it was taken back, that."""
    name = text.outside(text.name(view), 150)
    if view.release.state is not ReleaseState.DONE:
        now = text.state_words(view, text.moment)
        return _notice("leftwards_arrow_with_hook", f"{name} was in production. Now: {now}")
    words = f"{name} is in production and its watch is over."
    alarms = view.watch.alarms if view.watch is not None else ()
    acknowledged_count = sum(alarm.acknowledged_by not in {None, SYSTEM} for alarm in alarms)
    if view.break_glass is not None and view.break_glass.reviewed_by is None:
        words += " Someone else still has to review its break-glass."
    if not acknowledged_count:
        return _notice("white_check_mark", words)
    return _notice("ballot_box_with_check", f"{words} People acknowledged {text.count(acknowledged_count, 'alarm')}.")


def rolled_back(_about: RolledBackNotice, view: ReleaseView) -> Rendered:
    """That it was taken back, and what is still to be done."""
    by_hand = [step for step in view.steps if step.plan is PlanKind.ROLLBACK and step.state is StepState.ATTESTED]
    people = " and ".join(dict.fromkeys(text.mention(step.by) for step in by_hand if step.by is not None))
    words = f"{text.outside(text.name(view), 150)} is rolled back. Production runs what it ran before"
    words += f", as attested by {people}.{_because(view)}" if people else f".{_because(view)}"
    for entry in view.open_mitigations:
        words += f"\n{text.mitigation_line(entry)}"
    if view.freeze is not None and not view.freeze.of_calendar:
        words += "\nDeploys are frozen. When the cause is known: `/release unfreeze`"
    return _notice("leftwards_arrow_with_hook", words)


def failed(about: FailedNotice, view: ReleaseView) -> Rendered:
    """That a step failed; once it was tried again, how that went."""
    step = next((step for step in view.steps if step.row == about.step), None)
    if step is None:
        return _notice("large_blue_circle", text.state_line(view))
    plan, title = text.PLAN_WORDS[step.plan], text.outside(text.step_title(view, step), 150)
    where = f"{plan} of {text.outside(text.name(view), 150)}: {title}"
    if step.state is not StepState.FAILED:
        return _notice(
            text.STEP_MARKS[step.state], f"{where} failed at first, and was retried: {text.STEP_WORDS[step.state]}."
        )
    words = f"{where} failed: {text.outside(step.summary, 500)}"
    if view.release.state is not FAILED_IN[step.plan]:
        return _notice("x", f"{words}\nToo late to retry: the release has moved on ({view.release.state}).")
    who = text.mention(view.release.deployer or view.release.manager)
    todo = f"retry it in the thread, or {'abort, as nothing was changed yet' if view.may_abort else 'roll back'}"
    if step.plan is PlanKind.DEPLOY and is_stopped_by_freeze(view):
        todo = "roll back, or retry it in the thread once the freeze is over"
    return _notice("x", f"{words}\n{who}: {todo}.")


def attest(about: AttestNotice, view: ReleaseView) -> Rendered:
    """That a plan has come to a person's step; once it goes on, who did it."""
    step = next((step for step in view.steps if step.row == about.step), None)
    if step is None:
        return _notice("large_blue_circle", text.state_line(view))
    plan, title = text.PLAN_WORDS[step.plan], text.outside(text.step_title(view, step), 150)
    where = f"{plan} of {text.outside(text.name(view), 150)}"
    if step.state is StepState.ATTESTED and step.by is not None:
        return _notice(text.STEP_MARKS[step.state], f"{where}: {title}: attested by {text.mention(step.by)}.")
    if step is not view.awaited_step:
        return _notice(text.STEP_MARKS[step.state], f"{where}: {title}: {text.STEP_WORDS[step.state]}.")
    who = text.mention(view.release.deployer or view.release.manager)
    todo = f"{text.who_attests(view, step)}: do it, then press Attest in the thread."
    rollback = " Or roll back." if step.plan is PlanKind.DEPLOY else ""
    return _notice("raised_hand", f"{who}: {where} waits for a person: {title}\n{todo}{rollback}")


def waited_for(about: WaitingNotice, view: ReleaseView) -> Rendered:
    """That somebody is waited for; once nobody is any more, that."""
    cause, name = find_wait(view), text.outside(text.name(view), 150)
    if cause is None or int(cause.since.timestamp()) != about.since:
        return _notice("white_check_mark", f"{name} no longer waits for anybody.")
    people = dict.fromkeys([view.release.deployer or view.release.manager, view.release.manager])
    call = " ".join(text.mention(user) for user in people)
    words = f"{name} has been waiting since {text.moment(cause.since)}: {text.outside(wait_problem(cause), 400)}."
    return _notice("bell", f"{call}: {words} {wait_way_on(cause)}")


def mitigation(about: MitigationNotice, view: ReleaseView) -> Rendered:
    """A reminder of a mitigation; once it is put back, that."""
    entry = next((entry for entry in view.mitigations if entry.id == about.mitigation), None)
    if entry is None:
        return _notice("large_blue_circle", text.state_line(view))
    what = text.outside(entry.what, 200)
    if not entry.is_open:
        return _notice("white_check_mark", f"{what} is put back.")
    state = f"is stuck: {text.outside(entry.trouble, 300)}" if entry.is_stuck else "is still set"
    where = f"for {text.outside(text.name(view), 150)}, since {text.moment(entry.begun_at)}"
    words = f"{text.mention(entry.owner)}: {what} {state} ({where}). Put it back with its button as soon as you can."
    return _notice("warning", f"{words} Reason: {text.outside(entry.reason, 300)}")


def frozen(about: FrozenNotice, view: ReleaseView) -> Rendered:
    """A freeze; once it is over, that, and what holds instead."""
    freeze = view.freeze
    if freeze is None:
        return _notice("white_check_mark", "The freeze is over. Deploys are allowed again.")
    until, why = text.frozen_until(freeze), text.outside(freeze.reason, 500)
    if freeze.of_calendar:
        words = f"That freeze is over, but the calendar freezes deploys until {until}"
    elif about.second is not None and (freeze.at is None or about.second != round(freeze.at.timestamp())):
        words = f"That freeze is over, but another one freezes deploys until {until}"
    else:
        words = f"{text.mention(freeze.by)} froze deploys until {until}"
    return _notice(
        "snowflake",
        f"{words}: {why}\n{freeze_exemption_text(view.release, text.outside(view.release.version, 100))}".rstrip(),
    )


def voided(about: VoidedNotice, view: ReleaseView) -> Rendered:
    """A sign-off that no longer counts. Its row has left the view, so that the message knows of it what the subject does."""
    role, user, cause = about.role, about.user, about.cause
    name = text.outside(text.name(view), 150)
    if cause == Void.ROLE and role in set(Role):
        again = f" Another {Role(role).title} must sign." if view.release.state is ReleaseState.OPEN else ""
        words = f"{text.mention(user)} no longer has the role {Role(role).title}, so that sign-off for {name} is void."
        return _notice("warning", f"{words}{again}")
    why = f"it has expired for {name}" if cause == Void.OLD else f"{name} has changed since"
    again = " Look again and sign again." if view.release.state is ReleaseState.OPEN else ""
    if role in set(Role):
        return _notice("warning", f"{text.mention(user)}: your {Role(role).title} sign-off is void: {why}.{again}")
    return _notice("warning", f"A sign-off is void: {why}.{again}")


def moved(_about: MovedNotice, view: ReleaseView) -> Rendered:
    """Its tag or its image means something else than before."""
    release = view.release
    what = f"commit {text.code(release.commit[:12])}, image {text.code(text.short_digest(release.pinned_image), 200)}"
    words = f"{text.outside(text.name(view), 150)} now points to something else: {what}. Earlier sign-offs are void."
    again = " Its checks run again." if release.state is ReleaseState.OPEN else ""
    return _notice("rotating_light", f"{words}{again}")


def unbound(_about: SourceProblemNotice, view: ReleaseView) -> Rendered:
    """That its tag or its image is gone; once they are back, that."""
    name = text.outside(text.name(view), 150)
    if not view.release.source_problem:
        return _notice("white_check_mark", f"{name}: its tag and image are back.")
    return _notice("rotating_light", f"{name} can't be deployed: {text.outside(view.release.source_problem, 300)}")


def policy(_about: PolicyNotice, view: ReleaseView) -> Rendered:
    """That another policy judges it."""
    name, digest = text.outside(text.name(view), 150), text.code(view.release.policy_digest[:12])
    return _notice("scales", f"The policy changed to {digest}. Sign-offs for {name} under the old one are void.")


def reminder(about: ReminderPost, view: ReleaseView) -> Rendered:
    """A direct message to somebody who is waited for."""
    role, release = about.role, view.release
    name, where = text.outside(text.name(view), 150), f"the card in <#{release.channel}>"
    if release.state is not ReleaseState.OPEN:
        return _notice("white_check_mark", f"{name} no longer waits ({release.state}).")
    if role == "manager":
        verdict = text.verdict(deploy_gate(view))
        return _notice("hourglass", f"{name} is still open: {verdict}. Deploy or abort it: see {where}.")
    if role not in {missing_role for missing_role, _ in missing_approvals(view)}:
        return _notice("white_check_mark", f"{name} no longer waits for {Role(role).title}.")
    expiry = text.moment(release.started_at + view.policy.expire_after)
    return _notice(
        "hourglass", f"{name} waits for {Role(role).title} to sign: see {where}. It will be aborted on {expiry}."
    )
