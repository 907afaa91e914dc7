"""Kind ``restore_drill``: the drill of `checks.kinds.restore_drill`, with what must hold in a database of SOLVEREIGN."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from checks.kinds.restore_drill.kind import Count, Name, RestoreDrill, RestoreDrillParams
from checks.solvereign.product import VERIFY_FUNCTIONS

if TYPE_CHECKING:
    from checks.contract import Params


class SolvereignRestoreDrillParams(RestoreDrillParams):
    """What must hold in the restored database."""

    functions: tuple[Name, ...] = Field(
        default=VERIFY_FUNCTIONS, description="Verify functions of which every row must be PASS."
    )
    counts: dict[Name, Count] = Field(
        default={"tenants": 1, "auth.users": 0}, description="Table -> rows that it must have at least."
    )


class SolvereignRestoreDrill(RestoreDrill):  # noqa: D101  that of the drill
    params: ClassVar[type[Params]] = SolvereignRestoreDrillParams
