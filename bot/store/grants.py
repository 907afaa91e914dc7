"""What the bot's role may do with the bot's own tables, held against what deploy/postgres-grants.sql gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.store.pool import require_row
from bot.store.queries import queries

if TYPE_CHECKING:
    from bot.store.pool import Tx


def list_missing_rights(tx: Tx) -> list[tuple[str, str]]:
    """Table and right, such as ("releases", "UPDATE"), for all that is not granted. After the migrations."""
    return [(row["name"], row["right"]) for row in tx.execute(queries("grants")["lacking"])]


def rules_over_the_record(tx: Tx) -> bool:
    """May the role change rows of the record, as the owner of the tables may? After the migrations."""
    return bool(require_row(tx.execute(queries("grants")["rules_over_the_record"]).fetchone())["rules"])
