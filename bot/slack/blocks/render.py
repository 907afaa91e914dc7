"""The one table from what a Post is about to its renderer (promise P8: a message is a pure function of rows)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bot.domain import posts
from bot.slack.blocks import break_glass, card, closeout, mitigation, notices, record, sections, steps, watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.domain.view import ReleaseView
    from bot.slack.blocks.limits import Rendered

RENDERERS: dict[type[posts.PostSubject], Callable[[Any, ReleaseView], Rendered]] = {
    posts.CardPost: card.render,
    posts.SectionPost: sections.render,
    posts.StepsPost: steps.render,
    posts.WatchPost: watch.render,
    posts.AlarmPost: watch.render_alarm,
    posts.MitigationPost: mitigation.render,
    posts.BreakGlassPost: break_glass.render,
    posts.CloseoutPost: closeout.render,
    posts.RecordPost: record.render,
    posts.ReminderPost: notices.reminder,
    posts.AbortedNotice: notices.aborted,
    posts.GaveWayNotice: notices.gave_way,
    posts.DoneNotice: notices.done,
    posts.RolledBackNotice: notices.rolled_back,
    posts.FailedNotice: notices.failed,
    posts.AttestNotice: notices.attest,
    posts.WaitingNotice: notices.waited_for,
    posts.FrozenNotice: notices.frozen,
    posts.MitigationNotice: notices.mitigation,
    posts.VoidedNotice: notices.voided,
    posts.MovedNotice: notices.moved,
    posts.SourceProblemNotice: notices.unbound,
    posts.PolicyNotice: notices.policy,
}


def render(about: posts.PostSubject, view: ReleaseView) -> Rendered:
    """The message about ``about`` as it is to stand now."""
    return RENDERERS[type(about)](about, view)
