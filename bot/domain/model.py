"""The base of what is read from YAML, the digest of what it says, and how durations are written in it."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta

from pydantic import BaseModel, ConfigDict

DURATION = re.compile(r"(\d+)\s*(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Model(BaseModel):
    """Base of the models of checklist and policy: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_duration(value: object) -> object:
    """Read ``90s``, ``15m``, ``4h``, ``2d``; leave everything else to pydantic."""
    if isinstance(value, str) and (match := DURATION.fullmatch(value.strip())):
        return timedelta(**{_UNITS[match.group(2)]: int(match.group(1))})
    return value


def canonical(body: object) -> str:
    """The one JSON text of a value: keys sorted, no blanks, every character as itself (RFC 8785 for what we store)."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(body: object) -> str:
    """sha256 in hex of the canonical JSON."""
    return hashlib.sha256(canonical(body).encode()).hexdigest()
