"""The parts from which the rules of Block Kit are put together: strings, lists, records, choices by type.

A rule is a function of a value and its JSON pointer that yields the problems of that value; it never changes anything.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from sandbox.slack.shapes import BlockProblem

Rule: TypeAlias = Callable[[Any, str], Iterator[BlockProblem]]


def string(low: int = 0, high: int | None = None) -> Rule:
    """A string of `low` to `high` characters."""

    def check(value: Any, pointer: str) -> Iterator[BlockProblem]:
        if not isinstance(value, str):
            yield BlockProblem(pointer, "wrong_type", "must provide a string")
        elif len(value) < low:
            yield BlockProblem(pointer, "too_short", f"must be more than {low - 1} characters")
        elif high is not None and len(value) > high:
            yield BlockProblem(pointer, "too_long", f"must be less than {high + 1} characters")

    return check


def boolean(value: Any, pointer: str) -> Iterator[BlockProblem]:
    """True or false."""
    if not isinstance(value, bool):
        yield BlockProblem(pointer, "wrong_type", "must provide a boolean")


def integer(low: int, high: int) -> Rule:
    """A whole number from `low` to `high`."""

    def check(value: Any, pointer: str) -> Iterator[BlockProblem]:
        if not isinstance(value, int) or isinstance(value, bool):
            yield BlockProblem(pointer, "wrong_type", "must provide an integer")
        elif not low <= value <= high:
            yield BlockProblem(pointer, "out_of_range", f"must be from {low} to {high}")

    return check


def one_of(*words: str) -> Rule:
    """One of a few words."""

    def check(value: Any, pointer: str) -> Iterator[BlockProblem]:
        if value not in words:
            yield BlockProblem(pointer, "not_one_of", f"must be one of: {', '.join(words)}")

    return check


def array(item: Rule, low: int = 0, high: int | None = None) -> Rule:
    """A list of `low` to `high` items that each keep the rule `item`."""

    def check(value: Any, pointer: str) -> Iterator[BlockProblem]:
        if not isinstance(value, list):
            yield BlockProblem(pointer, "wrong_type", "must provide an array")
            return
        if len(value) < low:
            yield BlockProblem(pointer, "too_few", f"no fewer than {low} items allowed")
        if high is not None and len(value) > high:
            yield BlockProblem(pointer, "too_many", f"no more than {high} items allowed")
        for index, each in enumerate(value):
            yield from item(each, f"{pointer}/{index}")

    return check


def record(required: Mapping[str, Rule], optional: Mapping[str, Rule] | None = None, *more: Rule) -> Rule:
    """An object with these fields and no others; `more` are rules about the object as a whole."""
    rules = {**required, **(optional or {})}

    def check(value: Any, pointer: str) -> Iterator[BlockProblem]:
        if not isinstance(value, dict):
            yield BlockProblem(pointer, "wrong_type", "must provide an object")
            return
        for name in required:
            if value.get(name) is None:
                yield BlockProblem(pointer, "missing_field", f"missing required field: {name}")
        for name, field in value.items():
            if name not in rules:
                yield BlockProblem(pointer, "unknown_field", f"invalid additional property: {name}")
            elif field is not None:
                yield from rules[name](field, f"{pointer}/{name}")
        for rule_of_whole in more:
            yield from rule_of_whole(value, pointer)

    return check


def at_least_one(*names: str) -> Rule:
    """For `record`: at least one of these fields is given."""

    def check(value: Any, pointer: str) -> Iterator[BlockProblem]:
        if all(value.get(name) is None for name in names):
            yield BlockProblem(pointer, "at_least_one", f"must define at least one of: {', '.join(names)}")

    return check


def by_type(rules: Mapping[str, Rule]) -> Rule:
    """An object whose `type` chooses the rule."""

    def check(value: Any, pointer: str) -> Iterator[BlockProblem]:
        if not isinstance(value, dict):
            yield BlockProblem(pointer, "wrong_type", "must provide an object")
            return
        kind = value.get("type")
        if kind is None:
            yield BlockProblem(pointer, "missing_field", "missing required field: type")
        elif not isinstance(kind, str) or kind not in rules:
            yield BlockProblem(f"{pointer}/type", "unknown_type", f"unsupported type: {kind}")
        else:
            yield from rules[kind](value, pointer)

    return check
