"""Policies: defaults, who may, and what is refused."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from bot.domain.gate import permits
from bot.domain.policy import Action, Policy, Role
from bot.domain.staffing import find_review_shortage, find_shortage
from bot.texts.staffing import shortage_text

RM, QA, PRODUCT = Role.RELEASE_MANAGER, Role.QA, Role.PRODUCT
WEEKEND = {"reason": "weekend", "timezone": "Europe/Berlin", "begins": "fri 14:00", "ends": "mon 07:00"}
YEAR_END = {"reason": "year end", "timezone": "Europe/Berlin", "begins": "2026-12-19 18:00", "ends": "2027-01-04 07:00"}
ALL_WEEK = [
    {"reason": "office", "begins": "mon 00:00", "ends": "sat 02:00"},
    {"reason": "weekend", "timezone": "Europe/Berlin", "begins": "sat 00:00", "ends": "mon 03:00"},
]


def test_the_default_policy_is_that_of_the_template() -> None:
    """By default the release manager must sign off, QA and Product may, and four eyes are required."""
    policy = Policy()
    assert (policy.required, policy.optional, policy.four_eyes) == ((RM,), (QA, PRODUCT), True)
    only_manager = {action for action in Action if policy.roles_for(action) == (RM,)}
    assert only_manager == {Action.START, Action.WAIVE, Action.FREEZE, Action.BREAK_GLASS}


def test_roles_that_are_not_required_are_optional() -> None:
    """Roles that are not required may sign off, unless the list of optional roles is given."""
    assert Policy.model_validate({"required": ["release_manager", "qa"]}).optional == (PRODUCT,)
    assert Policy(required=(QA,)).optional == (RM, PRODUCT)
    assert Policy.model_validate({"required": ["qa"], "optional": []}).roles == (QA,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"required": []}, "required names no role"),
        ({"required": ["qa"], "optional": ["qa"]}, "qa is both required and optional"),
        ({"permissions": {"deploy": []}}, "permissions.deploy names no role"),
        ({"required": ["boss"]}, "Input should be 'release_manager', 'qa' or 'product'"),
        ({"required": "qa"}, "Input should be a valid tuple"),
        ({"quorums": 2}, "Extra inputs are not permitted"),
        ({"required": ["qa", "qa"]}, "qa is named twice"),
        ({"quorum": {"qa": 2}}, "quorum.qa is for a role that isn't required"),
        ({"quorum": {"release_manager": 0}}, "greater than or equal to 1"),
        ({"min_approvers": 0}, "greater than or equal to 1"),
        ({"signoff_max_age": "0s"}, "greater than 0"),
        ({"remind_after": "7d"}, "nobody would be reminded"),
        ({"lines": {"go": {"attest": []}}}, "at least 1 item"),
        ({"freeze_windows": ALL_WEEK}, "leave no minute of the week free"),
        ({"freeze_windows": [{**WEEKEND, "timezone": "Europe/Atlantis"}]}, "'Europe/Atlantis' isn't a time zone"),
        ({"freeze_windows": [{**WEEKEND, "begins": "friday afternoon"}]}, 'write begins and ends both as "fri 14:00"'),
        ({"freeze_windows": [{**WEEKEND, "begins": "2026-12-19 18:00"}]}, 'write begins and ends both as "fri 14:00"'),
        ({"freeze_windows": [{**YEAR_END, "ends": "2026-12-01 00:00"}]}, "it ends before it starts"),
        ({"freeze_windows": [{**WEEKEND, "ends": "fri 14:00"}]}, "starts and ends at the same time"),
    ],
)
def test_an_invalid_policy_is_rejected(values: dict[str, object], message: str) -> None:
    """A policy under which nothing could be deployed, or with a misspelled key, is rejected."""
    with pytest.raises(ValidationError, match=message):
        Policy.model_validate(values)


def test_a_rollback_is_never_harder_than_a_deploy() -> None:
    """Whoever may deploy may also roll back, whatever the file says (promise P6)."""
    policy = Policy(permissions={Action.DEPLOY: (QA,), Action.ROLLBACK: (RM,)})
    assert policy.roles_for(Action.ROLLBACK) == (RM, QA)
    assert not permits(policy, Action.ROLLBACK, {PRODUCT})


def test_the_digest_depends_on_the_content_of_the_policy() -> None:
    """The digest is the same for the same rules, however they are written, and different for others."""
    policy = Policy(permissions={Action.DEPLOY: (QA,)})
    assert Policy.model_validate(policy.model_dump(mode="json")).digest == policy.digest
    assert Policy(four_eyes=False).digest != Policy().digest
    assert Policy(required=(RM,)).digest == Policy().digest


def at(text: str, **policy: object) -> tuple[str, datetime] | None:
    """The freeze of the calendar at a moment in UTC: its reason and its end, or None."""
    return Policy.model_validate(policy).active_freeze(datetime.fromisoformat(text).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        ("2026-11-27 12:59", None),  # Friday 13:59 in Berlin
        ("2026-11-27 13:00", "2026-11-30 06:00"),
        ("2026-11-29 23:59", "2026-11-30 06:00"),
        ("2026-11-30 05:59", "2026-11-30 06:00"),
        ("2026-11-30 06:00", None),
        ("2026-07-03 12:00", "2026-07-06 05:00"),  # an hour earlier in summer: the clock on the wall counts
        ("2026-03-28 12:00", "2026-03-30 05:00"),  # over the change of the clocks
        ("2026-10-24 12:00", "2026-10-26 06:00"),
    ],
)
def test_a_weekly_freeze_window(moment: str, until: str | None) -> None:
    """The window is from Friday 14:00 to Monday 07:00 in Berlin, in summer and in winter."""
    freeze = at(moment, freeze_windows=[WEEKEND])
    assert freeze == (until and ("weekend", datetime.fromisoformat(until).replace(tzinfo=UTC)))


@pytest.mark.parametrize(
    ("moment", "is_frozen"),
    [("2026-12-19 16:59", False), ("2026-12-19 17:00", True), ("2027-01-04 05:59", True), ("2027-01-04 06:00", False)],
)
def test_a_single_freeze_window(moment: str, is_frozen: bool) -> None:
    """A single window begins and ends at its exact minute."""
    assert (at(moment, freeze_windows=[YEAR_END]) is not None) == is_frozen


def test_of_several_freeze_windows_the_last_to_end_counts() -> None:
    """The freeze names the end after which deploys are possible again."""
    freeze = at("2026-12-19 18:00", freeze_windows=[WEEKEND, YEAR_END])
    assert freeze is not None
    assert freeze[0] == "year end"


def test_a_time_that_yaml_has_parsed_is_accepted() -> None:
    """A time with seconds, which YAML parses itself, is accepted."""
    window = {**YEAR_END, "begins": datetime(2026, 12, 19, 18, 0)}  # noqa: DTZ001  as YAML gives it
    assert Policy.model_validate({"freeze_windows": [window]}).freeze_windows[0].begins == "2026-12-19 18:00"


A, B, GROUP = "U0A", "U0B", "S0GROUP"


@pytest.mark.parametrize(
    ("policy", "holders", "message"),
    [
        ({}, {}, "Release Manager needs one person to sign off, but slack.roles names 0"),
        ({}, {RM: [A]}, "four_eyes needs two people"),
        ({}, {RM: [A], QA: [A]}, "four_eyes needs two people"),
        ({}, {RM: [A], QA: [B]}, ""),
        ({}, {RM: [A, B]}, ""),
        ({}, {RM: [GROUP]}, ""),
        ({"four_eyes": False}, {RM: [A]}, ""),
        ({"quorum": {"release_manager": 3}}, {RM: [A, B]}, "Release Manager needs 3"),
        ({"quorum": {"release_manager": 3}}, {RM: [A, GROUP]}, ""),
        (
            {"required": ["qa"], "permissions": {"start": ["product"]}},
            {QA: [A, B]},
            "nobody has a role that may start",
        ),
        ({"permissions": {"deploy": ["product"]}}, {RM: [A, B]}, "nobody has a role that may deploy"),
        (
            {"min_approvers": 3},
            {RM: [A], QA: [A, B]},
            "policy.min_approvers needs 3 different people, but slack.roles names 2",
        ),
        ({"min_approvers": 3}, {RM: [A], QA: [A, B], PRODUCT: ["U0C"]}, ""),
    ],
)
def test_a_policy_that_nobody_can_meet_is_reported(
    policy: dict[str, object], holders: dict[Role, list[str]], message: str
) -> None:
    """Too few people for the policy are reported before the first release; a user group is always enough."""
    shortage = find_shortage(Policy.model_validate(policy), holders)
    assert shortage_text(shortage).startswith(message) if shortage and message else (shortage is None and not message)


def test_the_policy_decides_who_may_waive_and_attest_a_check() -> None:
    """The rule of a check comes before that of its section, and without either the general rule counts."""
    policy = Policy.model_validate(
        {"lines": {"go": {"waive": []}, "go.backup": {"waive": ["qa"], "attest": ["qa"]}, "prep": {}}}
    )
    assert policy.roles_for(Action.WAIVE, "go.backup", "go") == (QA,)
    assert policy.roles_for(Action.WAIVE, "go.rls", "go") == ()
    assert policy.roles_for(Action.WAIVE, "prep.notes", "prep") == (RM,)
    assert policy.roles_for(Action.ATTEST, "go.backup", "go") == (QA,)
    assert policy.roles_for(Action.ATTEST, "go.rls", "go") == (RM, QA, PRODUCT)
    assert not permits(policy, Action.WAIVE, {RM, QA, PRODUCT}, "go.rls", "go")


@pytest.mark.parametrize(
    ("may", "holders", "message"),
    [
        ({}, {RM: [A]}, "a second person must review it, but nobody else may"),
        ({}, {RM: [A], QA: [A]}, "a second person must review it, but nobody else may"),
        ({}, {RM: [A], QA: [B]}, ""),
        ({}, {RM: [A, B]}, ""),
        ({}, {RM: [GROUP]}, ""),
        ({"review": ["release_manager"]}, {RM: [A], QA: [B]}, "a second person must review it, but nobody else may"),
        ({"review": ["qa"]}, {RM: [A], QA: [B]}, ""),
        ({"review": ["product"]}, {RM: [A, B]}, "a second person must review it, but nobody else may"),
        ({"break_glass": ["product"]}, {RM: [A], QA: [B]}, "it is allowed, but nobody has a role that may do it"),
    ],
)
def test_a_break_glass_that_nobody_can_review_is_reported(
    may: dict[str, list[str]], holders: dict[Role, list[str]], message: str
) -> None:
    """Too few people for the review are reported at the start, and only if break-glass is allowed."""
    shortage = find_review_shortage(
        Policy.model_validate({"permissions": may, "break_glass": {"allowed": True}}), holders
    )
    assert (shortage_text(shortage) if shortage else "") == message
    assert find_review_shortage(Policy.model_validate({"permissions": may}), holders) is None


@pytest.mark.parametrize("key", ["in_freeze", "never_waivable"])
def test_options_of_break_glass_need_break_glass_to_be_allowed(key: str) -> None:
    """An option of break-glass without allowed: true is an error."""
    with pytest.raises(ValidationError, match="needs allowed: true"):
        Policy.model_validate({"break_glass": {key: True}})


def test_break_glass_is_off_by_default() -> None:
    """Without configuration break-glass is not allowed."""
    assert Policy().break_glass.model_dump() == {"allowed": False, "in_freeze": False, "never_waivable": False}


def test_a_stored_policy_with_old_keys_is_the_same_policy() -> None:
    """A release keeps its policy as it was stored, and sign-offs stay valid when only the names of keys have changed."""
    stored = Policy.model_validate_json('{"required": ["qa"], "people": 2, "may": {"deploy": ["qa"]}}')
    assert stored.digest == Policy(required=(QA,), min_approvers=2, permissions={Action.DEPLOY: (QA,)}).digest
