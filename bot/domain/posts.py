"""Posts: what each message owed to Slack is about, as a class with its fields, and the columns in which that is stored."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from bot.domain.ids import UserId
from bot.domain.model import Model
from bot.domain.plan import PlanKind
from bot.errors import UnknownThing

POSTS: dict[tuple[str, str], type[PostSubject]] = {}


class PostSubject(Model):
    """What one message of a release is about. The same subject of a release is the same message.

    It is stored in two columns: ``kind``, and ``subject`` with ``word`` and the values of its fields with colons between them.
    """

    kind: ClassVar[str]
    word: ClassVar[str]
    in_thread: ClassVar[bool]

    def __init_subclass__(cls, *, kind: str, word: str = "", in_thread: bool = False) -> None:
        if (kind, word) in POSTS:
            raise TypeError(f"two posts are called {kind} {word}")
        cls.kind, cls.word, cls.in_thread = kind, word, in_thread
        POSTS[kind, word] = cls

    @property
    def belongs_in_thread(self) -> bool:
        """Whether the message belongs to the thread of the release card, or else to the channel."""
        return self.in_thread

    @property
    def text(self) -> str:
        """The column ``subject``."""
        values = [str(value) for value in self.model_dump(exclude_defaults=True).values()]
        return ":".join([self.word, *values] if self.word else values)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The subject of this class whose fields are stored as ``text``. Raises ValueError when they are others."""
        names = list(cls.model_fields)
        parts = text.split(":", max(len(names) - 1, 0)) if text else []
        return cls.model_validate(dict(zip(names, parts, strict=False)))


class CardPost(PostSubject, kind="card"):
    """The release card."""


class SectionPost(PostSubject, kind="section", in_thread=True):
    """A section of the checklist."""

    section: str


class StepsPost(PostSubject, kind="steps", in_thread=True):
    """The steps of a deploy or a rollback."""

    plan: PlanKind


class WatchPost(PostSubject, kind="watch", in_thread=True):
    """The watch."""


class AlarmPost(PostSubject, kind="alarm"):
    """An alarm of the watch."""

    alarm: int


class MitigationPost(PostSubject, kind="mitigation"):
    """A mitigation."""

    mitigation: int


class BreakGlassPost(PostSubject, kind="break_glass"):
    """A deploy past the gate."""


class CloseoutPost(PostSubject, kind="closeout", in_thread=True):
    """The close-out of a release."""


class RecordPost(PostSubject, kind="record"):
    """The head of the record when the release was closed."""

    row: int
    head: str


class ReminderPost(PostSubject, kind="reminder"):
    """A direct message to somebody who is waited for."""

    role: str  # or manager
    user: UserId
    round: int


class AbortedNotice(PostSubject, kind="notice", word="aborted", in_thread=True):
    """The release was aborted."""


class GaveWayNotice(PostSubject, kind="notice", word="gave_way", in_thread=True):
    """The release was aborted for the rollback of another one: in its thread, and once more for the channel."""

    version: str  # that is rolled back
    user: UserId
    place: Literal["", "channel"] = ""

    @property
    def belongs_in_thread(self) -> bool:
        """Whether this is the message of the thread."""
        return not self.place


class DoneNotice(PostSubject, kind="notice", word="done"):
    """The release is done."""


class RolledBackNotice(PostSubject, kind="notice", word="rolled_back"):
    """The release is rolled back."""


class FailedNotice(PostSubject, kind="notice", word="failed"):
    """A step failed."""

    step: int  # its row
    attempt: str  # tells one failure of it from another


class AttestNotice(PostSubject, kind="notice", word="attest"):
    """The plan waits for a person to do a step."""

    step: int  # its row


class WaitingNotice(PostSubject, kind="notice", word="waiting"):
    """The release waits for somebody."""

    since: int  # in seconds since 1970
    round: int


class FrozenNotice(PostSubject, kind="notice", word="frozen"):
    """Deploys are frozen."""

    second: int | None = None  # at which the freeze began, since 1970


class MitigationNotice(PostSubject, kind="notice", word="mitigation"):
    """A reminder of a mitigation."""

    mitigation: int
    round: int


class VoidedNotice(PostSubject, kind="notice", word="voided", in_thread=True):
    """A sign-off counts no more. The oldest of these messages know its id only, as the sign-off has left the view."""

    signoff: int
    role: str = ""
    user: UserId = UserId("")
    cause: str = ""


class MovedNotice(PostSubject, kind="notice", word="moved"):
    """The version means another commit or image."""

    second: int  # at which that was seen, since 1970


class SourceProblemNotice(PostSubject, kind="notice", word="unbound"):
    """The tag or the image of the version is gone, or there again."""


class PolicyNotice(PostSubject, kind="notice", word="policy"):
    """The release is judged by another policy."""


def read_subject(kind: str, subject: str) -> PostSubject:
    """The subject that the columns ``kind`` and ``subject`` of a post mean. Raises UnknownThing when they mean none."""
    word, _, rest = subject.partition(":") if kind == "notice" else ("", "", subject)
    try:
        return POSTS[kind, word].parse(rest)
    except (KeyError, ValueError) as error:
        raise UnknownThing(f"No message is called {kind} {subject}.") from error
