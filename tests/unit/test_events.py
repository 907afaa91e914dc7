"""Events of the record and subjects of posts: closed unions, whose stored names stay readable for ever."""

import re

import pytest

from bot.domain.events import EVENTS, CheckRequested, Event, ReleaseReminded, RollbackComplete, closes_release
from bot.domain.ids import CheckId, UserId
from bot.domain.posts import POSTS, FailedNotice, FrozenNotice, GaveWayNotice, PostSubject, VoidedNotice, read_subject
from bot.errors import UnknownThing

# Every name that a released bot has written into a record. None of them ever goes.
STORED_NAMES = """
break_glass.reviewed break_glass.used check.answered check.attested check.cancelled check.requested check.waived
click.refused command.refused deploy.complete deploy.planned deploy.started evidence.exported freeze.begun freeze.lifted
mitigation.attested mitigation.begun mitigation.lifted mitigation.reminded mitigation.resolving mitigation.set
mitigation.stuck plan.shown policy.adopted release.aborted release.bound release.closed release.done release.rebound
release.reminded release.started release.unbound rollback.complete rollback.started signoff.approved signoff.declined
signoff.revoked signoff.rollback signoff.voided step.attested step.cancelled step.done step.failed step.retried
step.waits undo.settled watch.acknowledged watch.clock_set watch.not_watched watch.polled
"""


def test_every_event_that_was_ever_stored_is_known():
    """The union has every event that an older bot may have stored; whoever adds one adds it here too."""
    assert set(STORED_NAMES.split()) == set(EVENTS)


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_the_name_and_description_of_an_event_are_well_formed(event: type[Event]):
    """An event is named area.happened, is defined in the closed module, and has a sentence for the reference page."""
    assert re.fullmatch(r"[a-z_]+\.[a-z_]+", event.event_name)
    assert event.__module__ == "bot.domain.events"
    assert re.fullmatch(r"[A-Z].*\.", event.__doc__ or "", re.DOTALL)
    assert event.__doc__ != Event.__doc__


def test_the_body_of_an_event_has_its_fields_and_its_version():
    """An optional field without a value is not stored, as in the rows of older bots."""
    assert CheckRequested(checks=[CheckId("go.one")]).body == {"checks": ["go.one"], "event_version": 1}
    assert ReleaseReminded(what="nobody deploys", round=2).body == {
        "what": "nobody deploys",
        "round": 2,
        "event_version": 1,
    }
    assert RollbackComplete(reason="", closed_at=None).body["closed_at"] is None


def test_a_rollback_does_not_close_a_release_with_an_open_mitigation():
    """The release is closed once the mitigation is put back (promise P7)."""
    assert not closes_release(RollbackComplete(reason="", closed_at=None))


def test_a_name_is_used_by_one_class_only():
    """Two classes with the same stored name are an error, as a row would be ambiguous."""
    with pytest.raises(TypeError, match=r"two events are called check\.waived"):
        type("Again", (Event,), {}, name="check.waived")
    with pytest.raises(TypeError, match="two posts are called notice done"):
        type("Again", (PostSubject,), {}, kind="notice", word="done")


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        ("card", ""),
        ("section", "go"),
        ("steps", "rollback"),
        ("alarm", "7"),
        ("record", f"12:{'0' * 64}"),
        ("reminder", "qa:U0QUINN001:2"),
        ("reminder", "manager:U0RITA0001:1"),
        ("notice", "aborted"),
        ("notice", "gave_way:v4.8.0:U0RITA0001"),
        ("notice", "gave_way:v4.8.0:U0RITA0001:channel"),
        ("notice", "failed:12:3"),
        ("notice", "failed:12:cancel:3"),
        ("notice", "waiting:1764000000:2"),
        ("notice", "frozen"),
        ("notice", "frozen:1764000000"),
        ("notice", "voided:5"),
        ("notice", "voided:5:qa:U0QUINN001"),
        ("notice", "voided:5:qa:U0QUINN001:role"),
    ],
)
def test_a_stored_subject_is_read_and_written_alike(kind: str, subject: str):
    """A subject is read and written without a change, also one that an older bot has stored."""
    about = read_subject(kind, subject)
    assert (about.kind, about.text) == (kind, subject)


def test_subjects_are_read_into_typed_fields():
    """Each subject is read into the class with its fields."""
    user = UserId("U0QUINN001")
    assert read_subject("notice", "failed:12:cancel:3") == FailedNotice(step=12, attempt="cancel:3")
    assert read_subject("notice", "voided:5:qa:U0QUINN001:old") == VoidedNotice(
        signoff=5, role="qa", user=user, cause="old"
    )
    assert read_subject("notice", "frozen") == FrozenNotice(second=None)
    assert GaveWayNotice(version="v4.8.0", user=user).belongs_in_thread
    assert not GaveWayNotice(version="v4.8.0", user=user, place="channel").belongs_in_thread
    assert {kind for kind, _ in POSTS} >= {"card", "notice", "record"}


NONSENSE = [
    ("notice", ""),
    ("notice", "gave_way:"),
    ("notice", "voided:x:y"),
    ("alarm", "gone"),
    ("record", "nonsense"),
]


@pytest.mark.parametrize(
    ("kind", "subject"),
    [("notice", "surprise"), ("poem", ""), ("alarm", "seven"), ("steps", "sideways"), ("notice", "failed"), *NONSENSE],
)
def test_an_unknown_subject_is_an_error(kind: str, subject: str):
    """A subject that no post has is an error, instead of a message that is silently missing."""
    with pytest.raises(UnknownThing, match=f"No message is called {kind} {subject}"):
        read_subject(kind, subject)
