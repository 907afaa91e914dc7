"""What differs between two pod templates, named, never with a value; and what to do about a rollout that failed."""

from typing import Any

import pytest

from bot.steps.rollout import HASH_LABEL, advice, differences


def template(**container: Any) -> dict[str, Any]:
    """A pod template whose container has more than its name and image."""
    main = {"name": "main", "image": "app:1", "env": [{"name": "MODE", "value": "a"}], **container}
    return {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [main], "volumes": []}}


OTHER = [{"name": "MODE", "value": "a"}, {"name": "VERSION", "value": "1"}, {"name": "TOKEN", "value": "s3cret"}]


@pytest.mark.parametrize(
    ("now", "found"),
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
def test_differences(now: dict[str, Any], found: list[str]) -> None:
    """By the names of what is unlike; the image and the version are the deploy's own, the hash the controller's."""
    assert differences(template(), now, "main", "VERSION") == found


def test_who_serves_after_a_rollout_that_failed() -> None:
    """Nobody is calmed down by pods that were stopped first."""
    assert advice({"spec": {"strategy": {"type": "RollingUpdate"}}}).startswith("The old pods still serve. Look at")
    assert advice({"spec": {"strategy": {"type": "Recreate"}}}).startswith("The old pods were stopped first. Look at")
