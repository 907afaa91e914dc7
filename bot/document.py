"""Document: reads YAML with the line of each key, so that what is wrong can be shown where it stands."""

from __future__ import annotations

from typing import Any

import yaml
from yaml import CSafeLoader  # libyaml's, which is in PyYAML's wheels: ten times faster than the one in Python

MOST = 100_000  # values of a document with its aliases expanded; the longest checklist that ships has two thousand
DEEPEST = 60  # levels


def read_document(text: str) -> tuple[yaml.Node | None, Any]:
    """Return the root node of a YAML document, for ``line_of``, and its value; both None if it is empty.

    Raises yaml.YAMLError, also for aliases that contain themselves or would take forever to follow.
    """
    # Read twice: reading a value puts what ``<<`` refers to into its node, as if it stood there.
    root = yaml.compose(text, Loader=CSafeLoader)
    if root is not None:
        _weigh(root, 0, {})
    loader = CSafeLoader(text)
    try:
        return root, loader.get_single_data()
    finally:
        loader.dispose()


def _weigh(node: yaml.Node, depth: int, weights: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Return the number of values and levels under a node, aliases expanded. Raises yaml.MarkedYAMLError if they are too many."""
    size, height = weights.get(id(node), (0, 0))
    if not size:
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        if depth > DEEPEST:
            raise _too_much(node)
        below = [_weigh(child, depth + 1, weights) for child in children]
        size = 1 + sum(values for values, _ in below)
        height = 1 + max((levels for _, levels in below), default=0)
        weights[id(node)] = (size, height)
    if size > MOST or depth + height > DEEPEST + 1:
        raise _too_much(node)
    return size, height


def _too_much(node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(
        problem="it is nested too deeply, or its aliases repeat themselves", problem_mark=node.start_mark
    )


def line_of(node: yaml.Node | None, path: tuple[Any, ...]) -> int:
    """Return the line (from 1) of ``path`` in a composed YAML document, or of its nearest parent that exists."""
    line = 1
    for part in path:
        child: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value in {str(part), f"{part}_file"}:
                    line, child = key.start_mark.line + 1, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            child = node.value[part]
            line = child.start_mark.line + 1
        if child is None:
            return line
        node = child
    return line
