"""Whose a request is: Slack's own example, and nothing else whatever the headers hold."""

from hypothesis import given
from hypothesis import strategies as st

from bot.slack.signature import MAX_AGE, refusal, sign

# The example of docs.slack.dev/authentication/verifying-requests-from-slack
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
AT = "1531420618"
BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
NOW = float(AT)


def test_slack_s_own_example() -> None:
    """The figures of Slack's documentation."""
    assert sign(SECRET, AT, BODY) == SIGNATURE
    assert refusal(SECRET, AT, SIGNATURE, BODY, NOW) == ""


def test_five_minutes_either_way() -> None:
    """A clock may be wrong by five minutes, and no more."""
    for away in (-MAX_AGE, MAX_AGE):
        assert refusal(SECRET, AT, SIGNATURE, BODY, NOW + away) == ""
    for away in (-MAX_AGE - 1, MAX_AGE + 1):
        assert "five minutes" in refusal(SECRET, AT, SIGNATURE, BODY, NOW + away)


@given(st.text(), st.text(), st.binary())
def test_whatever_the_headers_hold(timestamp: str, signature: str, body: bytes) -> None:
    """It is refused with a reason; nothing is raised."""
    assert refusal(SECRET, timestamp, signature, body, NOW)


@given(st.integers(min_value=0, max_value=len(BODY) * 8 - 1))
def test_any_bit_of_the_body(bit: int) -> None:
    """One bit is enough."""
    changed = bytearray(BODY)
    changed[bit // 8] ^= 1 << bit % 8
    assert refusal(SECRET, AT, SIGNATURE, bytes(changed), NOW) == "its signature is wrong"
