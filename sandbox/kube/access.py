"""Authentication by tokens of service accounts, authorization by Roles and RoleBindings, reviews of one's own rights."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from sandbox.kube import resources as res
from sandbox.kube.errors import forbidden
from sandbox.kube.resources import Resource
from sandbox.kube.store import ObjectStore

Json = dict[str, Any]

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class ServiceAccount:
    """A service account; its rights are those of the Roles that are bound to it."""

    namespace: str
    name: str

    @property
    def user(self) -> str:
        """Its user name in refusals."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


@dataclass(frozen=True)
class Request:
    """A request in the words of a Role."""

    verb: str
    group: str
    resource: str  # plural, with its subresource: pods/log
    namespace: str
    name: str = ""


class Access:
    """Knows the accounts by their tokens, and looks up what they may do at each request."""

    def __init__(self, store: ObjectStore, secret: str) -> None:
        """``secret``: the administrator's token, of which those of the accounts are made."""
        self._store, self._secret = store, secret

    def token(self, account: ServiceAccount) -> str:
        """The token of an account; always the same, so it survives a restart."""
        mark = hmac.new(self._secret.encode(), account.user.encode(), hashlib.sha256).hexdigest()
        return f"{account.namespace}.{account.name}.{mark}"

    def account_of(self, token: str) -> ServiceAccount | None:
        """The account of a token, or None when it is no account's."""
        namespace, _, rest = token.partition(".")
        account = ServiceAccount(namespace, rest.rpartition(".")[0])
        return account if hmac.compare_digest(self.token(account).encode(), token.encode()) else None

    def check(self, account: ServiceAccount | None, request: Request, resource: Resource) -> None:
        """Refuse what is not granted: StatusError 403 in the words of kube-apiserver."""
        if not self.allows(account, request):
            assert account is not None
            raise forbidden(resource, request.name, _refusal(account, request, resource))

    def allows(self, account: ServiceAccount | None, request: Request) -> bool:
        """Whether a Role in that namespace, bound to the account there, has a rule for it."""
        if account is None:
            return True
        subject = {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}
        for binding in self._store.objects(res.ROLEBINDINGS, request.namespace) if request.namespace else []:
            if not any(subject.items() <= one.items() for one in binding.get("subjects") or []):
                continue
            role = self._store.find(res.ROLES, request.namespace, binding["roleRef"]["name"])
            if role is not None and any(_covers(rule, request) for rule in role.get("rules") or []):
                return True
        return False

    def review(self, account: ServiceAccount | None, body: Json) -> Json:
        """The answer to a SelfSubjectAccessReview."""
        attributes = (body.get("spec") or {}).get("resourceAttributes") or {}
        resource = "/".join(filter(None, (attributes.get("resource"), attributes.get("subresource"))))
        verb, group, namespace, name = (attributes.get(key, "") for key in ("verb", "group", "namespace", "name"))
        request = Request(verb, group, resource, namespace, name)
        return body | {"status": {"allowed": self.allows(account, request)}}


def request_for(method: str, resource: Resource, namespace: str, name: str, subresource: str) -> Request:
    """What an HTTP request asks for, in the words of a Role."""
    verb = VERBS.get(method, "get" if name else "list")
    what = f"{resource.plural}/{subresource}" if subresource else resource.plural
    return Request(verb, resource.group, what, namespace, name)


def _covers(rule: Json, request: Request) -> bool:
    """Whether a rule grants a request; one with `*` grants nothing here."""
    names = rule.get("resourceNames") or [request.name]
    return (
        request.verb in rule["verbs"]
        and request.group in rule["apiGroups"]
        and request.resource in rule["resources"]
        and request.name in names
    )


def _refusal(account: ServiceAccount, request: Request, resource: Resource) -> str:
    where = f' in the namespace "{request.namespace}"' if request.namespace else " at the cluster scope"
    name = f' "{request.name}"' if request.name else ""
    what = f'cannot {request.verb} resource "{request.resource}" in API group "{request.group}"{where}'
    return f'{resource.full_name}{name} is forbidden: User "{account.user}" {what}'
