"""Reads a vendor's answer: one that does not hold what its API promises is an error that names the vendor."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from clients.errors import StrangeAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def reading(vendor: str, what: str, answer: object = None) -> Iterator[None]:
    """Take ``what`` out of an answer of ``vendor``; raises StrangeAnswer where the answer has another form.

    For the lines alone that take it apart, so that a fault of our own is not laid at the vendor's door. ``answer``: its
    text or its JSON, as evidence; left out where it may hold what must not be read out.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as exc:
        text = answer if isinstance(answer, str) else json.dumps(answer)
        raise StrangeAnswer(
            f"{vendor} did not answer with {what}" + (f", but with {text}" if answer is not None else ""),
            hint=f"Is the address in release-bot.yml that of {vendor}, in a version the bot knows?",
            seen=text if answer is not None else _fault(exc),
        ) from exc


def listed(value: Any) -> list[Any]:
    """The value, which must be a list: an object can be walked through as well, and would pass for an empty one."""
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__}, not a list")
    return value


def _fault(exc: Exception) -> str:
    """What was wrong with the answer, without the values in it."""
    if isinstance(exc, ValidationError):
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in exc.errors(include_input=False))
    return f"{type(exc).__name__}: {exc}"
