"""The bot's service account in a cluster, with the Roles that deploy/kubernetes ships and no other right.

Written through the API only, so that it works on the simulator and on a real API server. What is there already gets the
rules of the files again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from sandbox.kube.certificate import write_private
from sandbox.kube.client import KubeClient, current

Json = dict[str, Any]

ACCOUNT = "release-bot"
BOT = "release-bot"  # its namespace, in which it may do nothing
FILES = (
    "base/serviceaccount.yaml",
    "rights/roles.yaml",
    "rights/bindings.yaml",
    "overlays/example/referred.yaml",
)
COLLECTIONS = {
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
}
TOKEN_SECONDS = 7 * 86_400  # of a token; each start of the sandbox makes a new one


async def install(kubeconfig: Path, manifests: Path, names: Mapping[str, str], to: Path) -> Path:
    """Make the account with its rights, and write a kubeconfig with a token of it to the file ``to``, which is returned.

    ``kubeconfig`` is an administrator's, ``shipped`` the folder deploy/kubernetes, ``names`` the namespaces by their names in
    its files; those of the product exist. Raises KubeError where the API server refuses, OSError without the files.
    """
    async with KubeClient(kubeconfig) as client:
        namespace = names[BOT]
        await client.create(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        )
        for obj in shipped_objects(manifests, names):
            await _put(client, obj)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        answer = await client.post(
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{ACCOUNT}/token",
            request | {"spec": {"audiences": [], "expirationSeconds": TOKEN_SECONDS}},
        )
    write_private(to, json.dumps(_config(kubeconfig, answer["status"]["token"]), indent=2).encode())
    return to


def shipped_objects(manifests: Path, names: Mapping[str, str]) -> Iterator[Json]:
    """What the files hold, in the namespaces of ``names``."""
    for file in FILES:
        for obj in yaml.safe_load_all((manifests / file).read_text(encoding="utf-8")):
            parts = obj["metadata"], *obj.get("subjects", [])
            for part in parts:
                part["namespace"] = names[part.get("namespace", BOT)]
            yield obj


async def _put(client: KubeClient, obj: Json) -> None:
    base, plural = COLLECTIONS[obj["kind"]]
    collection = f"{base}/namespaces/{obj['metadata']['namespace']}/{plural}"
    if not await client.create(collection, obj):
        patch: Json = {key: obj[key] for key in ("rules", "subjects") if key in obj}
        await client.merge(f"{collection}/{obj['metadata']['name']}", patch)


def _config(kubeconfig: Path, token: str) -> Json:
    """A kubeconfig for the cluster of another one, with everything of it inside."""
    cluster, _ = current(kubeconfig)
    if "certificate-authority" in cluster:  # as a path, which is seen from where the file is
        authority = (kubeconfig.parent / cluster.pop("certificate-authority")).read_bytes()
        cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": ACCOUNT, "user": {"token": token}}],
        "contexts": [{"name": ACCOUNT, "context": {"cluster": "cluster", "user": ACCOUNT}}],
        "current-context": ACCOUNT,
    }
