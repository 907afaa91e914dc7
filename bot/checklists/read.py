"""Reads a checklist from YAML and says everything that is wrong with it, each with file, line, key and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from bot.document import line_of, read_document
from bot.domain.actions import ACTIONS, RunCheck
from bot.domain.checklist import Checklist, ChecklistProblem, Path
from bot.errors import ChecklistError
from checks.spelling import did_you_mean

if TYPE_CHECKING:
    from checks.registry import Registry

KEYS = "docs/reference/checklist.md describes the keys."
KINDS = "docs/reference/kinds.md lists kinds and their params."


def read_checklist(text: str, source: str, registry: Registry | None = None) -> Checklist:
    """Read a checklist; with a ``registry`` its kinds and their params too. ``source``: name of the file, for messages.

    Raises ChecklistError with one line for each mistake.
    """
    root, body = _parse(text, source)
    problems = list(_double_keys(root))
    checklist: Checklist | None = None
    try:
        checklist = Checklist.model_validate(body)
    except ValidationError as error:
        problems += [problem for detail in _worth_saying(error) for problem in _problems(detail)]
    hint = KEYS
    if checklist is not None and registry is not None:
        wrong_kinds = list(_wrong_kinds(checklist, registry))
        hint = KEYS if problems else KINDS
        problems += wrong_kinds
    if checklist is None or problems:
        lines = sorted((line_of(root, at), ".".join(map(str, at)) or "checklist", what) for what, at in problems)
        raise ChecklistError("\n".join(f"{source}:{line}: {key}: {what}" for line, key, what in lines), hint=hint)
    return checklist


def _parse(text: str, source: str) -> tuple[yaml.Node | None, dict[Any, Any]]:
    """The document with its lines, and what it says."""
    try:
        root, body = read_document(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ChecklistError(
            f"{source}:{line}: not valid YAML: {error.problem}", hint="Check the indentation there."
        ) from error
    except yaml.YAMLError as error:
        raise ChecklistError(f"{source}:1: not valid YAML: it has characters that YAML doesn't allow") from error
    if not isinstance(body, dict):
        raise ChecklistError(f"{source}:1: a checklist is a mapping that begins with id: and title:")
    return root, body


def _double_keys(node: yaml.Node | None, at: Path = ()) -> Iterator[ChecklistProblem]:
    """Keys that stand twice in one mapping: YAML would take the last one and say nothing."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _double_keys(item, (*at, index))
    elif isinstance(node, yaml.MappingNode):
        keys_so_far: set[str] = set()
        for key, value in node.value:
            here = (*at, str(key.value))
            if key.value in keys_so_far:
                yield "is there twice", here
            keys_so_far.add(key.value)
            yield from _double_keys(value, here)


def _worth_saying(error: ValidationError) -> list[Any]:
    """The errors, without the "too short" that pydantic adds to a list whose items are wrong."""
    details = error.errors()
    inner = {one["loc"][:length] for one in details for length in range(len(one["loc"]))}
    return [one for one in details if one["type"] != "too_short" or one["loc"] not in inner]


def _problems(detail: Any) -> Iterator[ChecklistProblem]:
    """What one error of pydantic means for the author of the file."""
    context = detail.get("ctx", {})
    if detail["type"] == "checklist":
        yield from context["problems"]
        return
    loc = context.get("at", detail["loc"])
    # Behind the field of a discriminated union pydantic puts the tag, which is no key of the file.
    at: Path = tuple(part for index, part in enumerate(loc) if not (part in ACTIONS and loc[index - 1] == "action"))
    match detail["type"]:
        case "missing":
            what = "is missing"
        case "extra_forbidden":
            what = f"unknown key{did_you_mean(str(loc[-1]), _keys_beside(loc))}"
        case "union_tag_invalid":
            what = f"unknown do: {context['tag']!r}{did_you_mean(context['tag'], ACTIONS)}"
        case "union_tag_not_found":
            what = f"has no do:, one of {', '.join(sorted(ACTIONS))}"
        case "string_type":
            what = "must be text; put it in quotes"
        case "too_short":
            what = "is empty; it needs at least one entry"
        case "time_delta_parsing" | "time_delta_type":
            what = "isn't a duration; write 90s, 15m, 4h or 2d"
        case _:
            what = detail["msg"].removeprefix("Value error, ")
    yield what, at


def _keys_beside(loc: Path) -> set[str]:
    """The keys that the mapping around ``loc`` may have."""
    around: list[type[BaseModel]] = [Checklist]
    for part in loc[:-1]:
        if isinstance(part, int):
            continue
        models_with_tag = [model for model in around if "do" in model.model_fields and part in _words(model)]
        fields = [model.model_fields[part].annotation for model in around if part in model.model_fields]
        around = models_with_tag or [model for annotation in fields for model in _models(annotation)]
    return {name for model in around for name in model.model_fields}


def _words(model: type[BaseModel]) -> tuple[Any, ...]:
    return get_args(model.model_fields["do"].annotation)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models in a type such as ``tuple[Section, ...]`` or a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _wrong_kinds(checklist: Checklist, registry: Registry) -> Iterator[ChecklistProblem]:
    """Kinds that there are not, and params that a kind does not take."""
    uses_of_kinds: list[tuple[Path, str, dict[str, Any]]] = [
        (("sections", number, "checks", index), check.kind, check.params)
        for number, section in enumerate(checklist.sections)
        for index, check in enumerate(section.checks)
        if check.same_as is None
    ]
    for plan, steps in (("deploy", checklist.deploy), ("rollback", checklist.rollback)):
        for index, step in enumerate(steps):
            if isinstance(step.action, RunCheck):
                uses_of_kinds.append(((plan, index, "action"), step.action.kind, step.action.params))
    for index, probe in enumerate(checklist.watch.probes):
        uses_of_kinds.append((("watch", "probes", index), probe.kind, probe.params))
    for at, kind, params in uses_of_kinds:
        for complaint in registry.complaints(kind, params):
            yield complaint.text, (*at, *complaint.at)
