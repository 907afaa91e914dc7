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


def test_the_example_of_slack_is_verified() -> None:
    """The signature in Slack's documentation is computed and accepted."""
    assert sign(SECRET, AT, BODY) == SIGNATURE
    assert refusal(SECRET, AT, SIGNATURE, BODY, NOW) == ""


def test_a_timestamp_may_differ_by_five_minutes() -> None:
    """A request is accepted if its timestamp differs by up to five minutes."""
    for away in (-MAX_AGE, MAX_AGE):
        assert refusal(SECRET, AT, SIGNATURE, BODY, NOW + away) == ""
    for away in (-MAX_AGE - 1, MAX_AGE + 1):
        assert "five minutes" in refusal(SECRET, AT, SIGNATURE, BODY, NOW + away)


@given(st.text(), st.text(), st.binary())
def test_random_headers_are_refused_with_a_reason(timestamp: str, signature: str, body: bytes) -> None:
    """Random headers are refused with a reason and raise no error."""
    assert refusal(SECRET, timestamp, signature, body, NOW)


@given(st.integers(min_value=0, max_value=len(BODY) * 8 - 1))
def test_one_changed_bit_of_the_body_is_refused(bit: int) -> None:
    """A body that differs in a single bit is refused."""
    body = bytearray(BODY)
    body[bit // 8] ^= 1 << bit % 8
    assert refusal(SECRET, AT, SIGNATURE, bytes(body), NOW) == "its signature is wrong"
