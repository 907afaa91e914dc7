"""Keys of the configuration and of checklists that have a new name. A file or a stored row with the old name can still be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ModelWrapValidatorHandler, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

KeyPath = tuple[str | int, ...]
RenamedKeys = Mapping[
    tuple[str, ...], str
]  # where the old key is in a document, `*` being each item of a list: the new key


class DocumentModel(BaseModel):
    """Base of a whole document with a table of its renamed keys."""

    renamed_keys: ClassVar[RenamedKeys] = {}
    _notices: tuple[str, ...] = PrivateAttr(())

    @property
    def notices(self) -> tuple[str, ...]:
        """A sentence without its full stop for each old key that the document has: it names the new one."""
        return self._notices

    @model_validator(mode="wrap")
    @classmethod
    def _read_old_keys(cls, body: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        notices: list[str] = []
        for path, new_key in cls.renamed_keys.items():
            body = _rename(body, path, new_key, (), notices)
        document = handler(body)
        document._notices = (*document._notices, *notices)  # noqa: SLF001  the document is of this class
        return document


def _rename(body: Any, path: Sequence[str], new_key: str, at: KeyPath, notices: list[str]) -> Any:
    """``body`` with the key at the end of ``path`` renamed. ``at``: where ``body`` itself is, from the top of the document."""
    old_key, *rest = path
    if old_key == "*" and isinstance(body, list):
        return [_rename(item, rest, new_key, (*at, index), notices) for index, item in enumerate(body)]
    if not isinstance(body, dict) or old_key not in body:
        return body
    if rest:
        return {**body, old_key: _rename(body[old_key], rest, new_key, (*at, old_key), notices)}
    old_name, new_name = (".".join(map(str, (*at, key))) for key in (old_key, new_key))
    if new_key in body:
        text = f"{old_name} is the old name of {new_name}, and both are there: leave out {old_key}"
        raise PydanticCustomError("both_names", "{text}", {"text": text, "at": (*at, old_key)})
    notices.append(f"the key {old_name} is called {new_name} now")
    return {new_key if key == old_key else key: value for key, value in body.items()}
