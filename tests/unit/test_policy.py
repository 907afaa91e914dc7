"""Policies: defaults, who may, and what is refused."""

import pytest
from pydantic import ValidationError

from bot.domain.gate import permits
from bot.domain.policy import Action, Policy, Role

RM, QA, PRODUCT = Role.RELEASE_MANAGER, Role.QA, Role.PRODUCT


def test_defaults() -> None:
    """The template's: the release manager must sign, QA and Product may; four eyes."""
    policy = Policy()
    assert (policy.required, policy.optional, policy.four_eyes) == ((RM,), (QA, PRODUCT), True)
    only_manager = {action for action in Action if policy.allowed(action) == (RM,)}
    assert only_manager == {Action.START, Action.WAIVE, Action.FREEZE}


def test_the_rest_may_sign() -> None:
    """Whoever names the required roles only leaves the others optional; an empty list means nobody else."""
    assert Policy.model_validate({"required": ["release_manager", "qa"]}).optional == (PRODUCT,)
    assert Policy(required=(QA,)).optional == (RM, PRODUCT)
    assert Policy.model_validate({"required": ["qa"], "optional": []}).roles == (QA,)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"required": []}, "required names no role"),
        ({"required": ["qa"], "optional": ["qa"]}, "qa is both required and optional"),
        ({"may": {"deploy": []}}, "may.deploy names no role"),
        ({"required": ["boss"]}, "Input should be 'release_manager', 'qa' or 'product'"),
        ({"required": "qa"}, "Input should be a valid tuple"),
        ({"quorum": 2}, "Extra inputs are not permitted"),
    ],
)
def test_refused(values: dict[str, object], said: str) -> None:
    """A policy under which nothing could go, or with a typo."""
    with pytest.raises(ValidationError, match=said):
        Policy.model_validate(values)


def test_a_rollback_is_never_harder_than_a_deploy() -> None:
    """Whoever may deploy may roll back, whatever the file says (promise P6)."""
    policy = Policy(may={Action.DEPLOY: (QA,), Action.ROLLBACK: (RM,)})
    assert policy.allowed(Action.ROLLBACK) == (RM, QA)
    assert not permits(policy, Action.ROLLBACK, {PRODUCT})


def test_digest() -> None:
    """Of all that it says, not of how it was written; read back it is the same."""
    policy = Policy(may={Action.DEPLOY: (QA,)})
    assert Policy.model_validate(policy.model_dump(mode="json")).digest == policy.digest
    assert Policy(four_eyes=False).digest != Policy().digest
    assert Policy(required=(RM,)).digest == Policy().digest
