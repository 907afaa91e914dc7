"""How a PATCH changes an object, for the three kinds of patches that Kubernetes takes.

JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386) are those of the libraries. The strategic merge patch is Kubernetes' own
(kubernetes.io, "Update API Objects in Place Using kubectl patch"), and there is as much of it here as the bot and its tests send:
containers and variables joined by their names. What else it could say is refused, so that nothing is ignored in silence.
"""

from __future__ import annotations

from typing import Any

import json_merge_patch
import jsonpatch
import jsonpointer

from sandbox.kube.errors import bad_request, patch_refused

Json = dict[str, Any]

LISTS_BY_NAME = ("containers", "env")  # which a strategic merge patch joins by name instead of replacing them


def json_patch(document: Json, operations: Any) -> Json:
    """The document after all operations. StatusError 422 where one does not apply, a `test` that fails among them."""
    try:
        return dict(jsonpatch.apply_patch(document, operations))
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        raise patch_refused() from error


def merge_patch(document: Json, patch: Json) -> Json:
    """The document with what the patch has; null removes a key, and a list is replaced. `document` itself is changed."""
    return dict(json_merge_patch.merge(document, patch))


def strategic_merge_patch(document: Json, patch: Json) -> Json:
    """Like `merge_patch`, but lists in LISTS_BY_NAME are joined by name. StatusError 400 for directives and other lists."""
    result = dict(document)
    for key, value in patch.items():
        if key.startswith("$"):
            raise bad_request(f"the simulated cluster does not know the directive {key}")
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = strategic_merge_patch(result.get(key) or {}, value)
        elif isinstance(value, list):
            result[key] = _join_by_name(key, result.get(key) or [], value)
        else:
            result[key] = value
    return result


def _join_by_name(key: str, items: list[Json], patches: list[Json]) -> list[Json]:
    if key not in LISTS_BY_NAME:
        raise bad_request(f"the simulated cluster does not know how to merge {key}")
    by_name = {item["name"]: item for item in items}
    for patch in patches:
        if "name" not in patch:
            raise bad_request(f"an item of {key} does not say its name")
        by_name[patch["name"]] = strategic_merge_patch(by_name.get(patch["name"], {}), patch)
    return list(by_name.values())
