"""Modals, trigger ids and response URLs, with a real Bolt app on the other side."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slack_bolt import App
from slack_sdk.webhook import WebhookClient

from tests.sandbox.slack_world import (
    CLIENT_LEAKS_SOCKETS,
    GUS,
    QUINN,
    RELEASES,
    RITA,
    SlackWorld,
    eventually,
    note_and_ack,
    refusal,
)

pytestmark = CLIENT_LEAKS_SOCKETS
Json = dict[str, Any]
MENU = {
    "type": "actions",
    "elements": [
        {"type": "button", "action_id": "go", "text": {"type": "plain_text", "text": "Go"}},
    ],
}


def text(value: str) -> Json:
    """A plain_text object."""
    return {"type": "plain_text", "text": value}


def modal(**more: Any) -> Json:
    """A modal with one input."""
    element = {"type": "plain_text_input", "action_id": "reason", "min_length": 3, "max_length": 10}
    return {
        "type": "modal",
        "callback_id": "waive",
        "title": text("Waive"),
        "submit": text("Send"),
        "private_metadata": "r1",
        "blocks": [
            {"type": "input", "block_id": "reason", "label": text("Reason"), "element": element},
        ],
        **more,
    }


def opener(
    answer: Callable[[Any, Json], None] | None = None, bodies: list[Json] | None = None, **more: Any
) -> Callable[[App], None]:
    """A bot that opens a modal on /release and answers its submission."""

    def listen(app: App) -> None:
        @app.command("/release")
        def open_modal(ack, body, client):
            client.views_open(trigger_id=body["trigger_id"], view=modal(**more))
            ack()

        @app.view("waive")
        def on_submission(ack, body):
            if bodies is not None:
                bodies.append(body)
            if answer is None:
                ack()
            else:
                answer(ack, body)

    return listen


def open_view(slack: SlackWorld, user: str = RITA) -> Json:
    """Have the bot open its modal for a person; the modal as the page gets it."""
    assert slack.command("/release waive", user=user)["ok"]
    view: Json = slack.state(user)["views"][-1]
    return view


def submit(slack: SlackWorld, view: Json, reason: str = "because") -> Json:
    """Submit the modal as Rita."""
    return slack.post("submit", user=RITA, view_id=view["id"], values={"reason": {"reason": reason}})


def test_submission_carries_values_and_metadata_and_closes_the_view(slack: SlackWorld):
    """The bot gets what was typed and its own metadata; no channel; the view closes."""
    bodies: list[Json] = []
    with slack.bot(opener(bodies=bodies)):
        answer = submit(slack, open_view(slack))

    (body,) = bodies
    assert answer["ok"]
    assert body["view"]["state"]["values"] == {"reason": {"reason": {"type": "plain_text_input", "value": "because"}}}
    assert (body["view"]["private_metadata"], body["view"]["callback_id"]) == ("r1", "waive")
    assert "channel" not in body
    assert slack.state(RITA)["views"] == []


def test_view_is_seen_by_its_person_only(slack: SlackWorld):
    """A modal is on one screen, and nobody else can submit it."""
    with slack.bot(opener()):
        view = open_view(slack)
        stranger = slack.post("submit", user=QUINN, view_id=view["id"], values={})

    assert slack.state(QUINN)["views"] == []
    assert stranger["error"] == "not_found"


def test_errors_of_the_bot_stay_beside_the_inputs(slack: SlackWorld):
    """With response_action errors the view stays open."""
    answer_with = {"reason": "Say more"}
    with slack.bot(opener(lambda ack, _: ack(response_action="errors", errors=answer_with))):
        answer = submit(slack, open_view(slack))

    assert (answer["response_action"], answer["errors"]) == ("errors", answer_with)
    assert len(slack.state(RITA)["views"]) == 1


def test_errors_for_an_unknown_block_are_a_mistake_of_the_bot(slack: SlackWorld):
    """Slack could not show them."""
    with slack.bot(opener(lambda ack, _: ack(response_action="errors", errors={"other": "x"}))):
        answer = submit(slack, open_view(slack))

    assert answer["error"] == "invalid_arguments"
    assert [v["method"] for v in slack.violations()] == ["view_submission"]


@pytest.mark.parametrize("reason", ["", "no", "far too long a reason"], ids=["empty", "short", "long"])
def test_client_refuses_inputs_by_itself(slack: SlackWorld, reason: str):
    """Required and too short or too long inputs never reach the bot."""
    bodies: list[Json] = []
    with slack.bot(opener(bodies=bodies)):
        answer = submit(slack, open_view(slack), reason)

    assert (answer["error"], list(answer["errors"]), answer["delivered"]) == ("invalid_input", ["reason"], False)
    assert bodies == []


def test_next_view_takes_the_place_of_the_one_that_is_open(slack: SlackWorld):
    """A person has one modal open at most, and may close it."""
    with slack.bot(opener()):
        first, second = open_view(slack), open_view(slack)
        (view_now,) = slack.state(RITA)["views"]
        slack.post("close", user=RITA, view_id=second["id"])

    assert view_now["id"] == second["id"] != first["id"]
    assert slack.state(RITA)["views"] == []


def test_trigger_opens_one_view_within_three_seconds(slack: SlackWorld):
    """A trigger id is good once and for a short time; an invented one never."""
    first_trigger, late_trigger = (slack.server._workspace.triggers.issue(RITA) for _ in range(2))
    view = slack.client.views_open(trigger_id=first_trigger, view=modal())["view"]
    again = refusal(slack.client.views_open, trigger_id=first_trigger, view=modal())["error"]
    slack.clock.advance(3.1)
    too_late = refusal(slack.client.views_open, trigger_id=late_trigger, view=modal())["error"]
    invented_id = refusal(slack.client.views_open, trigger_id="1.2.3", view=modal())["error"]

    assert view["root_view_id"] == view["id"]
    assert [again, too_late, invented_id] == ["exchanged_trigger_id", "expired_trigger_id", "invalid_trigger_id"]


def test_invalid_view_is_refused_with_pointers(slack: SlackWorld):
    """views.open answers invalid_arguments and names the place."""
    trigger = slack.server._workspace.triggers.issue(RITA)
    answer = refusal(slack.client.views_open, trigger_id=trigger, view=modal(title=text("x" * 25)))

    assert answer["error"] == "invalid_arguments"
    assert "[json-pointer:/view/title/text]" in answer["response_metadata"]["messages"][0]


def response_urls(slack: SlackWorld, user: str = RITA, **click: Any) -> list[WebhookClient]:
    """Press Go (of an own message unless `click` names one); the response URL that the bot gets."""
    if not click:
        click = {"ts": slack.client.chat_postMessage(channel=RELEASES, text="card", blocks=[MENU])["ts"]}
    bodies: list[str] = []

    def listen(app: App) -> None:
        app.action("go")(lambda ack, body: note_and_ack(bodies, body["response_url"], ack))

    with slack.bot(listen):
        slack.post("click", user=user, channel=RELEASES, action_id="go", **click)
    return [WebhookClient(url) for url in eventually(lambda: bodies)]


def test_response_url_answers_the_clicker(slack: SlackWorld):
    """By default the answer is seen by the one who clicked, a guest too."""
    (hook,) = response_urls(slack, GUS)
    answer = hook.send(text="not in the QA group")

    assert answer.status_code == 200
    assert [m["text"] for m in slack.messages(GUS) if m.get("ephemeral")] == ["not in the QA group"]
    assert [m["text"] for m in slack.messages(RITA)] == ["card"]


def test_response_url_is_good_for_five_uses(slack: SlackWorld):
    """The sixth use is refused with 404 used_url."""
    (hook,) = response_urls(slack)
    statuses = [hook.send(text=str(n), response_type="ephemeral").status_code for n in range(5)]
    answer = hook.send(text="6")

    assert statuses == [200] * 5
    assert (answer.status_code, json.loads(answer.body)["error"]) == (404, "used_url")
    assert [v["code"] for v in slack.violations()] == ["used_url"]


@pytest.mark.parametrize("wish", [{"replace_original": True}, {"response_type": "in_channel"}, {"thread_ts": "1.0"}])
def test_response_url_does_only_what_the_bot_asks_for(slack: SlackWorld, wish: Json):
    """Something else would be taken by Slack; here it is refused, so that nothing that is built on it seems to work."""
    (hook,) = response_urls(slack)
    answer = hook.send_dict({"text": "x"} | wish)

    assert (answer.status_code, json.loads(answer.body)["error"]) == (400, "invalid_arguments")
    assert len(slack.messages()) == 1


def test_response_url_expires_after_thirty_minutes(slack: SlackWorld):
    """Later it is refused with 404 expired_url."""
    (hook,) = response_urls(slack)
    slack.clock.advance(30 * 60 + 1)
    answer = hook.send(text="late")

    assert (answer.status_code, json.loads(answer.body)["error"]) == (404, "expired_url")


def test_old_button_works_after_a_restart(direct: None, tmp_path: Path):
    """A message of the first run can be clicked in the second, and its response URL answers."""
    first = SlackWorld(tmp_path)
    ts = first.client.chat_postMessage(channel=RELEASES, text="card", blocks=[MENU])["ts"]
    first.stop()
    second = SlackWorld(tmp_path)
    try:
        (hook,) = response_urls(second, ts=ts)

        assert hook.send(text="still here").status_code == 200
    finally:
        second.stop()
