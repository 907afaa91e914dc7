"""Every named query is good SQL for the schema as it is, and every one of them is used."""

import re
from importlib import resources
from pathlib import Path

import pytest

import bot.store
from bot.store.pool import Store
from bot.store.queries import queries

TOPICS = sorted(
    entry.name.removesuffix(".sql")
    for entry in resources.files("bot.store").joinpath("sql").iterdir()
    if entry.name.endswith(".sql")
)
_PARAMETER = re.compile(r"%\((\w+)\)s")


@pytest.mark.parametrize("topic", TOPICS)
def test_postgresql_accepts_each_query(store: Store, topic: str) -> None:
    """PREPARE finds unknown tables and columns, and types that do not fit."""
    for name, text in queries(topic).items():
        statement = text.replace(" FROM {} ", " FROM signoffs ")  # the one query whose table is looked up first
        for number, parameter in enumerate(dict.fromkeys(_PARAMETER.findall(text)), 1):
            statement = statement.replace(f"%({parameter})s", f"${number}")
        with store.transaction() as tx:
            tx.execute(f"PREPARE {topic}_{name} AS {statement}")


@pytest.mark.parametrize("topic", TOPICS)
def test_each_query_has_a_purpose(topic: str) -> None:
    """A comment with the purpose is above each statement."""
    assert {name for name, text in queries(topic).items() if not text.startswith("-- ")} == set()


@pytest.mark.parametrize("topic", TOPICS)
def test_each_query_is_used(topic: str) -> None:
    """A query that no module uses would be dead code."""
    code = "".join(path.read_text(encoding="utf-8") for path in Path(bot.store.__path__[0]).glob("*.py"))
    assert {name for name in queries(topic) if f'"{name}"' not in code} == set()
