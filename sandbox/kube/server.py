"""The HTTP side of the simulated cluster: routes, tokens, bodies, watches, logs; and its start and stop."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web

from sandbox.kube import resources as res
from sandbox.kube.access import Access, Account, request_for
from sandbox.kube.certificate import ensure_certificate, server_tls, write_private
from sandbox.kube.controllers import Controllers
from sandbox.kube.errors import (
    StatusError,
    bad_request,
    invalid,
    method_not_allowed,
    no_such_path,
    patch_refused,
    unauthorized,
    unsupported_media_type,
)
from sandbox.kube.garbage import FOREGROUND, GarbageCollector
from sandbox.kube.kubelet import Kubelet
from sandbox.kube.patches import PatchError, json_patch, merge_patch, strategic_merge_patch
from sandbox.kube.podlogs import LogOptions, render
from sandbox.kube.resources import Resource
from sandbox.kube.selectors import Match, field_selector, label_selector, selector_text
from sandbox.kube.store import Change, Store
from sandbox.kube.tables import table
from sandbox.persist import Snapshot

Json = dict[str, Any]

FOLLOW_SECONDS = 0.1  # how often a followed log is looked at
FIELDS = {
    res.PODS: ("metadata.name", "metadata.namespace", "spec.nodeName", "status.phase"),
    res.JOBS: ("metadata.name", "metadata.namespace", "status.successful"),
    res.EVENTS: (
        "metadata.name",
        "metadata.namespace",
        "involvedObject.kind",
        "involvedObject.name",
        "involvedObject.namespace",
        "involvedObject.uid",
        "reason",
        "type",
    ),
}


class Target(NamedTuple):
    """What a path names: a kind, and maybe a namespace, an object and a subresource."""

    resource: Resource
    namespace: str
    name: str
    subresource: str


class KubeServer:
    """A Kubernetes API server with controllers and one node, in this process.

    Everything is kept in `data_dir`; a second start there goes on with the same objects, pods, token and, if it is
    free, port. `kubeconfig` is written when the server is up.
    """

    def __init__(self, data_dir: Path) -> None:
        self.kubeconfig = data_dir / "kubeconfig"
        self.url = ""
        self._folder = data_dir
        self._settings = Snapshot(data_dir / "server.json")
        self._token = ""
        self._runner: web.AppRunner | None = None
        self._watches: set[asyncio.Task[Any]] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Serve, and return the base URL. With `port` 0 the last one is tried first, then any free one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        saved = self._settings.load() or {}
        self._token = saved.get("token") or secrets.token_urlsafe(24)
        self._snapshot = Snapshot(self._folder / "objects.json")
        self.store = Store(self._snapshot)
        self._kubelet = Kubelet(self.store, self._folder)
        self._controllers = Controllers(self.store)
        self._garbage = GarbageCollector(self.store)
        self._access = Access(self.store, self._token)
        app = web.Application(client_max_size=4 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        certificate, key = ensure_certificate(self._folder / "pki")
        bound = await self._listen(host, port or saved.get("port", 0), server_tls(certificate, key))
        self.url = f"https://{host}:{bound}"
        self._settings.save({"token": self._token, "port": bound})
        self._settings.flush()
        self._write_kubeconfig(certificate)
        for name in ("default", "kube-system"):
            if self.store.find(res.NAMESPACES, "", name) is None:
                self.store.create(res.NAMESPACES, {"metadata": {"name": name}, "status": {"phase": "Active"}})
        self._kubelet.start()
        self._controllers.start()
        return self.url

    async def stop(self) -> None:
        """Stop serving and playing; the objects stay as they are, on disk."""
        if self._runner is None:
            return
        await self._controllers.stop()
        for watch in list(self._watches):
            watch.cancel()
        await self._runner.cleanup()
        await self._kubelet.stop()
        self._snapshot.flush()
        self._runner = None

    async def _listen(self, host: str, port: int, tls: Any) -> int:
        assert self._runner is not None
        try:
            await web.TCPSite(self._runner, host, port, ssl_context=tls).start()
        except OSError:
            if not port:
                raise
            await web.TCPSite(self._runner, host, 0, ssl_context=tls).start()  # somebody has taken our last port
        return int(self._runner.addresses[0][1])

    def _write_kubeconfig(self, certificate: Path) -> None:
        authority = base64.b64encode(certificate.read_bytes()).decode()
        cluster = {"server": self.url, "certificate-authority-data": authority}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sandbox", "cluster": cluster}],
            "users": [{"name": "sandbox", "user": {"token": self._token}}],
            "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
            "current-context": "sandbox",
        }
        write_private(self.kubeconfig, json.dumps(config, indent=2).encode())  # JSON is valid YAML

    # --- requests

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except StatusError as error:
            return web.json_response(error.status(), status=error.code)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        account = self._account(request)
        parts = [part for part in request.path.split("/") if part]
        if parts[:1] == ["apis"] and parts[1:] == ["authorization.k8s.io", "v1", "selfsubjectaccessreviews"]:
            return web.json_response(self._access.review(account, await _body(request)), status=201)
        if (document := _discovery(parts)) is not None:
            return document
        target = _target(parts)
        wanted = request_for(request.method, dict(request.query), *target)
        self._access.check(account, wanted, target.resource)
        # From here on nothing waits between a look at an object and its change: no controller comes in between.
        await request.read()
        if target.subresource:
            return await self._subresource(request, target)
        if not target.name:
            return await self._collection(request, target)
        return await self._object(request, target)

    def _account(self, request: web.Request) -> Account | None:
        """The service account that asks; None for the administrator. StatusError 401 for anybody else."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer" and hmac.compare_digest(token.encode(), self._token.encode()):
            return None
        account = self._access.who(token) if scheme == "Bearer" else None
        if account is None or self.store.find(res.SERVICEACCOUNTS, account.namespace, account.name) is None:
            raise unauthorized()
        return account

    async def _collection(self, request: web.Request, target: Target) -> web.StreamResponse:
        if request.method == "POST":
            obj = await _body(request)
            _check_body(target, obj)
            if target.resource is res.NAMESPACES:
                obj["status"] = {"phase": "Active"}
            else:
                obj.pop("status", None)
                obj["metadata"]["namespace"] = target.namespace
            return web.json_response(self.store.create(target.resource, obj), status=201)
        if request.method != "GET":
            raise method_not_allowed()
        labels = label_selector(request.query.get("labelSelector", ""))
        known = FIELDS.get(target.resource, ("metadata.name", "metadata.namespace"))
        fields = field_selector(request.query.get("fieldSelector", ""), known)

        def match(obj: Json) -> bool:
            return labels(obj) and fields(obj)

        if request.query.get("watch") in ("true", "1"):
            return await self._watch(request, target, match)
        found = [obj for obj in self.store.objects(target.resource, target.namespace) if match(obj)]
        if "as=Table" in request.headers.get("Accept", ""):
            return web.json_response(table(target.resource, found, self.store.version))
        kind, version = f"{target.resource.kind}List", target.resource.group_version
        listing: Json = {"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": self.store.version}}
        items = [{key: value for key, value in o.items() if key not in ("kind", "apiVersion")} for o in found]
        return web.json_response(listing | {"items": items})

    async def _object(self, request: web.Request, target: Target) -> web.StreamResponse:
        current = self.store.get(target.resource, target.namespace, target.name)
        if request.method == "GET":
            if "as=Table" in request.headers.get("Accept", ""):
                return web.json_response(table(target.resource, [current], self.store.version))
            return web.json_response(current)
        if request.method == "DELETE":
            return web.json_response(await self._delete(request, target, current))
        new = await self._changed(request, target, current)
        return web.json_response(self.store.update(target.resource, new))

    async def _subresource(self, request: web.Request, target: Target) -> web.StreamResponse:
        current = self.store.get(target.resource, target.namespace, target.name)
        if target.subresource == "log":
            return await self._log(request, current)
        if target.subresource == "token":
            token = self._access.token(Account(target.namespace, target.name))
            return web.json_response(await _body(request) | {"status": {"token": token}}, status=201)
        if target.subresource == "scale":
            return await self._scale(request, target, current)
        if request.method == "GET":
            return web.json_response(current)
        new = await self._changed(request, target, current)
        return web.json_response(self.store.update(target.resource, new, status=True))

    async def _changed(self, request: web.Request, target: Target, current: Json) -> Json:
        """The object that a PUT or a PATCH asks for."""
        if request.method == "PUT":
            new = await _body(request)
            _check_body(target, new)
            new["metadata"].setdefault("namespace", target.namespace)
            if not target.resource.namespaced:
                new["metadata"].pop("namespace")
            return new
        if request.method != "PATCH":
            raise method_not_allowed()
        kind = request.content_type
        patch = await _json(request)
        try:
            if kind == "application/json-patch+json":
                return json_patch(current, patch)
            if not isinstance(patch, dict):
                raise bad_request("the patch is no object")
            if kind == "application/merge-patch+json":
                return dict(merge_patch(current, patch))
            if kind == "application/strategic-merge-patch+json":
                return strategic_merge_patch(current, patch)
        except PatchError as error:
            raise patch_refused() from error
        raise unsupported_media_type()

    async def _scale(self, request: web.Request, target: Target, current: Json) -> web.StreamResponse:
        meta = {key: current["metadata"][key] for key in ("name", "namespace", "uid", "creationTimestamp")}
        meta["resourceVersion"] = current["metadata"]["resourceVersion"]
        scale: Json = {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta}
        scale["spec"] = {"replicas": current["spec"]["replicas"]}
        replicas = current["status"].get("replicas", 0)
        scale["status"] = {"replicas": replicas, "selector": selector_text(current["spec"]["selector"])}
        if request.method == "GET":
            return web.json_response(scale)
        wanted = await self._changed(request, target, scale)
        current["spec"]["replicas"] = (wanted.get("spec") or {}).get("replicas", 0)
        current["metadata"]["resourceVersion"] = wanted["metadata"].get("resourceVersion")
        stored = self.store.update(target.resource, current)
        scale["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
        return web.json_response(scale | {"spec": {"replicas": stored["spec"]["replicas"]}})

    async def _delete(self, request: web.Request, target: Target, current: Json) -> Json:
        options = await _body(request) if request.body_exists else {}
        uid = (options.get("preconditions") or {}).get("uid", current["metadata"]["uid"])
        if uid != current["metadata"]["uid"]:
            raise StatusError(409, "Conflict", f"the UID in the precondition ({uid}) does not match")
        policy = request.query.get("propagationPolicy") or options.get("propagationPolicy")
        policy = policy or ("Orphan" if target.resource is res.JOBS else "Background")
        grace = request.query.get("gracePeriodSeconds", options.get("gracePeriodSeconds"))
        if target.resource is res.NAMESPACES:
            return self.store.mark_deleted(target.resource, current)
        if target.resource is res.PODS and grace not in (0, "0"):
            default = current["spec"]["terminationGracePeriodSeconds"]
            return self.store.mark_deleted(target.resource, current, grace=int(default if grace is None else grace))
        if policy == "Foreground":
            return self.store.mark_deleted(target.resource, current, finalizer=FOREGROUND)
        if policy == "Orphan":
            self._garbage.orphan(current)
        self.store.remove(target.resource, target.namespace, target.name)
        details = {"name": target.name, "kind": target.resource.plural, "uid": current["metadata"]["uid"]}
        details |= {"group": target.resource.group} if target.resource.group else {}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    # --- streams

    async def _watch(self, request: web.Request, target: Target, match: Match) -> web.StreamResponse:
        changes: asyncio.Queue[Change] = asyncio.Queue()
        unsubscribe = self.store.subscribe(changes.put_nowait)
        shown: set[str] = set()  # uids that the client knows of

        def lines(change: Change) -> bytes:
            """The change as the client of this watch sees it: what stops matching is gone for it."""
            obj, uid = change.obj, change.obj["metadata"]["uid"]
            here = target.namespace in ("", obj["metadata"].get("namespace", ""))
            if change.resource is not target.resource or not here:
                return b""
            fits = change.kind != "DELETED" and match(obj)
            kind = ("MODIFIED" if uid in shown else "ADDED") if fits else "DELETED"
            if not fits and uid not in shown:
                return b""
            (shown.add if fits else shown.discard)(uid)
            return _line(kind, obj)

        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        watch = asyncio.current_task()
        assert watch is not None
        self._watches.add(watch)
        try:
            version = request.query.get("resourceVersion", "")
            missed = [] if version in ("", "0") else self.store.since(int(version))
            known = [obj for obj in self.store.objects(target.resource, target.namespace) if match(obj)]
            await response.prepare(request)
            if version in ("", "0"):
                shown |= {obj["metadata"]["uid"] for obj in known}
                await response.write(b"".join(_line("ADDED", obj) for obj in known))
            else:
                fresh = {change.obj["metadata"]["uid"] for change in missed if change.kind == "ADDED"}
                shown |= {obj["metadata"]["uid"] for obj in known} - fresh
                await response.write(b"".join(lines(change) for change in missed))
            limit = request.query.get("timeoutSeconds")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(int(limit) if limit else None):
                    while True:
                        if data := lines(await changes.get()):
                            await response.write(data)
            await response.write_eof()
        finally:
            unsubscribe()
            self._watches.discard(watch)
        return response

    async def _log(self, request: web.Request, pod: Json) -> web.StreamResponse:
        query = request.query
        options = LogOptions(
            since_seconds=_number(query, "sinceSeconds", pod, 1),
            tail_lines=_number(query, "tailLines", pod, 0),
            limit_bytes=_number(query, "limitBytes", pod, 1),
            timestamps=query.get("timestamps") in ("true", "True", "1"),
        )
        previous = query.get("previous") in ("true", "True", "1")
        log = self._kubelet.find_log(pod, query.get("container", ""), previous=previous)
        if query.get("follow") not in ("true", "True", "1"):
            return web.Response(body=log.read(options), content_type="text/plain")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async for chunk in self._follow(pod, log, options):
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _follow(self, pod: Json, log: Any, options: LogOptions) -> AsyncIterator[bytes]:
        """The log now and what is added to it, until its container has ended."""
        meta, seen = pod["metadata"], len(log.lines())
        yield log.read(options)
        while True:
            current = self.store.find(res.PODS, meta["namespace"], meta["name"])
            states = [s["state"] for s in ((current or {}).get("status") or {}).get("containerStatuses") or []]
            lines = log.lines()[seen:]
            seen += len(lines)
            if lines:
                yield render(lines, timestamps=options.timestamps)
            if not any("running" in state for state in states):
                return
            await asyncio.sleep(FOLLOW_SECONDS)


def _discovery(parts: list[str]) -> web.Response | None:
    """The answer to a path that describes the server, or None."""
    if parts in (["healthz"], ["readyz"], ["livez"]):
        return web.Response(text="ok")
    document: Json | None = None
    if parts == ["version"]:
        document = dict(res.VERSION)
    elif parts == ["api"]:
        document = res.core_versions()
    elif parts == ["apis"]:
        document = res.groups()
    elif parts[:1] == ["api"] and len(parts) == 2:
        document = res.resource_list("", parts[1])
    elif parts[:1] == ["apis"] and len(parts) == 3:
        document = res.resource_list(parts[1], parts[2])
    return web.json_response(document) if document else None


def _target(parts: list[str]) -> Target:
    """What the path of a resource names; StatusError 404 where it names none."""
    if parts[:1] == ["api"]:
        group, rest = "", parts[1:]
    elif parts[:1] == ["apis"] and len(parts) > 1:
        group, rest = parts[1], parts[2:]
    else:
        raise no_such_path()
    version, rest = (rest[0], rest[1:]) if rest else ("", [])
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] != "status":
        namespace, rest = rest[1], rest[2:]
    resource = res.BY_PATH.get((group, version, rest[0] if rest else ""))
    if resource is None or len(rest) > 3 or (len(rest) > 1 and resource.namespaced and not namespace):
        raise no_such_path()
    name, subresource = (*rest[1:], "", "")[:2]
    if subresource and subresource not in resource.subresources:
        raise no_such_path()
    return Target(resource, namespace, name, subresource)


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError as error:
        raise bad_request(f"the body is not JSON: {error}") from error


async def _body(request: web.Request) -> Json:
    """The object in the body of a POST, PUT or DELETE."""
    if "protobuf" in request.content_type or "yaml" in request.content_type:
        raise unsupported_media_type()
    found = await _json(request)
    if not isinstance(found, dict):
        raise bad_request("the body is no object")
    return found


def _check_body(target: Target, obj: Json) -> None:
    """Refuse an object that does not belong to the path it was sent to."""
    meta = obj.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise bad_request("metadata is no object")
    for field, wanted in (("kind", target.resource.kind), ("apiVersion", target.resource.group_version)):
        if obj.get(field, wanted) != wanted:
            raise bad_request(f"the {field} in the data ({obj[field]}) does not match the expected one ({wanted})")
    for field, value in (("name", target.name), ("namespace", target.namespace)):
        if value and meta.get(field, value) != value:
            text = f"the {field} of the provided object does not match the {field} sent on the request"
            raise bad_request(text)
    if target.name:
        meta.setdefault("name", target.name)


def _number(query: Any, name: str, pod: Json, least: int) -> int | None:
    """A whole number among the log options; 400 for no number, 422 for one below `least`."""
    text = query.get(name)
    if text is None:
        return None
    try:
        value = int(text)
    except ValueError as error:
        raise bad_request(f"{name}: {text!r} is no number") from error
    if value < least:
        meaning = Resource("", "v1", "pods", "PodLogOptions")
        why = f"Invalid value: {value}: must be greater than or equal to {least}"
        raise invalid(meaning, pod["metadata"]["name"], [(name, "FieldValueInvalid", why)])
    return value


def _line(kind: str, obj: Json) -> bytes:
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"
