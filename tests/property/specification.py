"""The policy, written a second time: what may be done, from nothing but what has happened. Imports nothing of the bot.

Who reads this reads the rules of the product. Where the bot and this page disagree, one of them is wrong, and a sequence says which.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
CHECK_LASTS = timedelta(hours=4)  # an older PASS says nothing of now
UNSEEN = timedelta(minutes=2)  # so long people get to see that something else would be deployed
WAITS_FOR = timedelta(days=7)  # then a release that nobody deployed ends by itself
ROLES = ("release_manager", "qa", "product")


@dataclass(frozen=True, eq=False)
class Rules:
    """A policy, in the words of the people that it is for."""

    required: Mapping[str, int]  # role -> how many of its people must say yes
    optional: tuple[str, ...]
    people: int = 1  # different people that must say yes, whatever their roles
    four_eyes: bool = True
    approval_lasts: timedelta = timedelta(hours=24)
    deployers: tuple[str, ...] = ROLES
    weekend: bool = False  # nothing is deployed from Friday 14:00 to Monday 07:00 UTC
    glass: bool = False  # whether a deploy may go past what is missing, in need
    glass_in_freeze: bool = False
    glass_for_all: bool = False  # past checks that nobody may waive too
    waivers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # check -> roles; else the release manager

    @property
    def signers(self) -> tuple[str, ...]:
        """The roles that sign."""
        return (*self.required, *self.optional)


@dataclass(frozen=True)
class Subject:
    """What somebody says yes to: exactly this."""

    commit: str
    image: str
    rules: Rules
    waived: frozenset[tuple[str, str]]  # check, and who waived it


@dataclass(frozen=True)
class Answer:
    """A yes or no that nobody has taken back."""

    role: str
    by: str
    yes: bool
    of: Subject
    at: datetime


@dataclass(frozen=True)
class Found:
    """What a run of a check found out."""

    passed: bool
    began: datetime
    ended: datetime


@dataclass
class Facts:
    """What has happened so far to one release and to the environment that it is for."""

    now: datetime
    rules: Rules
    roles: dict[str, frozenset[str]]  # as Slack says at this moment
    gate: Mapping[str, bool]  # check that decides -> whether the checklist lets it be waived
    manager: str = ""
    state: str = "NONE"
    started: datetime = LONG_AGO
    commit: str = ""  # what the bot says that the version means
    image: str = ""
    since: datetime = LONG_AGO  # since when it says so: what was found before is about something else
    true_commit: str = ""  # what it does mean
    true_image: str = ""
    gone: bool = False  # the tag or the image cannot be found
    away: bool = False  # nobody can say what the version means
    found: dict[str, Found] = field(default_factory=dict)
    under_way: set[str] = field(default_factory=set)  # checks that run or wait to run
    waived: dict[str, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    frozen_until: datetime | None = None
    freezes: int = 0  # how often somebody has stopped the line
    let_past: str = ""  # the stop of the line that its deploy went past, in need
    debts: list[int] = field(default_factory=list)  # temporary changes that are still in force
    taken_back: dict[str, bool] = field(default_factory=dict)  # image -> whether its last deploy was rolled back
    was_taken_back: bool = False  # of this image before this deploy: one that changed nothing says nothing of it
    below: list[str] = field(default_factory=list)  # images of earlier releases that stand, the newest last
    again: str = ""  # the image that a reason was given for to release it once more

    @property
    def subject(self) -> Subject:
        """What is signed now."""
        return Subject(self.commit, self.image, self.rules, frozenset(self.waived.items()))

    @property
    def stop(self) -> str:
        """Which stop of the line holds: the one that somebody has called, else that of this weekend; empty: none."""
        if self.frozen_until is not None and self.now < self.frozen_until:
            return f"the {self.freezes}th"
        day, hour = self.now.weekday(), self.now.hour
        weekend = day in {5, 6} or (day == 4 and hour >= 14) or (day == 0 and hour < 7)
        monday = (self.now + timedelta(days=-day % 7)).date()
        return f"until {monday}" if self.rules.weekend and weekend else ""

    @property
    def frozen(self) -> bool:
        """Whether the line is stopped."""
        return bool(self.stop)

    @property
    def running(self) -> str:
        """The image that production runs but for this release; empty: nobody knows."""
        return ["", *self.below][-1]

    def bad(self, image: str) -> bool:
        """Whether it was rolled back when it was last deployed, and is not what production was taken back to."""
        return self.taken_back.get(image, False) and image != self.running

    def holds(self, who: str, *roles: str) -> bool:
        """Whether somebody has one of these roles."""
        return not self.roles[who].isdisjoint(roles)

    def approvals(self) -> list[Answer]:
        """The yeses that count: to exactly this, and not too old."""
        lasts, subject = self.rules.approval_lasts, self.subject
        return [a for a in self.heard() if a.yes and a.of == subject and self.now - a.at <= lasts]

    def heard(self) -> list[Answer]:
        """The answers in roles that sign."""
        return [answer for answer in self.answers if answer.role in self.rules.signers]

    def passed(self, check: str) -> bool:
        """Whether a check counts as passed."""
        found = self.found.get(check)
        return (
            found is not None and found.passed and found.began >= self.since and self.now - found.ended <= CHECK_LASTS
        )


def against_deploy(facts: Facts, who: str) -> set[str]:
    """Everything that speaks against a deploy by ``who``. Nothing: it must go; anything: it must not."""
    return {*_against_the_release(facts), *_against_the_answers(facts), *_against_the_people(facts, who)}


def against_break_glass(facts: Facts, who: str) -> set[str]:
    """What still speaks against it in need: a no, what nobody knows, what is to be put back, what was bad. Never who is missing."""
    missing = {"signoff_missing", "signoff_void", "people", "four_eyes"} if facts.rules.glass else set()
    if facts.rules.glass and facts.rules.glass_in_freeze:
        missing.add("freeze")
    against = against_deploy(facts, who) - {"role", "check"} - missing
    let_go = {
        check for check in facts.gate if facts.rules.glass and (facts.rules.glass_for_all or waivers(facts, check))
    }
    if any(not good_enough(facts, check) for check in facts.gate if check not in let_go):
        against.add("check")
    return against | (set() if facts.holds(who, "release_manager") else {"role"})


def may_break_glass(facts: Facts, who: str, *, owed: bool) -> bool:
    """In need, past what is missing, if anything is; not what was moved so late that nobody saw it, nor while a review is owed."""
    missing = against_deploy(facts, who) - {"role"}
    seen = facts.since == facts.started or facts.now - facts.since >= UNSEEN
    return facts.rules.glass and not against_break_glass(facts, who) and bool(missing) and seen and not owed


def may_review(facts: Facts, who: str, breaker: str, *, over: bool) -> bool:
    """Anybody with a role but the one who broke the glass, once the release is over."""
    return over and who != breaker and facts.holds(who, *ROLES)


def good_enough(facts: Facts, check: str) -> bool:
    """Whether a check holds nothing up."""
    let = facts.passed(check) or (check in facts.waived and bool(waivers(facts, check)))
    return let and check not in facts.under_way


def _against_the_release(facts: Facts) -> Iterator[str]:
    if facts.state != "OPEN":
        yield "state"
    if facts.gone or facts.away or (facts.commit, facts.image) != (facts.true_commit, facts.true_image):
        yield "source"
    if facts.frozen:
        yield "freeze"
    if facts.debts:
        yield "mitigation"
    for check in facts.gate:
        if not good_enough(facts, check):
            yield "check"


def _against_the_answers(facts: Facts) -> Iterator[str]:
    for answer in facts.heard():
        if not answer.yes:
            yield "signoff_declined"
        elif answer.of != facts.subject:
            yield "signoff_void"
    approvals = facts.approvals()
    for role, needed in facts.rules.required.items():
        if len({answer.by for answer in approvals if answer.role == role}) < needed:
            yield "signoff_missing"


def _against_the_people(facts: Facts, who: str) -> Iterator[str]:
    people = {answer.by for answer in facts.approvals()}
    if not facts.holds(who, *facts.rules.deployers):
        yield "role"
    if len(people) < facts.rules.people:
        yield "people"
    if facts.rules.four_eyes and people == {who}:
        yield "four_eyes"
    if facts.bad(facts.image) and (facts.again != facts.image or not people - {facts.manager}):
        yield "known_bad"


def waivers(facts: Facts, check: str) -> tuple[str, ...]:
    """The roles that may waive a check."""
    return facts.rules.waivers.get(check, ("release_manager",)) if facts.gate[check] else ()


def is_closed(facts: Facts, debts_of_it: int) -> bool:
    """A release is over once nothing is under way and nothing of it is in force that has to be put back."""
    return facts.state in {"DONE", "ROLLED_BACK", "ABORTED"} and debts_of_it == 0


def may_sign(facts: Facts, who: str, role: str, *, yes: bool) -> bool:
    """In a role that one has and that signs; and nobody says yes over the no of somebody else in that role."""
    over = yes and any(a.role == role and not a.yes and a.by != who for a in facts.answers)
    return facts.state == "OPEN" and role in facts.rules.signers and facts.holds(who, role) and not over


def may_waive(facts: Facts, who: str, check: str) -> bool:
    """What may be waived at all, by those who may."""
    return facts.state == "OPEN" and facts.holds(who, *waivers(facts, check))


def may_start(facts: Facts, who: str, image: str, *, reason: bool) -> bool:
    """One at a time; an image that was rolled back, or runs already, needs a reason."""
    return facts.holds(who, "release_manager") and (reason or not (facts.bad(image) or image == facts.running))


def may_retry(facts: Facts, who: str) -> bool:
    """A failed deploy goes on, but not in a freeze, other than the one that it was let past; a failed rollback in a freeze too."""
    if facts.state == "DEPLOY_FAILED":
        return facts.holds(who, *ROLES) and facts.stop in {"", facts.let_past}
    return facts.state == "ROLLBACK_FAILED" and facts.holds(who, *ROLES)


def may_roll_back(facts: Facts, who: str) -> bool:
    """Never harder than a deploy: in a freeze, whatever the checks say, from the first change on."""
    changed = {"DEPLOYING", "DEPLOY_FAILED", "WATCHING", "DONE", "ROLLBACK_FAILED"}
    return facts.state in changed and facts.holds(who, *ROLES)


def may_run(facts: Facts, who: str) -> bool:
    """Anybody with a role may have a check run, or stop it."""
    return facts.state == "OPEN" and facts.holds(who, *ROLES)


def may_attest(facts: Facts, who: str) -> bool:
    """Anybody with a role may say what they have seen."""
    return facts.state == "OPEN" and facts.holds(who, *ROLES)


def may_end(facts: Facts, who: str) -> bool:
    """Anybody with a role may end a release that has changed nothing yet: of a deploy that failed no step here changes anything."""
    return facts.state in {"OPEN", "DEPLOY_FAILED"} and facts.holds(who, *ROLES)


def may_freeze(facts: Facts, who: str) -> bool:
    """The release manager stops the line and frees it."""
    return facts.holds(who, "release_manager")


def may_mitigate(facts: Facts, who: str) -> bool:
    """Whoever may roll back may change something for a while, once a rollback has begun."""
    begun = {"ROLLING_BACK", "ROLLBACK_FAILED", "ROLLED_BACK"}
    return facts.state in begun and facts.holds(who, *ROLES)


def may_resolve(facts: Facts, who: str) -> bool:
    """Whoever may roll back may have a temporary change put back."""
    return facts.holds(who, *ROLES)
