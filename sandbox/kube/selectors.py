"""Label selectors: which objects a client means."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sandbox.kube.errors import bad_request

Json = dict[str, Any]
Match = Callable[[Json], bool]

_NAME = r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?"
_EQUALITY = re.compile(rf"\s*(?P<key>{_NAME})\s*(?P<op>==|=|!=)\s*(?P<value>({_NAME})?)\s*")
_SET = re.compile(rf"\s*(?P<key>{_NAME})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)\s*")
_EXISTS = re.compile(rf"\s*(?P<not>!?)\s*(?P<key>{_NAME})\s*")


def label_selector(text: str) -> Match:
    """A predicate for `labelSelector=TEXT`: =, ==, !=, in, notin, KEY and !KEY, joined by commas.

    Raises StatusError 400 where the text does not parse.
    """
    requirements = [_requirement(part) for part in re.split(r",(?![^(]*\))", text) if part.strip()]
    return lambda obj: all(is_met(obj["metadata"].get("labels") or {}) for is_met in requirements)


def _requirement(part: str) -> Callable[[Json], bool]:
    if match := _SET.fullmatch(part):
        values = {value.strip() for value in match["values"].split(",")}
        key, is_inside = match["key"], match["op"] == "in"
        return lambda labels: (labels.get(key) in values) is is_inside
    if match := _EQUALITY.fullmatch(part):
        key, value, is_equal = match["key"], match["value"], match["op"] != "!="
        return lambda labels: (labels.get(key) == value) is is_equal
    if match := _EXISTS.fullmatch(part):
        key, is_present = match["key"], not match["not"]
        return lambda labels: (key in labels) is is_present
    raise bad_request(f"unable to parse requirement: {part!r}")
