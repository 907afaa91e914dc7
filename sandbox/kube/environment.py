"""The environment variables of a container: values, and what is in ConfigMaps and Secrets."""

from __future__ import annotations

import base64
import re
from typing import Any

from sandbox.kube.resources import CONFIGMAPS, SECRETS, Resource
from sandbox.kube.store import ObjectStore

Json = dict[str, Any]


class SimulatorConfigError(Exception):
    """A container refers to a ConfigMap, a Secret or a key that is not there: it waits until it is."""


def container_environment(store: ObjectStore, namespace: str, container: Json) -> dict[str, str]:
    """All variables of `env` and `envFrom`, resolved now; SimulatorConfigError where something they need is missing.

    Fields of the pod (`fieldRef`, `resourceFieldRef`) are empty.
    """
    variables: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        for field, resource in (("configMapRef", CONFIGMAPS), ("secretRef", SECRETS)):
            if field in source:
                data = _data(store, resource, namespace, source[field])
                variables |= {source.get("prefix", "") + key: value for key, value in data.items()}
    for item in container.get("env") or []:
        source = item.get("valueFrom")
        value = expand(item.get("value") or "", variables) if source is None else _value(store, namespace, source)
        if value is not None:
            variables[item["name"]] = value
    return variables


def expand(text: str, variables: dict[str, str]) -> str:
    """Replace $(NAME) as Kubernetes does; $$ is a dollar sign, an unknown name stays as it is."""
    return re.sub(r"\$\$|\$\(([^)]+)\)", lambda m: "$" if m[0] == "$$" else variables.get(m[1], m[0]), text)


def _value(store: ObjectStore, namespace: str, source: Json) -> str | None:
    for field, resource in (("configMapKeyRef", CONFIGMAPS), ("secretKeyRef", SECRETS)):
        if ref := source.get(field):
            data = _data(store, resource, namespace, ref)
            if ref["key"] not in data and not ref.get("optional"):
                raise SimulatorConfigError(f"couldn't find key {ref['key']} in {resource.kind} {ref['name']}")
            return data.get(ref["key"])
    return ""


def _data(store: ObjectStore, resource: Resource, namespace: str, ref: Json) -> dict[str, str]:
    name = ref.get("name", "")
    obj = store.find(resource, namespace, name)
    if obj is None and not ref.get("optional"):
        raise SimulatorConfigError(f'{resource.kind.lower()} "{name}" not found')
    data: dict[str, str] = (obj or {}).get("data") or {}
    if resource is SECRETS:
        return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
    return data
