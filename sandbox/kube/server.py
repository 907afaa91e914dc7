"""The simulated cluster: its start, its stop, and the kubeconfig that leads to it."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

from aiohttp import web

from sandbox.kube import resources as res
from sandbox.kube.api import Api
from sandbox.kube.certificate import ensure_certificate, server_tls, write_private
from sandbox.kube.controllers import Controllers
from sandbox.kube.kubelet import Kubelet
from sandbox.kube.store import ObjectStore
from sandbox.persist import Snapshot

MAX_BODY_BYTES = 4 << 20


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
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Serve, and return the base URL. With `port` 0 the last one is tried first, then any free one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._settings.load() or {}
        token = settings.get("token") or secrets.token_urlsafe(24)
        self._snapshot = Snapshot(self._folder / "objects.json")
        self._store = ObjectStore(self._snapshot)
        self._kubelet = Kubelet(self._store, self._folder)
        self._controllers = Controllers(self._store)
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", Api(self._store, self._kubelet, token).handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        authority, certificate = ensure_certificate(self._folder / "pki")
        port = await self._listen(host, port or settings.get("port", 0), certificate)
        self.url = f"https://{host}:{port}"
        self._settings.save({"token": token, "port": port})
        self._settings.flush()
        self._write_kubeconfig(authority, token)
        for name in ("default", "kube-system"):
            if self._store.find(res.NAMESPACES, "", name) is None:
                self._store.create(res.NAMESPACES, {"metadata": {"name": name}, "status": {"phase": "Active"}})
        self._kubelet.start()
        self._controllers.start()
        return self.url

    async def stop(self) -> None:
        """Stop serving and playing; the objects stay as they are, on disk."""
        if self._runner is None:
            return
        await self._controllers.stop()
        await self._runner.cleanup()
        await self._kubelet.stop()
        self._snapshot.flush()
        self._runner = None

    async def _listen(self, host: str, port: int, certificate: Path) -> int:
        assert self._runner is not None
        tls = server_tls(certificate)
        try:
            await web.TCPSite(self._runner, host, port, ssl_context=tls).start()
        except OSError:
            if not port:
                raise
            await web.TCPSite(self._runner, host, 0, ssl_context=tls).start()  # somebody has taken our last port
        return int(self._runner.addresses[0][1])

    def _write_kubeconfig(self, authority: Path, token: str) -> None:
        data = base64.b64encode(authority.read_bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sandbox", "cluster": {"server": self.url, "certificate-authority-data": data}}],
            "users": [{"name": "sandbox", "user": {"token": token}}],
            "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
            "current-context": "sandbox",
        }
        write_private(self.kubeconfig, json.dumps(config, indent=2).encode())  # JSON is valid YAML
