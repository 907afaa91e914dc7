"""The people, policies and checks of the sequences, and how the bot says what the specification says."""

from datetime import UTC, datetime, timedelta
from functools import cache

from bot.domain.checklist import Checklist, Section
from bot.domain.ids import UserId
from bot.domain.policy import Policy, Role
from tests.fix_bot import checklist
from tests.fix_tags import COMMIT, DIGEST, OTHER_COMMIT, OTHER_DIGEST
from tests.property.specification import Facts, Rules
from tests.unit.factories import PAT, QUINN, RITA, make_check

MAX, EVE = UserId("U0MAX00001"), UserId("U0EVE00001")
ROLES: dict[str, frozenset[str]] = {
    RITA: frozenset({"release_manager"}),
    QUINN: frozenset({"qa"}),
    PAT: frozenset({"product"}),
    MAX: frozenset({"release_manager", "qa"}),
    EVE: frozenset(),
}
PEOPLE = (RITA, QUINN, PAT, MAX, EVE)
COMMITS, IMAGES = (COMMIT, OTHER_COMMIT), (DIGEST, OTHER_DIGEST)
MONDAY = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)

GATE = {"go.one": True, "go.two": False, "go.person": True}  # check -> whether the checklist lets it be waived
BOT_CHECKS = ("go.one", "go.two")  # the bot asks; the third a person answers

RULES = (
    Rules({"release_manager": 1}, ("qa", "product")),
    Rules(
        {"qa": 2}, ("release_manager",), approval_lasts=timedelta(hours=2), weekend=True, waivers={"go.one": ("qa",)}
    ),
    Rules({"qa": 1, "product": 1}, (), people=2, four_eyes=False, deployers=("product",), waivers={"go.one": ()}),
    Rules({"release_manager": 1}, ("qa",), people=3, waivers={"go.person": ("product",)}, glass=True),
    Rules({"release_manager": 1}, ("qa",), weekend=True, glass=True, glass_in_freeze=True, glass_for_all=True),
)


@cache
def policy_of(rules: Rules) -> Policy:
    """The rules as the policy of a release-bot.yml."""
    weekend = {"reason": "not at a weekend", "begins": "fri 14:00", "ends": "mon 07:00"}
    return Policy.model_validate(
        {
            "required": list(rules.required),
            "optional": list(rules.optional),
            "quorum": dict(rules.required),
            "min_approvers": rules.people,
            "four_eyes": rules.four_eyes,
            "signoff_max_age": f"{rules.approval_lasts.total_seconds() / 3600:.0f}h",
            "lines": {check: {"waive": list(roles)} for check, roles in rules.waivers.items()},
            "break_glass": {
                "allowed": rules.glass,
                "in_freeze": rules.glass_in_freeze,
                "never_waivable": rules.glass_for_all,
            },
            "permissions": {"deploy": list(rules.deployers)},
            "freeze_windows": [weekend] if rules.weekend else [],
        }
    )


@cache
def lines() -> Checklist:
    """Two checks of the bot and one for a person in a section that blocks; all three decide, and the plans change
    nothing.
    """
    checks = [make_check(check, kind="ask", waivable=GATE[check]) for check in BOT_CHECKS]
    gate = Section(id="go", title="Go/No-Go", gate=True, checks=tuple(checks))
    by_hand = Section(id="prep", title="By hand", blocks=True, checks=(make_check("go.person", kind="attest"),))
    step = {"title": "Look", "action": {"do": "check", "kind": "ask"}}
    mode = {"title": "If bills are wrong", "action": {"do": "set_variable", "name": "MODE", "value": "off"}}
    return checklist(
        sections=(gate, by_hand),
        deploy=({"id": "deploy.look", **step},),
        rollback=({"id": "rollback.look", **step}, {"id": "rollback.mode", **mode}),
    )


def roles_of(facts: Facts, who: str) -> frozenset[Role]:
    """The roles that a person has at this moment."""
    return frozenset(Role(name) for name in facts.roles[who])
