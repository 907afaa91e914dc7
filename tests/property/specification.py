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
        """The roles that sign off."""
        return (*self.required, *self.optional)


@dataclass(frozen=True)
class Subject:
    """Exactly what somebody says yes to."""

    commit: str
    image: str
    rules: Rules
    waivers: frozenset[tuple[str, str]]  # check, and who waived it


@dataclass(frozen=True)
class Answer:
    """A yes or no that nobody has withdrawn."""

    role: str
    by: str
    yes: bool
    of: Subject
    at: datetime


@dataclass(frozen=True)
class CheckRun:
    """The result of one run of a check."""

    has_passed: bool
    start: datetime
    end: datetime


@dataclass
class Facts:
    """What has happened so far to one release and its environment."""

    now: datetime
    rules: Rules
    roles: dict[str, frozenset[str]]  # as Slack says at this moment
    gate: Mapping[str, bool]  # check that decides -> whether the checklist lets it be waived
    manager: str = ""
    state: str = "NONE"
    start: datetime = LONG_AGO
    commit: str = ""  # what the bot says that the version means
    image: str = ""
    since: datetime = LONG_AGO  # since when it says so: what was found before is about something else
    true_commit: str = ""  # what it does mean
    true_image: str = ""
    is_gone: bool = False  # the tag or the image cannot be found
    away: bool = False  # nobody can say what the version means
    runs: dict[str, CheckRun] = field(default_factory=dict)
    under_way: set[str] = field(default_factory=set)  # checks that run or wait to run
    waived_by: dict[str, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    frozen_until: datetime | None = None
    freezes: int = 0  # how often somebody has stopped the line
    let_past: str = ""  # the stop of the line that its deploy went past, in need
    mitigations: list[int] = field(default_factory=list)  # temporary changes that are still in force
    taken_back: dict[str, bool] = field(default_factory=dict)  # image -> whether its last deploy was rolled back
    was_taken_back: bool = False  # of this image before this deploy: one that changed nothing says nothing of it
    below: list[str] = field(default_factory=list)  # images of earlier releases that stand, the newest last
    again: str = ""  # the image that a reason was given for to release it once more

    @property
    def subject(self) -> Subject:
        """What would be signed off now."""
        return Subject(self.commit, self.image, self.rules, frozenset(self.waived_by.items()))

    @property
    def stop(self) -> str:
        """The stop of the line that is in force: one that somebody called, else that of this weekend, or ""."""
        if self.frozen_until is not None and self.now < self.frozen_until:
            return f"the {self.freezes}th"
        day, hour = self.now.weekday(), self.now.hour
        weekend = day in {5, 6} or (day == 4 and hour >= 14) or (day == 0 and hour < 7)
        monday = (self.now + timedelta(days=-day % 7)).date()
        return f"until {monday}" if self.rules.weekend and weekend else ""

    @property
    def is_frozen(self) -> bool:
        """Whether the line is stopped."""
        return bool(self.stop)

    @property
    def running(self) -> str:
        """The image that production would run without this release, or "" if nobody knows."""
        return ["", *self.below][-1]

    def is_bad(self, image: str) -> bool:
        """Whether the image was rolled back when it was last deployed, and production was not taken back to it."""
        return self.taken_back.get(image, False) and image != self.running

    def has_role(self, who: str, *roles: str) -> bool:
        """Whether the person has one of these roles."""
        return not self.roles[who].isdisjoint(roles)

    def approvals(self) -> list[Answer]:
        """The yeses that count: to exactly this release, and not too old."""
        lasts, subject = self.rules.approval_lasts, self.subject
        return [a for a in self.signing_answers() if a.yes and a.of == subject and self.now - a.at <= lasts]

    def signing_answers(self) -> list[Answer]:
        """The answers in roles that sign off."""
        return [answer for answer in self.answers if answer.role in self.rules.signers]

    def has_passed(self, check: str) -> bool:
        """Whether the check counts as passed."""
        run = self.runs.get(check)
        return run is not None and run.has_passed and run.start >= self.since and self.now - run.end <= CHECK_LASTS


def against_deploy(facts: Facts, who: str) -> set[str]:
    """Everything that speaks against a deploy by ``who``; the deploy is possible exactly if there is nothing."""
    return {*_against_the_release(facts), *_against_the_answers(facts), *_against_the_people(facts, who)}


def against_break_glass(facts: Facts, who: str) -> set[str]:
    """What speaks even against break-glass: a no, something unknown, open mitigations and bad images, but no missing
    people.
    """
    overridable = {"signoff_missing", "signoff_void", "people", "four_eyes"} if facts.rules.glass else set()
    if facts.rules.glass and facts.rules.glass_in_freeze:
        overridable.add("freeze")
    against = against_deploy(facts, who) - {"role", "check"} - overridable
    let_go = {
        check for check in facts.gate if facts.rules.glass and (facts.rules.glass_for_all or waivers(facts, check))
    }
    if any(not good_enough(facts, check) for check in facts.gate if check not in let_go):
        against.add("check")
    return against | (set() if facts.has_role(who, "release_manager") else {"role"})


def may_break_glass(facts: Facts, who: str, *, review_is_due: bool) -> bool:
    """Break-glass needs a reason to override, a source that people could see for a while, and no open review."""
    reasons = against_deploy(facts, who) - {"role"}
    is_visible = facts.since == facts.start or facts.now - facts.since >= UNSEEN
    return (
        facts.rules.glass and not against_break_glass(facts, who) and bool(reasons) and is_visible and not review_is_due
    )


def may_review(facts: Facts, who: str, breaker: str, *, over: bool) -> bool:
    """Anybody with a role may review, except the person who used break-glass, once the release is over."""
    return over and who != breaker and facts.has_role(who, *ROLES)


def good_enough(facts: Facts, check: str) -> bool:
    """Whether the check lets the deploy go on."""
    let = facts.has_passed(check) or (check in facts.waived_by and bool(waivers(facts, check)))
    return let and check not in facts.under_way


def _against_the_release(facts: Facts) -> Iterator[str]:
    if facts.state != "OPEN":
        yield "state"
    if facts.is_gone or facts.away or (facts.commit, facts.image) != (facts.true_commit, facts.true_image):
        yield "source"
    if facts.is_frozen:
        yield "freeze"
    if facts.mitigations:
        yield "mitigation"
    for check in facts.gate:
        if not good_enough(facts, check):
            yield "check"


def _against_the_answers(facts: Facts) -> Iterator[str]:
    for answer in facts.signing_answers():
        if not answer.yes:
            yield "signoff_declined"
        elif answer.of != facts.subject:
            yield "signoff_void"
    approvals = facts.approvals()
    for role, quorum in facts.rules.required.items():
        if len({answer.by for answer in approvals if answer.role == role}) < quorum:
            yield "signoff_missing"


def _against_the_people(facts: Facts, who: str) -> Iterator[str]:
    people = {answer.by for answer in facts.approvals()}
    if not facts.has_role(who, *facts.rules.deployers):
        yield "role"
    if len(people) < facts.rules.people:
        yield "people"
    if facts.rules.four_eyes and people == {who}:
        yield "four_eyes"
    if facts.is_bad(facts.image) and (facts.again != facts.image or not people - {facts.manager}):
        yield "known_bad"


def waivers(facts: Facts, check: str) -> tuple[str, ...]:
    """The roles that may waive a check."""
    return facts.rules.waivers.get(check, ("release_manager",)) if facts.gate[check] else ()


def is_closed(facts: Facts, open_mitigations: int) -> bool:
    """A release is closed once nothing is under way and none of its mitigations is in force."""
    return facts.state in {"DONE", "ROLLED_BACK", "ABORTED"} and open_mitigations == 0


def may_sign(facts: Facts, who: str, role: str, *, yes: bool) -> bool:
    """People sign in a role that they have and that signs, but nobody says yes over the no of another in the role."""
    over = yes and any(a.role == role and not a.yes and a.by != who for a in facts.answers)
    return facts.state == "OPEN" and role in facts.rules.signers and facts.has_role(who, role) and not over


def may_waive(facts: Facts, who: str, check: str) -> bool:
    """A check that may be waived is waived by those who may."""
    return facts.state == "OPEN" and facts.has_role(who, *waivers(facts, check))


def may_start(facts: Facts, who: str, image: str, *, reason: bool) -> bool:
    """The release manager starts a release; an image that was rolled back, or runs already, needs a reason."""
    return facts.has_role(who, "release_manager") and (reason or not (facts.is_bad(image) or image == facts.running))


def may_retry(facts: Facts, who: str) -> bool:
    """A failed deploy is retried outside of a freeze, or in the one that was overridden; a failed rollback always."""
    if facts.state == "DEPLOY_FAILED":
        return facts.has_role(who, *ROLES) and facts.stop in {"", facts.let_past}
    return facts.state == "ROLLBACK_FAILED" and facts.has_role(who, *ROLES)


def may_roll_back(facts: Facts, who: str) -> bool:
    """A rollback is never harder than a deploy: it is possible in a freeze and with failed checks, from the first
    change on.
    """
    states_with_changes = {"DEPLOYING", "DEPLOY_FAILED", "WATCHING", "DONE", "ROLLBACK_FAILED"}
    return facts.state in states_with_changes and facts.has_role(who, *ROLES)


def may_run(facts: Facts, who: str) -> bool:
    """Anybody with a role may run a check or stop it."""
    return facts.state == "OPEN" and facts.has_role(who, *ROLES)


def may_attest(facts: Facts, who: str) -> bool:
    """Anybody with a role may attest what they have seen."""
    return facts.state == "OPEN" and facts.has_role(who, *ROLES)


def may_end(facts: Facts, who: str) -> bool:
    """Anybody with a role may abort a release that has changed nothing yet; here no step changes anything."""
    return facts.state in {"OPEN", "DEPLOY_FAILED"} and facts.has_role(who, *ROLES)


def may_freeze(facts: Facts, who: str) -> bool:
    """The release manager freezes and unfreezes deploys."""
    return facts.has_role(who, "release_manager")


def may_mitigate(facts: Facts, who: str) -> bool:
    """Whoever may roll back may set a mitigation once a rollback has begun."""
    rollback_states = {"ROLLING_BACK", "ROLLBACK_FAILED", "ROLLED_BACK"}
    return facts.state in rollback_states and facts.has_role(who, *ROLES)


def may_resolve(facts: Facts, who: str) -> bool:
    """Whoever may roll back may lift a mitigation."""
    return facts.has_role(who, *ROLES)
