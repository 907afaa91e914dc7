"""A service account for the bot, with rights that a test grants and takes away."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from clients.connections import Clients
from clients.permissions import refused
from clients.rights import Grant
from clients.settings import Kubernetes
from clients.target import Target
from tests.fix_kube import Kube, eventually

NAME = "release-bot"
RBAC = "rbac.authorization.k8s.io"


def rules(granted: Iterable[Grant]) -> list[dict[str, Any]]:
    """The rules of a Role that grants just this."""
    return [
        {
            "apiGroups": [grant.group],
            "resources": [grant.resource],
            "verbs": [grant.verb],
            **({"resourceNames": [grant.name]} if grant.name else {}),
        }
        for grant in granted
    ]


def account_kubeconfig(kube: Kube, namespace: str, folder: Path) -> Path:
    """A kubeconfig in ``folder`` with a token of the service account `release-bot` of ``namespace``."""
    made = kube.core.create_namespaced_service_account_token(
        NAME, namespace, {"spec": {"audiences": [], "expirationSeconds": 3600}}
    )
    settings = yaml.safe_load(kube.kubeconfig.read_text(encoding="utf-8"))
    settings["users"][0]["user"] = {"token": made.status.token}
    path = folder / "account"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


class BotAccount:
    """The service account `release-bot` of a namespace; `target` is what the bot gets to know of it."""

    def __init__(self, kube: Kube, folder: Path) -> None:
        self._kube, core, rbac = kube, kube.core, kube.rbac
        core.create_namespaced_service_account(kube.namespace, {"metadata": {"name": NAME}})
        subject = {"kind": "ServiceAccount", "name": NAME, "namespace": kube.namespace}
        role = {"apiGroup": RBAC, "kind": "Role", "name": NAME}
        rbac.create_namespaced_role(kube.namespace, {"metadata": {"name": NAME}, "rules": []})
        binding = {"metadata": {"name": NAME}, "roleRef": role, "subjects": [subject]}
        rbac.create_namespaced_role_binding(kube.namespace, binding)
        self.kubeconfig = account_kubeconfig(kube, kube.namespace, folder)
        where = Kubernetes(
            kubeconfig=str(self.kubeconfig), namespace=kube.namespace, deployment="web", container="main"
        )
        self.target = Target(name="production", kubernetes=where)

    def grant(self, granted: Iterable[Grant], watched: Iterable[Grant]) -> None:
        """Grant this and nothing else; returns once the server says so of each of ``watched``."""
        allowed, asked = set(granted), set(watched)
        body = {"metadata": {"name": NAME}, "rules": rules(allowed)}
        self._kube.rbac.replace_namespaced_role(NAME, self._kube.namespace, body)
        with Clients(self.target) as clients:
            kube = clients.kube()
            eventually("the rights", lambda: set(refused(kube, asked)) == asked - allowed)
