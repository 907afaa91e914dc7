"""Fixture `vendors`: the simulated GitHub and Vercel on their own, fresh for each test, with links that a test can break."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import AnyHttpUrl, SecretStr

from clients.github import GitHub
from clients.settings import GitHubSettings, VercelSettings
from clients.vercel import Vercel
from sandbox.faults import Faults
from sandbox.persist import Snapshot
from sandbox.staging import github, vercel
from sandbox.staging.serving import Server, listen
from sandbox.staging.versions import GITHUB_REPOSITORY

T = TypeVar("T")
FaultChooser = Callable[
    [str, str], int | str | None
]  # (method, path) -> a status, "lost" for a lost reply, None to let it pass


def github_settings(url: str) -> GitHubSettings:
    """The simulated GitHub at ``url``."""
    return GitHubSettings(url=AnyHttpUrl(url), repository=GITHUB_REPOSITORY, token=SecretStr(github.TOKEN))


def vercel_settings(url: str) -> VercelSettings:
    """The simulated Vercel at ``url``."""
    return VercelSettings(url=AnyHttpUrl(url), project=vercel.PROJECT, team=vercel.TEAM, token=SecretStr(vercel.TOKEN))


class Vendors:
    """Both servers in one event loop of a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self.faults = Faults()
        self.calls: list[tuple[str, str]] = []  # method and path of what was asked for, broken ones too
        self.fault_for: FaultChooser = lambda method, path: None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.sim_vercel = vercel.VercelSimulator(self.faults, Snapshot(folder / "vercel.json"), pace=0.1)
        self.sim_github = github.GitHubSimulator(
            self.faults, Snapshot(folder / "github.json"), on_tag=self.sim_vercel.build_of_tag
        )
        self._servers = [self._serve(self.sim_github.app), self._serve(self.sim_vercel.app)]
        self.github_url, self.vercel_url = (server.url for server in self._servers)
        self.github = GitHub(self.github_url, GITHUB_REPOSITORY, github.TOKEN)
        self.vercel = Vercel(self.vercel_url, vercel.TOKEN, vercel.PROJECT, vercel.TEAM)
        self.parts = {
            "github": github_settings(self.github_url),
            "vercel": vercel_settings(self.vercel_url),
        }  # of a Target

    def close(self) -> None:
        """Stop both servers."""
        self.github.close()
        self.vercel.close()
        for server in self._servers:
            self._run(server.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def posts(self) -> list[str]:
        """The paths of all requests that change something."""
        return [path for method, path in self.calls if method == "POST"]

    def break_once(self, method: str, part: str, how: int | str) -> None:
        """Break the next ``method`` request whose path contains ``part``: answer with a status, or carry it out and
        lose the reply.
        """
        faults = [how]

        def once(request_method: str, path: str) -> int | str | None:
            return faults.pop() if faults and request_method == method and part in path else None

        self.fault_for = once

    def _serve(self, app: web.Application) -> Server:
        app.middlewares.insert(0, self._middleware())
        server = Server(app, listen(0))
        self._run(server.start())
        return server

    def _middleware(self) -> Any:
        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            self.calls.append((request.method, request.path))
            how = self.fault_for(request.method, request.path)
            if isinstance(how, int):
                return web.json_response({"message": "broken by the test"}, status=how)
            response = await handler(request)
            if how == "lost" and request.transport is not None:
                request.transport.abort()
            return response

        return middleware

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


@pytest.fixture
def vendors(tmp_path: Path) -> Iterator[Vendors]:
    """GitHub and Vercel as they are before a release."""
    servers = Vendors(tmp_path)
    yield servers
    servers.close()
