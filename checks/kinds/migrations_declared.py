"""Kind ``migrations_declared``: every migration that a release brings says what it does to what runs now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from checks.contract import Answer, CheckError, Evidence, Kind, Outcome, Params
from checks.kit.declarations import HOW_TO_DECLARE, MigrationKind, declared
from clients.github import previous_release
from clients.needs import READ_CONTENTS, Need

if TYPE_CHECKING:
    from checks.contract import CheckContext

_MAX_NAMES = 3  # files named in the summary; the evidence has all


class MigrationsDeclaredParams(Params):
    """Where the files are."""

    path: str = Field(
        default="backend_py/db/migrations", min_length=1, description="Folder of the migrations in the repository."
    )
    suffix: str = Field(default=".sql", description="How the name of a migration ends.")


@dataclass(frozen=True)
class _New:
    """The migrations that a release brings, in the order in which they are applied, and what is wrong with them."""

    since: str  # the release before; empty: there is none
    files: dict[str, MigrationKind | None]
    changed: list[str]  # released before, and another file now

    @property
    def bad(self) -> list[str]:
        """One phrase each."""
        silent = [f"{name} doesn't declare what it does" for name, word in self.files.items() if word is None]
        return [*silent, *(f"{name} was changed after its release" for name in self.changed)]


class MigrationsDeclared(Kind):
    """Looks at the files that the release's commit has and the release before has not, as the step `migrate` does.

    So that people know before they say Go what a rollback would not take back. Where there was no release before, all
    files are new.
    """

    name: ClassVar[str] = "migrations_declared"
    summary: ClassVar[str] = "Every new migration says whether it is additive, reversible or breaking"
    params: ClassVar[type[Params]] = MigrationsDeclaredParams
    timeout: ClassVar[float] = 90.0

    def needs(self, params: MigrationsDeclaredParams) -> tuple[Need, ...]:
        """To read the files."""
        return (READ_CONTENTS,)

    def run(self, params: MigrationsDeclaredParams, ctx: CheckContext) -> Answer:
        """FAIL for a file that declares nothing, or was changed after its release. Raises CheckError without a release."""
        ctx.clients.github()  # refuses where there is none
        if not ctx.subject.version or not ctx.subject.commit:
            raise CheckError("there is no release to compare", hint="Run it in a release: `/release check`.")
        return _judge(_new(params, ctx), params, ctx)


def _new(params: MigrationsDeclaredParams, ctx: CheckContext) -> _New:
    github, commit = ctx.clients.github(), ctx.subject.commit
    since = previous_release(github, ctx.subject.version, ctx.subject.previous)
    here = github.folder(params.path, commit)
    there = github.folder(params.path, since) if since else {}
    changed_names = sorted(
        name for name, blob in there.items() if name.endswith(params.suffix) and here.get(name, blob) != blob
    )
    names = sorted((name for name in here if name.endswith(params.suffix) and name not in there), key=str.encode)
    files = {}
    for number, name in enumerate(names, 1):
        ctx.wait(0)
        ctx.progress(f"reading migration {number} of {len(names)}")
        files[name] = declared(github.content(f"{params.path}/{name}", commit).decode("utf-8-sig", errors="replace"))
    return _New(since, files, changed_names)


def _judge(new: _New, params: MigrationsDeclaredParams, ctx: CheckContext) -> Answer:
    since = f"since {new.since}" if new.since else "with no earlier release"
    lines = [f"{name}: {word or 'declares nothing'}" for name, word in new.files.items()]
    lines += [f"{name}: changed after its release with {new.since}" for name in new.changed]
    total = f"{len(new.files)} new migration{'' if len(new.files) == 1 else 's'} {since}"
    evidence = Evidence(
        f"{params.path} at {ctx.subject.commit[:12]}, {since}",
        "each new file declares additive, reversible or breaking, and no released one was changed",
        total,
        "\n".join(lines),
        "migrations.txt",
    )
    if bad := new.bad:
        rest = f" and {len(bad) - _MAX_NAMES} more" if len(bad) > _MAX_NAMES else ""
        hint = "Restore it and write a new migration." if new.changed else HOW_TO_DECLARE
        return Answer(Outcome.FAIL, f"{'; '.join(bad[:_MAX_NAMES])}{rest}", evidence, hint=hint)
    if not new.files:
        return Answer(Outcome.PASS, f"no new migration {since}", evidence)
    worst = [f"{name} is {word}" for name, word in new.files.items() if word is not MigrationKind.ADDITIVE]
    phrases = worst or [f"{name} is {word}" for name, word in new.files.items()]
    rest = f" and {len(phrases) - _MAX_NAMES} more" if len(phrases) > _MAX_NAMES else ""
    others = ", the others additive" if worst and len(worst) < len(new.files) else ""
    return Answer(Outcome.PASS, f"{total}: {', '.join(phrases[:_MAX_NAMES])}{rest}{others}", evidence)
