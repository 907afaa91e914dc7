"""Who asks, and may they: tokens of service accounts, Roles and RoleBindings, and the question what one may do."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from sandbox.kube import resources as res
from sandbox.kube.errors import forbidden
from sandbox.kube.resources import Resource
from sandbox.kube.store import Store

Json = dict[str, Any]

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Account:
    """A service account. Its rights are those of the Roles that are bound to it; whoever is none may do everything."""

    namespace: str
    name: str

    @property
    def user(self) -> str:
        """As whom the server knows it."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


@dataclass(frozen=True)
class Request:
    """What somebody wants to do, in the words of a Role."""

    verb: str
    group: str
    resource: str  # plural, with its subresource: pods/log
    namespace: str
    name: str = ""


class Access:
    """Knows the accounts by their tokens, and looks up what they may do at each request."""

    def __init__(self, store: Store, secret: str) -> None:
        """``secret``: the administrator's token, of which those of the accounts are made."""
        self._store, self._secret = store, secret

    def token(self, account: Account) -> str:
        """The token of an account; always the same, so it survives a restart."""
        mark = hmac.new(self._secret.encode(), account.user.encode(), hashlib.sha256).hexdigest()
        return f"{account.namespace}.{account.name}.{mark}"

    def who(self, token: str) -> Account | None:
        """The account of a token, or None when it is no account's."""
        namespace, _, rest = token.partition(".")
        account = Account(namespace, rest.rpartition(".")[0])
        return account if hmac.compare_digest(self.token(account).encode(), token.encode()) else None

    def check(self, account: Account | None, wanted: Request, resource: Resource) -> None:
        """Refuse what is not granted: StatusError 403 in the words of kube-apiserver."""
        if not self.allows(account, wanted):
            assert account is not None
            raise forbidden(resource, wanted.name, _refusal(account, wanted, resource))

    def allows(self, account: Account | None, wanted: Request) -> bool:
        """Whether a Role in that namespace, bound to the account there, has a rule for it."""
        if account is None:
            return True
        subject = {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}
        for binding in self._store.objects(res.ROLEBINDINGS, wanted.namespace) if wanted.namespace else []:
            if not any(subject.items() <= one.items() for one in binding.get("subjects") or []):
                continue
            role = self._store.find(res.ROLES, wanted.namespace, binding["roleRef"]["name"])
            if role is not None and any(_covers(rule, wanted) for rule in role.get("rules") or []):
                return True
        return False

    def review(self, account: Account | None, body: Json) -> Json:
        """The answer to a SelfSubjectAccessReview."""
        asked = (body.get("spec") or {}).get("resourceAttributes") or {}
        resource = "/".join(filter(None, (asked.get("resource", ""), asked.get("subresource", ""))))
        wanted = Request(
            asked.get("verb", ""),
            asked.get("group", ""),
            resource,
            asked.get("namespace", ""),
            asked.get("name", ""),
        )
        return body | {"status": {"allowed": self.allows(account, wanted)}}


def request_for(method: str, query: Json, resource: Resource, namespace: str, name: str, subresource: str) -> Request:
    """A request by HTTP in the words of a Role."""
    verb = VERBS.get(method, "get" if name else "list")
    if verb == "list" and query.get("watch") in ("true", "1"):
        verb = "watch"
    what = f"{resource.plural}/{subresource}" if subresource else resource.plural
    return Request(verb, resource.group, what, namespace, name)


def _covers(rule: Json, wanted: Request) -> bool:
    def has(key: str, value: str) -> bool:
        return bool({"*", value} & set(rule.get(key) or []))

    named = rule.get("resourceNames") or []
    known = wanted.name and wanted.name in named
    return (
        has("verbs", wanted.verb)
        and has("apiGroups", wanted.group)
        and has("resources", wanted.resource)
        and (not named or bool(known))
    )


def _refusal(account: Account, wanted: Request, resource: Resource) -> str:
    where = f' in the namespace "{wanted.namespace}"' if wanted.namespace else " at the cluster scope"
    named = f' "{wanted.name}"' if wanted.name else ""
    what = f'cannot {wanted.verb} resource "{wanted.resource}" in API group "{wanted.group}"{where}'
    return f'{resource.full}{named} is forbidden: User "{account.user}" {what}'
