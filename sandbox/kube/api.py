"""The requests that the simulated API server answers: objects and collections, logs, tokens, reviews of one's own rights.

A request for what it does not know (a watch, a field selector, another propagation policy than Background) is refused with 400 or
404, so that nothing that is built on it seems to work.
"""

from __future__ import annotations

import hmac
import json
from typing import Any, NamedTuple

from aiohttp import web

from sandbox.kube import resources as res
from sandbox.kube.access import Access, ServiceAccount, request_for
from sandbox.kube.errors import (
    StatusError,
    bad_request,
    method_not_allowed,
    no_such_path,
    unauthorized,
    unsupported_media_type,
)
from sandbox.kube.kubelet import Kubelet
from sandbox.kube.patches import json_patch, merge_patch, strategic_merge_patch
from sandbox.kube.resources import Resource
from sandbox.kube.selectors import label_selector
from sandbox.kube.store import ObjectStore

Json = dict[str, Any]

PATCHES = {
    "application/json-patch+json": json_patch,
    "application/merge-patch+json": merge_patch,
    "application/strategic-merge-patch+json": strategic_merge_patch,
}
UNKNOWN_PARAMETERS = ("watch", "fieldSelector", "follow", "timestamps")


class ApiPath(NamedTuple):
    """What a path names: a kind, and maybe a namespace, an object and a subresource."""

    resource: Resource
    namespace: str
    name: str
    subresource: str


class Api:
    """Answers each request from the store; `token` is the administrator's."""

    def __init__(self, store: ObjectStore, kubelet: Kubelet, token: str) -> None:
        self._store, self._kubelet, self._token = store, kubelet, token
        self._access = Access(store, token)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request, a refusal as a Status object."""
        try:
            return await self._answer(request)
        except StatusError as error:
            return web.json_response(error.status(), status=error.code)

    async def _answer(self, request: web.Request) -> web.Response:
        account = self._account(request)
        parts = [part for part in request.path.split("/") if part]
        if parts == ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"]:
            return web.json_response(self._access.review(account, await _body(request)), status=201)
        if (document := res.describe(parts)) is not None:
            return web.json_response(document)
        target = _target(parts)
        self._access.check(account, request_for(request.method, *target), target.resource)
        if unknown := [name for name in UNKNOWN_PARAMETERS if request.query.get(name) not in (None, "false")]:
            raise bad_request(f"the simulated cluster does not know the parameter {unknown[0]}")
        # From here on nothing waits between a look at an object and its change: no controller comes in between.
        await request.read()
        if target.subresource:
            return await self._answer_subresource(request, target)
        if not target.name:
            return await self._answer_collection(request, target)
        return await self._answer_object(request, target)

    def _account(self, request: web.Request) -> ServiceAccount | None:
        """The service account that asks; None for the administrator. StatusError 401 for anybody else."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer" and hmac.compare_digest(token.encode(), self._token.encode()):
            return None
        account = self._access.account_of(token) if scheme == "Bearer" else None
        if account is None or self._store.find(res.SERVICEACCOUNTS, account.namespace, account.name) is None:
            raise unauthorized()
        return account

    async def _answer_collection(self, request: web.Request, target: ApiPath) -> web.Response:
        if request.method == "POST":
            obj = await _body(request)
            _check_body(target, obj)
            if target.resource is res.NAMESPACES:
                obj["status"] = {"phase": "Active"}
            else:
                obj.pop("status", None)
                obj["metadata"]["namespace"] = target.namespace
            return web.json_response(self._store.create(target.resource, obj), status=201)
        if request.method != "GET":
            raise method_not_allowed()
        is_meant = label_selector(request.query.get("labelSelector", ""))
        objects = [obj for obj in self._store.objects(target.resource, target.namespace) if is_meant(obj)]
        return web.json_response(
            {
                "kind": f"{target.resource.kind}List",
                "apiVersion": target.resource.group_version,
                "metadata": {"resourceVersion": self._store.version},
                "items": [{key: obj[key] for key in obj if key not in ("kind", "apiVersion")} for obj in objects],
            }
        )

    async def _answer_object(self, request: web.Request, target: ApiPath) -> web.Response:
        current = self._store.get(target.resource, target.namespace, target.name)
        match request.method:
            case "GET":
                return web.json_response(current)
            case "DELETE":
                return web.json_response(await self._delete(request, target, current))
            case "PUT":
                new = await _body(request)
                _check_body(target, new)
                new["metadata"] |= {"name": target.name, "namespace": target.namespace}
            case "PATCH" if request.content_type in PATCHES:
                new = PATCHES[request.content_type](current, await _json(request))
            case "PATCH":
                raise unsupported_media_type()
            case _:
                raise method_not_allowed()
        return web.json_response(self._store.update(target.resource, new))

    async def _answer_subresource(self, request: web.Request, target: ApiPath) -> web.Response:
        current = self._store.get(target.resource, target.namespace, target.name)
        if target.subresource == "token":
            token = self._access.token(ServiceAccount(target.namespace, target.name))
            return web.json_response(await _body(request) | {"status": {"token": token}}, status=201)
        query = request.query
        is_previous = query.get("previous") in ("true", "True")
        log = self._kubelet.find_log(current, query.get("container", ""), previous=is_previous)
        content = log.read(
            since_seconds=_number(query.get("sinceSeconds")),
            tail_lines=_number(query.get("tailLines")),
            limit_bytes=_number(query.get("limitBytes")),
        )
        return web.Response(body=content, content_type="text/plain")

    async def _delete(self, request: web.Request, target: ApiPath, current: Json) -> Json:
        options = await _body(request) if request.body_exists else {}
        uid = (options.get("preconditions") or {}).get("uid", current["metadata"]["uid"])
        if uid != current["metadata"]["uid"]:
            raise StatusError(409, "Conflict", f"the UID in the precondition ({uid}) does not match")
        policy = request.query.get("propagationPolicy") or options.get("propagationPolicy")
        if (policy or ("Orphan" if target.resource is res.JOBS else "Background")) != "Background":
            raise bad_request("the simulated cluster deletes in the background only: say propagationPolicy=Background")
        if target.resource is res.NAMESPACES:
            return self._store.mark_deleted(target.resource, current)
        if target.resource is res.PODS:
            default = options.get("gracePeriodSeconds", current["spec"]["terminationGracePeriodSeconds"])
            if grace := int(request.query.get("gracePeriodSeconds", default)):
                return self._store.mark_deleted(target.resource, current, grace=grace)
        self._store.remove(target.resource, target.namespace, target.name)
        if target.resource is res.PODS:
            return current
        details = {"name": target.name, "kind": target.resource.plural, "uid": current["metadata"]["uid"]}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _target(parts: list[str]) -> ApiPath:
    """What the path of a resource names; StatusError 404 where it names none."""
    match parts:
        case ["api", version, *rest]:
            group = ""
        case ["apis", group, version, *rest]:
            pass
        case _:
            raise no_such_path()
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource = res.BY_PATH.get((group, version, rest[0] if rest else ""))
    if resource is None or len(rest) > 3 or (len(rest) > 1 and resource.is_namespaced and not namespace):
        raise no_such_path()
    name, subresource = (*rest[1:], "", "")[:2]
    if subresource not in ("", resource.subresource):
        raise no_such_path()
    return ApiPath(resource, namespace, name, subresource)


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError as error:
        raise bad_request(f"the body is not JSON: {error}") from error


async def _body(request: web.Request) -> Json:
    """The object in the body of a POST, PUT or DELETE."""
    body = await _json(request)
    if not isinstance(body, dict):
        raise bad_request("the body is no object")
    return body


def _check_body(target: ApiPath, obj: Json) -> None:
    """Refuse an object that does not belong to the path it was sent to."""
    meta = obj.setdefault("metadata", {})
    for field, value in (("kind", target.resource.kind), ("apiVersion", target.resource.group_version)):
        if obj.get(field, value) != value:
            raise bad_request(f"the {field} in the data ({obj[field]}) does not match the expected one ({value})")
    for field, value in (("name", target.name), ("namespace", target.namespace)):
        if value and meta.get(field, value) != value:
            raise bad_request(f"the {field} of the provided object does not match the {field} sent on the request")


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
