"""Plays: a release acted out by several people over the control API, printed as it goes; for people in a hurry and for CI.

python -m sandbox.play tour|rollback|regression|blocked --page http://127.0.0.1:PORT/
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx

Json = dict[str, Any]

STEP = 60.0  # seconds that one thing may take
POLL = 0.1
RITA, MAX, QUINN, PAT, DEV, GUS = "Rita", "Max", "Quinn", "Pat", "Dev", "Gus"


class PlayFailed(Exception):
    """Something that had to happen did not."""


class Stage:
    """The workspace as a play sees it: people act, messages appear."""

    def __init__(self, page: str) -> None:
        self._http = httpx.Client(base_url=f"{page.rstrip('/')}/sandbox/", timeout=15.0, trust_env=False)
        state = self._get("state", user="U0RITA0001")
        self._people = {person["name"].split(" ")[0]: person["id"] for person in state["people"]}
        self._channel = next(channel["id"] for channel in state["channels"] if channel["name"] == "releases")
        self._began = time.monotonic()
        self._shown: dict[str, str] = {}
        self._answered: set[str] = {message["ts"] for person in self._people for message in self._private(person)}
        self._since = max((message["ts"] for message in self.messages()), default="0")

    def close(self) -> None:
        """Leave."""
        self._http.close()

    def say(self, line: str) -> None:
        """Print one line of the transcript."""
        sys.stdout.write(f"{time.monotonic() - self._began:6.1f}s  {line}\n")
        sys.stdout.flush()

    # acting

    def command(self, who: str, text: str) -> str:
        """``who`` types a slash command; returns the answer that only they see."""
        self.say(f"{who}: {text}")
        self._post("command", user=self._people[who], channel=self._channel, text=text)
        return self._answer(who)

    def click(self, who: str, action: str, message: Json, *, value: str | None = None) -> None:
        """``who`` presses the button ``action`` (whose value contains ``value``) of ``message``."""
        button = next(
            (
                (block["block_id"], element["value"])
                for block in message["blocks"]
                for element in [*block.get("elements", ()), block.get("accessory", {})]
                if element.get("action_id") == action and (value is None or value in element.get("value", ""))
            ),
            None,
        )
        if button is None:
            raise PlayFailed(f"there is no button {action} on: {message['text'][:200]}")
        self.say(f"{who} presses {action}{f' ({value})' if value else ''}")
        body = {"action_id": action, "block_id": button[0], "value": button[1]}
        self._post("click", user=self._people[who], channel=self._channel, ts=message["ts"], **body)

    def press(self, who: str, action: str, message: Json, *, value: str | None = None) -> str:
        """Press a button that acts at once; returns the answer that only they see."""
        self.click(who, action, message, value=value)
        return self._answer(who)

    def press_raw(self, who: str, action: str, value: str, ts: str) -> str:
        """Press a button that carries whatever ``value`` says, and that the message ``ts`` need not have (any more).

        Returns the answer that only they see.
        """
        self._click_raw(who, action, value, ts)
        return self._answer(who)

    def fill(self, who: str, action: str, message: Json, reason: str, *, value: str | None = None) -> str:
        """Press a button that opens a form, write ``reason`` into it and submit it."""
        self.click(who, action, message, value=value)
        return self._submit(who, action, reason)

    def fill_raw(self, who: str, action: str, value: str, ts: str, reason: str) -> str:
        """As ``fill``, by a button such as ``press_raw`` presses."""
        self._click_raw(who, action, value, ts)
        return self._submit(who, action, reason)

    def _click_raw(self, who: str, action: str, value: str, ts: str) -> None:
        self.say(f"{who} presses a forged {action}: {value}")
        body = {"action_id": action, "value": value, "forged": True}
        self._post("click", user=self._people[who], channel=self._channel, ts=ts, **body)

    def _submit(self, who: str, action: str, reason: str) -> str:
        user = self._people[who]
        view = self.wait(f"the form of {action}", lambda: next(iter(self._get("state", user=user)["views"]), None))
        self.say(f"{who} writes: {reason}")
        self._post("submit", user=user, view_id=view["id"], values={"reason": {"reason": reason}})
        return self._answer(who)

    def switch(self, name: str, *, on: bool) -> None:
        """Break something in the environments, or mend it."""
        self.say(f"[the sandbox: {name} {'on' if on else 'off'}]")
        self._http.put(f"faults/{name}", json={"on": on}).raise_for_status()

    # looking

    def messages(self) -> list[Json]:
        """All messages of #releases."""
        messages: list[Json] = self._get("state", user=self._people[RITA])["messages"][self._channel]
        return [message for message in messages if not message.get("ephemeral")]

    def message(self, prefix: str = "", *, contains: str = "") -> Json | None:
        """The newest message of this play whose text begins with ``prefix`` and contains ``contains``."""
        for message in reversed(self.messages()):
            text = message["text"]
            if message["ts"] > self._since and text.startswith(prefix) and contains in text:
                return message
        return None

    def card(self) -> Json:
        """The card of the release."""
        card = next(
            (
                m
                for m in self.messages()
                if m["ts"] > self._since and (m.get("thread_ts") in {None, m["ts"]}) and m.get("blocks")
            ),
            None,
        )
        if card is None:
            raise PlayFailed("there is no release card")
        return card

    def wait(self, what: str, look: Callable[[], Any], seconds: float = STEP) -> Any:
        """Wait until ``look`` returns something true, and return that. Raises PlayFailed after ``seconds``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            result = look()
            self._print_changes()  # after the look, so that what it found has been printed too
            if result:
                return result
            time.sleep(POLL)
        raise PlayFailed(f"waited {seconds:.0f} s for {what}")

    def until_card(self, words: str, seconds: float = STEP) -> Json:
        """Wait until the card says ``words``."""

        def look() -> Json | None:
            card = next(
                (m for m in self.messages() if m["ts"] > self._since and m.get("thread_ts") in {None, m["ts"]}), None
            )
            return card if card and words in card["text"] else None

        return dict(self.wait(f"the card to say {words!r}", look, seconds))

    # inside

    def _print_changes(self) -> None:
        for message in self.messages():
            text = message["text"]
            if message["ts"] > self._since and self._shown.get(message["ts"]) != text:
                self._shown[message["ts"]] = text
                where = (
                    "  in the thread: " if message.get("thread_ts") not in {None, message["ts"]} else "  #releases: "
                )
                self.say(f"{where}{text[:220]}")

    def _private(self, who: str) -> list[Json]:
        messages: list[Json] = self._get("state", user=self._people[who])["messages"][self._channel]
        return [message for message in messages if message.get("ephemeral")]

    def _answer(self, who: str) -> str:
        def look() -> Json | None:
            return next((message for message in self._private(who) if message["ts"] not in self._answered), None)

        message = dict(self.wait(f"an answer to {who}", look))
        self._answered.add(message["ts"])
        text = str(message["text"])
        self.say(f"  only to {who}: {text[:400]}")
        return text

    def _get(self, path: str, **params: str) -> Json:
        answer = self._http.get(path, params=params)
        answer.raise_for_status()
        return dict(answer.json())

    def _post(self, path: str, **body: object) -> Json:
        answer = self._http.post(path, json=body)
        answer.raise_for_status()
        result = dict(answer.json())
        if result.get("error") or not result.get("ok", True):
            raise PlayFailed(f"Slack says {result.get('error')} to {path}")
        return result


def expect(answer: str, words: str) -> None:
    """Raise PlayFailed unless the answer contains the words."""
    if words not in answer:
        raise PlayFailed(f"expected {words!r} in: {answer}")


def _open_gate(stage: Stage) -> Json:
    """Start a release, wait for its checks, sign off by three people; return the card once the gate is open."""
    expect(stage.command(RITA, "/release start v4.8.0"), "is open")
    stage.wait("the card", lambda: stage.message(contains="OPEN"))
    stage.until_card("10 of 10", seconds=100)
    for who, role in ((RITA, "release_manager"), (QUINN, "qa"), (PAT, "product")):
        expect(stage.press(who, "signoff.approve", stage.card(), value=role), "approved")
    return dict(
        stage.wait("the gate to open", lambda: card if has_button(card := stage.card(), "release.deploy") else None)
    )


def _reach_alarm(stage: Stage, card: Json) -> Json:
    """Deploy through an open gate and return the alarm of the watch; the switch that caused it stays on."""
    expect(stage.press(RITA, "release.deploy", card), "Deploying")
    stage.until_card("WATCHING", seconds=90)
    stage.switch("sentry_new_issue", on=True)
    alarm = stage.wait(
        "the alarm",
        lambda: next(
            (m for m in stage.messages() if has_button(m, "watch.acknowledge") and m["ts"] > card["ts"]), None
        ),
    )
    return dict(alarm)


def tour(stage: Stage) -> None:
    """A good release: checks, three sign-offs, deploy, watch, done."""
    card = _open_gate(stage)
    expect(stage.press(RITA, "release.deploy", card), "Deploying")
    stage.until_card("WATCHING", seconds=90)
    stage.until_card("DONE", seconds=60)
    stage.wait("the word of its end", lambda: stage.message(contains="watch is over"))


def rollback(stage: Stage) -> None:
    """The watch finds a new issue, and one press takes the release back."""
    card = _open_gate(stage)
    alarm = _reach_alarm(stage, card)
    try:
        expect(stage.fill(QUINN, "watch.rollback", alarm, "errors after the deploy"), "Rolling")
        stage.until_card("ROLLED_BACK", seconds=90)
        stage.wait("the word of its end", lambda: stage.message(contains="is rolled back. Production runs"))
    finally:
        stage.switch("sentry_new_issue", on=False)


def regression(stage: Stage) -> None:
    """All planes are deployed, the watch alarms, all go back; billing is off for a while, and so long the release stays open."""
    card = _open_gate(stage)
    expect(stage.command(RITA, "/release plan"), "Plan of")
    alarm = _reach_alarm(stage, card)
    try:
        expect(stage.fill(QUINN, "watch.rollback", alarm, "invoices are wrong"), "Rolling")
        stage.until_card("ROLLED_BACK", seconds=90)
        closing_record = stage.wait("the record to be closed", lambda: stage.message(contains="was closed at row"))
        steps = stage.wait(
            "the offer to switch billing off",
            lambda: next((m for m in stage.messages() if has_button(m, "mitigation.apply")), None),
        )
        expect(stage.fill(MAX, "mitigation.apply", steps, "customers are locked out"), "You own it")
        mitigation = stage.wait(
            "the switch to be off",
            lambda: next((m for m in stage.messages() if has_button(m, "mitigation.resolve")), None),
            seconds=60,
        )
        stage.until_card("open until")
        stage.wait("the card to be pinned again", lambda: stage.card().get("pinned_to"))
        expect(stage.command(RITA, "/release history"), "Still to be put back")
        expect(str(stage.message(contains="was closed at row")), closing_record["text"])
        expect(stage.press(MAX, "mitigation.resolve", mitigation), "Putting back")
        stage.wait("the switch to be on again", lambda: stage.message(contains="is put back ("), seconds=60)
        stage.wait(
            "the record to be closed again", lambda: _other(stage.message(contains="was closed at row"), closing_record)
        )
        stage.wait("the card to be unpinned", lambda: not stage.card().get("pinned_to"))
        expect(stage.until_card("ROLLED_BACK, 20")["text"], "invoices are wrong")
    finally:
        stage.switch("sentry_new_issue", on=False)


def _other(message: Json | None, than: Json) -> bool:
    return message is not None and message["ts"] != than["ts"]


def blocked(stage: Stage) -> None:
    """A release that stays blocked, and everybody who tries is told why."""
    switches = ("verify_fails", "webhook_duplicates", "gating_open", "grafana_empty_panel")
    for name in switches:
        stage.switch(name, on=True)
    try:
        expect(stage.command(RITA, "/release start v4.8.0"), "is open")
        stage.until_card("5 of 10", seconds=100)
        refusal = stage.command(RITA, "/release deploy")
        for words in (
            "Migrations applied",
            "Webhook idempotent",
            "Billing gating works",
            "Restore works",
            "Grafana",
            "Release Manager",
        ):
            expect(refusal, words)
        expect(stage.press(DEV, "signoff.approve", stage.card(), value="release_manager"), "role")
        expect(stage.press(GUS, "signoff.approve", stage.card(), value="release_manager"), "another workspace")
        expect(stage.command(MAX, "/release rollback nothing there"), "nothing to roll back")
        stage.until_card("No-Go")
        expect(stage.command(RITA, "/release abort the product is not ready"), "aborted")
        stage.until_card("ABORTED")
        stage.wait("the word of its end", lambda: stage.message(contains="is aborted"))
    finally:
        for name in switches:
            stage.switch(name, on=False)


def has_button(message: Json, action: str) -> bool:
    """Whether a message carries the button ``action``."""
    return any(
        element.get("action_id") == action
        for block in message.get("blocks", ())
        for element in block.get("elements", ())
    )


PLAYS: dict[str, Callable[[Stage], None]] = {
    "tour": tour,
    "rollback": rollback,
    "regression": regression,
    "blocked": blocked,
}


def main() -> int:
    """Play one release; 0 when everything happened as it had to."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.play", description=__doc__)
    parser.add_argument("play", choices=PLAYS)
    parser.add_argument("--page", required=True, metavar="URL")
    options = parser.parse_args()
    stage = Stage(options.page)
    try:
        PLAYS[options.play](stage)
        violations = httpx.get(f"{options.page.rstrip('/')}/sandbox/violations", trust_env=False).json()
        if violations:
            raise PlayFailed(f"Slack would have refused: {violations[0]}")
    except PlayFailed as error:
        stage.say(f"FAILED: {error}")
        return 1
    finally:
        stage.close()
    stage.say("The end.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
