"""Document: reads YAML with the line of each key, so that what is wrong can be shown where it stands."""

from __future__ import annotations

from typing import Any

import yaml
from yaml import CSafeLoader  # libyaml's, which is in PyYAML's wheels: ten times faster than the one in Python


def read_document(text: str) -> tuple[yaml.Node | None, Any]:
    """The nodes of a YAML document, for ``line_of``, and what it says (None when it is empty). Raises yaml.YAMLError."""
    # Read twice: reading a value puts what ``<<`` refers to into its node, as if it stood there.
    root = yaml.compose(text, Loader=CSafeLoader)
    loader = CSafeLoader(text)
    try:
        return root, loader.get_single_data()
    finally:
        loader.dispose()


def line_of(node: yaml.Node | None, path: tuple[Any, ...]) -> int:
    """The line (from 1) in a composed YAML document at which ``path`` stands, or of the nearest parent that is there."""
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
