"""How the workspace reaches the bot: over its sockets, or by requests to its URL once that is set in the app's settings."""

from dataclasses import dataclass

from sandbox.slack.shapes import Json

ACK_SECONDS = 3.0
KEPT_DELIVERIES = 1_000  # deliveries that can be sent again


@dataclass(frozen=True)
class Delivery:
    """What became of a delivery: `error` is None, dispatch_failed or operation_timeout."""

    envelope_id: str
    delivered: bool
    ack: Json | None = None  # the payload of the acknowledgement; {} when it had none
    error: str | None = None
    seconds: float | None = None  # until the acknowledgement
