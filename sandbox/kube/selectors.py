"""Label and field selectors: which objects a client or a controller means."""

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
    return lambda obj: all(holds(obj["metadata"].get("labels") or {}) for holds in requirements)


def field_selector(text: str, fields: tuple[str, ...]) -> Match:
    """A predicate for `fieldSelector=TEXT`; a field that is not among `fields` is a 400, as on the real server."""
    wanted: list[tuple[str, bool, str]] = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"([^=!]+)(==|=|!=)(.*)", part)
        if match is None:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        if match[1] not in fields:
            raise bad_request(f"field label not supported: {match[1]}")
        wanted.append((match[1], match[2] != "!=", match[3]))
    return lambda obj: all((_field(obj, path) == value) is equal for path, equal, value in wanted)


def spec_selector(selector: Json) -> Match:
    """A predicate for the `spec.selector` of a Deployment, a ReplicaSet or a Job."""
    labels: Json = selector.get("matchLabels") or {}
    rules: list[Json] = selector.get("matchExpressions") or []

    def holds(obj: Json) -> bool:
        found = obj["metadata"].get("labels") or {}
        return labels.items() <= found.items() and all(_expression(rule, found) for rule in rules)

    return holds


def selector_text(selector: Json) -> str:
    """The selector as one line, as the Scale object shows it."""
    return ",".join(f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items()))


def _requirement(part: str) -> Callable[[Json], bool]:
    if match := _SET.fullmatch(part):
        values = {value.strip() for value in match["values"].split(",")}
        key, inside = match["key"], match["op"] == "in"
        return lambda labels: (labels.get(key) in values) is inside
    if match := _EQUALITY.fullmatch(part):
        key, value, equal = match["key"], match["value"], match["op"] != "!="
        return lambda labels: (labels.get(key) == value) is equal
    if match := _EXISTS.fullmatch(part):
        key, present = match["key"], not match["not"]
        return lambda labels: (key in labels) is present
    raise bad_request(f"unable to parse requirement: {part!r}")


def _expression(rule: Json, labels: Json) -> bool:
    key, values = rule["key"], rule.get("values") or []
    answers = {"Exists": key in labels, "DoesNotExist": key not in labels}
    answers |= {"In": labels.get(key) in values, "NotIn": labels.get(key) not in values}
    return answers[rule["operator"]]


def _field(obj: Json, path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    return str(value)
