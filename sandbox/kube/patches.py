"""The three kinds of PATCH that Kubernetes knows, as pure functions on JSON values.

Sources: RFC 7386 (merge patch), RFC 6902 (JSON patch), and the strategic merge patch of kubernetes.io
"Update API Objects in Place Using kubectl patch".
"""

from __future__ import annotations

import copy
from typing import Any

Json = dict[str, Any]

# Lists that a strategic merge patch joins by a key instead of replacing them: `patchMergeKey` in k8s.io/api.
MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "env": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "hostAliases": "ip",
    "conditions": "type",
    "ownerReferences": "uid",
    "secrets": "name",
}
MERGED_VALUES = {"finalizers"}  # lists of plain values that are joined


class PatchError(Exception):
    """A patch that does not apply to this object, or is no patch."""


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: dictionaries are merged, null removes, all else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def strategic_merge_patch(target: Json, patch: Json) -> Json:
    """Like `merge_patch`, but lists with a merge key are joined by it, and the `$patch` directives are followed."""
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    result = dict(target)
    for key, value in patch.items():
        if key.startswith(("$setElementOrder/", "$deleteFromPrimitiveList/", "$retainKeys")):
            continue
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            old = result.get(key)
            result[key] = strategic_merge_patch(old if isinstance(old, dict) else {}, value)
        elif isinstance(value, list):
            result[key] = _merge_list(key, result.get(key) or [], value)
        else:
            result[key] = value
    _follow_list_directives(result, patch)
    return result


def json_patch(target: Json, operations: Any) -> Json:
    """RFC 6902, all six operations; PatchError where one of them does not apply, a `test` that fails among them."""
    if not isinstance(operations, list):
        raise PatchError("a JSON patch is a list of operations")
    document: Any = copy.deepcopy(target)
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise PatchError("an operation needs a path")
        document = _apply(document, operation)
    if not isinstance(document, dict):
        raise PatchError("the result is no object")
    return document


def _merge_list(name: str, old: list[Any], patch: list[Any]) -> list[Any]:
    if name in MERGED_VALUES:
        return old + [value for value in patch if value not in old]
    key = MERGE_KEYS.get(name)
    if key is None or not all(isinstance(item, dict) for item in [*old, *patch]):
        return copy.deepcopy(patch)
    if {"$patch": "replace"} in patch:
        return [copy.deepcopy(item) for item in patch if item != {"$patch": "replace"}]
    result = list(old)
    for item in patch:
        if "$patch" not in item and key not in item:
            raise PatchError(f"an item of {name} does not say its {key}")
        at = next((n for n, found in enumerate(result) if found.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            result.append(strategic_merge_patch({}, item))
        else:
            result[at] = strategic_merge_patch(result[at], item)
    return result


def _follow_list_directives(result: Json, patch: Json) -> None:
    for key, value in patch.items():
        kind, _, name = key.partition("/")
        if kind == "$deleteFromPrimitiveList" and isinstance(result.get(name), list):
            result[name] = [item for item in result[name] if item not in value]
        if kind == "$setElementOrder" and isinstance(result.get(name), list):
            merge_key = MERGE_KEYS.get(name)

            def identity(item: Any, by: str | None = merge_key) -> Any:
                return item.get(by) if by and isinstance(item, dict) else item

            order = [identity(item) for item in value]
            listed = iter(
                sorted((i for i in result[name] if identity(i) in order), key=lambda i: order.index(identity(i)))
            )
            result[name] = [next(listed) if identity(item) in order else item for item in result[name]]


def _apply(document: Any, operation: Json) -> Any:
    kind, path = operation.get("op"), operation["path"]
    if kind in ("add", "replace", "test") and "value" not in operation:
        raise PatchError(f"{kind} needs a value")
    if kind == "test":
        if _get(document, path) != operation["value"]:
            raise PatchError(f"test failed at {path}")
        return document
    if kind == "remove":
        return _remove(document, path)
    if kind == "add":
        return _add(document, path, copy.deepcopy(operation["value"]))
    if kind == "replace":
        _get(document, path)
        return _set(document, path, copy.deepcopy(operation["value"]))
    if kind in ("move", "copy"):
        value = copy.deepcopy(_get(document, operation.get("from", "")))
        if kind == "move":
            document = _remove(document, operation["from"])
        return _add(document, path, value)
    raise PatchError(f"no such operation: {kind}")


def _tokens(path: str) -> list[str]:
    if path == "":
        return []
    if not path.startswith("/"):
        raise PatchError(f"no JSON pointer: {path}")
    return [token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/")]


def _step(value: Any, token: str) -> Any:
    if isinstance(value, dict) and token in value:
        return value[token]
    if isinstance(value, list) and token.isdecimal() and int(token) < len(value):
        return value[int(token)]
    raise PatchError(f"nothing at {token}")


def _get(document: Any, path: str) -> Any:
    for token in _tokens(path):
        document = _step(document, token)
    return document


def _parent(document: Any, path: str) -> tuple[Any, str]:
    *head, last = _tokens(path)
    for token in head:
        document = _step(document, token)
    return document, last


def _add(document: Any, path: str, value: Any) -> Any:
    if path == "":
        return value
    parent, last = _parent(document, path)
    if isinstance(parent, list):
        at = len(parent) if last == "-" else int(last) if last.isdecimal() else -1
        if not 0 <= at <= len(parent):
            raise PatchError(f"no place at {path}")
        parent.insert(at, value)
        return document
    return _set(document, path, value)


def _set(document: Any, path: str, value: Any) -> Any:
    if path == "":
        return value
    parent, last = _parent(document, path)
    if isinstance(parent, list):
        parent[int(last)] = value
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise PatchError(f"no place at {path}")
    return document


def _remove(document: Any, path: str) -> Any:
    _get(document, path)
    if path == "":
        raise PatchError("the whole document cannot be removed")
    parent, last = _parent(document, path)
    del parent[int(last) if isinstance(parent, list) else last]
    return document
