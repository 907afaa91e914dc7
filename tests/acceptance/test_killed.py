"""kill -9 during the checks, the rollout and the watch: the release goes on, and nothing happens twice."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config

from tests.fix_demo import Demo, running_demo, until

RITA, QUINN = "Rita", "Quinn"


@pytest.fixture(scope="module")
def killed_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo in which a release was started, deployed and watched, and whose bot was killed in each of these phases."""
    with running_demo(tmp_path_factory.mktemp("killed") / "data", "--watch-minutes", "0.2") as demo:
        stage = demo.stage
        stage.command(RITA, "/release start v4.8.0")
        stage.wait("a running check", lambda: stage.message(contains="(running)"))
        demo.kill_bot()
        stage.until_card("10 of 10", seconds=90)
        stage.press(RITA, "signoff.approve", stage.card(), value="release_manager")
        stage.press(QUINN, "signoff.approve", stage.card(), value="qa")
        demo.order("command", user="U0RITA0001", text="/release deploy")
        until(lambda: _image(demo).endswith(_digest(demo)), "the rollout to be under way")
        demo.kill_bot()
        stage.until_card("WATCHING", seconds=90)
        until(lambda: demo.rows("SELECT polls FROM watches")[0]["polls"] > 0, "a poll of the watch")
        demo.kill_bot()
        stage.until_card("DONE", seconds=60)
        yield demo


def _deployment(demo: Demo) -> Any:
    config.load_kube_config(demo.facts["kubeconfig"])
    return client.AppsV1Api().read_namespaced_deployment("api", demo.facts["production"]["namespace"])


def _image(demo: Demo) -> str:
    return str(_deployment(demo).spec.template.spec.containers[0].image)


def _digest(demo: Demo) -> str:
    return str(demo.rows("SELECT digest FROM releases ORDER BY id DESC LIMIT 1")[0]["digest"])


def test_the_release_reaches_its_end(killed_demo: Demo) -> None:
    """The release reaches DONE although the bot was killed three times."""
    assert [row["state"] for row in killed_demo.rows("SELECT state FROM releases")] == ["DONE"]


def test_the_release_is_deployed_once(killed_demo: Demo) -> None:
    """The Deployment has exactly one new revision, whose image is the release's by digest."""
    assert _deployment(killed_demo).metadata.annotations["deployment.kubernetes.io/revision"] == "2"
    assert _image(killed_demo).endswith(_digest(killed_demo))


def _posts_in_channel(demo: Demo) -> Counter[int]:
    """How often each message of the bot is in the channel, by the id of its post."""
    return Counter(
        message["metadata"]["event_payload"]["post"]
        for message in demo.stage.messages()
        if (message.get("metadata") or {}).get("event_type") == "release_bot_post"
    )


def test_no_message_is_posted_twice(killed_demo: Demo) -> None:
    """Every message that the bot had to post is in the channel exactly once."""
    ids = {row["id"] for row in killed_demo.rows("SELECT id FROM posts")}

    until(lambda: ids <= _posts_in_channel(killed_demo).keys(), "every message to be in the channel")
    assert dict.fromkeys(ids, 1) == dict(_posts_in_channel(killed_demo))


def test_everything_that_checks_changed_in_staging_is_restored(killed_demo: Demo) -> None:
    """What the checks had changed in staging when the bot was killed is restored."""
    until(
        lambda: killed_demo.rows("SELECT count(*) AS n FROM undos WHERE settled_at IS NULL")[0]["n"] == 0,
        "all debts to be paid",
    )


def test_the_audit_record_is_unbroken_and_has_one_deploy(killed_demo: Demo) -> None:
    """The chain of the audit record has no break, and it contains one deploy."""
    events = [row["event"] for row in killed_demo.rows("SELECT event FROM audit ORDER BY seq")]

    assert (events.count("deploy.started"), events.count("deploy.complete"), events.count("release.done")) == (1, 1, 1)


def test_buttons_of_messages_from_before_the_kills_still_work(killed_demo: Demo) -> None:
    """A click on a button that was posted before the kills is answered by the bot that was started last."""
    before = killed_demo.control("calls")["counts"].get("views.open", 0)
    section = killed_demo.stage.message(contains="Go/No-Go Decision")
    assert section is not None
    details = next(
        element
        for block in section["blocks"]
        for element in block.get("elements", [])
        if element.get("action_id") == "check.details"
    )

    killed_demo.order("click", user="U0QUINN001", ts=section["ts"], action_id="check.details", value=details["value"])

    until(lambda: killed_demo.control("calls")["counts"].get("views.open", 0) > before, "the details to open")
