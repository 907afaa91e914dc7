"""The base of what is read from YAML, and the digest of what it says."""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Base of the models of checklist and policy: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def digest_of(body: object) -> str:
    """sha256 in hex over JSON with sorted keys and no spaces (the canonical form of RFC 8785 for what we store)."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
