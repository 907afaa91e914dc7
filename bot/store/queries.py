"""Loads the named queries of sql/*.sql: `-- name: the_name` and a one-line purpose stand above each of them."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import LiteralString, cast

_NAME = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)


@cache
def queries(topic: str) -> dict[str, LiteralString]:
    """Return name -> SQL of ``sql/<topic>.sql``. Raises ValueError for a name that stands there twice."""
    text = resources.files("bot.store").joinpath("sql", f"{topic}.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{topic}.sql names a query twice")
    # The text ships with the program, so for psycopg it is as good as a literal.
    return {name: cast("LiteralString", body.strip()) for name, body in zip(names, bodies, strict=True)}
