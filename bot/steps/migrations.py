"""The migrations of a release: files of its commit that the last release does not have, and what each declares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bot.domain.plan import Mutation, Way
from bot.errors import StepError
from bot.steps.sqlfile import Migration, migration
from checks.kit.declarations import HOW_TO_DECLARE, MigrationKind
from clients.github import previous_release

if TYPE_CHECKING:
    from bot.steps.contract import StepInspection
    from clients.github import GitHub

WAYS = {
    MigrationKind.ADDITIVE: (Way.COMPATIBLE, "stays: declared additive, so the old version works with it"),
    MigrationKind.REVERSIBLE: (
        Way.COMPATIBLE,
        "stays: declared reversible, so the old version works with it, and it can be reversed by hand",
    ),
    MigrationKind.BREAKING: (
        Way.FINAL,
        "can't be undone: declared breaking, so the old version may not run on it",
    ),
}


def new_files(inspection: StepInspection, folder: str) -> list[Migration]:
    """Return the files that are new since the last release, all if there was none, in the product's order (bytes of the name).

    Raises StepError if a released file was changed.
    """
    repository, ship = inspection.clients.github(), inspection.reference
    commit = ship.commit
    here = inspection.retry_read(lambda: repository.folder(folder, commit))
    last = inspection.retry_read(lambda: previous_release(repository, ship.version, ship.previous))
    there = inspection.retry_read(lambda: repository.folder(folder, last)) if last else {}
    changed_names = sorted(name for name, sha in there.items() if name.endswith(".sql") and here.get(name, sha) != sha)
    if changed_names:
        raise StepError(
            f"{changed_names[0]} was changed after its release with {last}",
            hint="Restore it and write a new migration.",
        )
    fresh = [name for name in here if name.endswith(".sql") and name not in there]
    return [
        _read_migration(inspection, repository, f"{folder}/{name}", commit) for name in sorted(fresh, key=str.encode)
    ]


def _read_migration(inspection: StepInspection, repository: GitHub, path: str, commit: str) -> Migration:
    return migration(path.rpartition("/")[2], inspection.retry_read(lambda: repository.content(path, commit)))


def mutations(files: Sequence[Migration], place: str) -> list[Mutation]:
    """Return a change for each file. Raises StepError for one that does not declare whether the running version works with it."""
    changes = []
    for file in files:
        if file.declared_kind is None:
            raise StepError(f"{file.name} doesn't declare its effect on the running version", hint=HOW_TO_DECLARE)
        way, back = WAYS[file.declared_kind]
        changes.append(
            Mutation(f"migration {file.name} on {place}", "", f"applied, sha256 {file.checksum[:12]}", way, back)
        )
    return changes
