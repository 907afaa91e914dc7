"""What differs between two pod templates, named, never with a value; and what to do about a rollout that failed."""

from typing import Any

import pytest

from bot.steps.rollout import HASH_LABEL, advice, differences


def template(**container: Any) -> dict[str, Any]:
    """A pod template whose container has ``container`` on top of its name, image and variable."""
    main = {"name": "main", "image": "app:1", "env": [{"name": "MODE", "value": "a"}], **container}
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [main], "volumes": []}}


OTHER = [{"name": "MODE", "value": "a"}, {"name": "VERSION", "value": "1"}, {"name": "TOKEN", "value": "s3cret"}]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (template(), []),
        (template(image="app:2", env=OTHER[:2]), []),
        (template(env=OTHER), ["spec.containers[main].env[TOKEN]"]),
        (template(env=[]), ["spec.containers[main].env"]),
        (template(env=[{"name": "MODE", "value": "s3cret"}]), ["spec.containers[main].env[MODE].value"]),
        (template(args=["s3cret"]), ["spec.containers[main].args"]),
        ({**template(), "metadata": {"labels": {"app": "web", HASH_LABEL: "1"}}}, []),
        ({**template(), "metadata": {"labels": {"app": "other"}}}, ["metadata.labels.app"]),
        ({**template(), "spec": {"containers": template()["spec"]["containers"]}}, ["spec.volumes"]),
    ],
)
def test_differences_are_named_without_values(now: dict[str, Any], expected: list[str]) -> None:
    """The paths that differ are named, except image and version, which the deploy sets, and the controller's hash."""
    assert differences(template(), now, "main", "VERSION") == expected


def test_the_advice_after_a_failed_rollout_says_who_serves() -> None:
    """The advice says whether the old pods still serve or were stopped first."""
    assert advice({"spec": {"strategy": {"type": "RollingUpdate"}}}).startswith("The old pods still run. Check")
    assert advice({"spec": {"strategy": {"type": "Recreate"}}}).startswith("The old pods were stopped first. Check")
