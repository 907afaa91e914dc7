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


def rules(grants: Iterable[Grant]) -> list[dict[str, Any]]:
    """The rules of a Role with exactly these rights."""
    return [
        {
            "apiGroups": [grant.group],
            "resources": [grant.resource],
            "verbs": [grant.verb],
            **({"resourceNames": [grant.name]} if grant.name else {}),
        }
        for grant in grants
    ]


def account_kubeconfig(kube: Kube, namespace: str, folder: Path) -> Path:
    """A kubeconfig in ``folder`` with a token of the service account `release-bot` of ``namespace``."""
    token_body = kube.core.create_namespaced_service_account_token(
        NAME, namespace, {"spec": {"audiences": [], "expirationSeconds": 3600}}
    )
    settings = yaml.safe_load(kube.kubeconfig.read_text(encoding="utf-8"))
    settings["users"][0]["user"] = {"token": token_body.status.token}
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
        cluster = Kubernetes(
            kubeconfig=str(self.kubeconfig), namespace=kube.namespace, deployment="web", container="main"
        )
        self.target = Target(name="production", kubernetes=cluster)

    def grant(self, grants: Iterable[Grant], watched_grants: Iterable[Grant]) -> None:
        """Grant exactly these rights; returns once the server says so of each of ``watched_grants``."""
        granted_rights, watched_rights = set(grants), set(watched_grants)
        body = {"metadata": {"name": NAME}, "rules": rules(granted_rights)}
        self._kube.rbac.replace_namespaced_role(NAME, self._kube.namespace, body)
        with Clients(self.target) as clients:
            kube = clients.kube()
            eventually("the rights", lambda: set(refused(kube, watched_rights)) == watched_rights - granted_rights)
