"""TCP relays: one that relays what its subclass lets pass, and a proxy that loses replies or holds back requests."""

import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Self

Ways = tuple[Callable[[], None], Callable[[], None]]  # there and back; each returns when its side has ended


class Relay(ABC):
    """A free port of the loopback address; each connection to it is relayed to a new connection of ``connect``."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        """Set what ``ways`` needs before."""
        self._connect = connect
        self._server = socket.create_server(("127.0.0.1", 0), backlog=50)
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """The port on which the relay listens."""
        return int(self._server.getsockname()[1])

    def close(self) -> None:
        """Close the port and all connections."""
        with self._guard:
            for end in (self._server, *self._open):
                with contextlib.suppress(OSError):  # ended by one of its sides
                    end.shutdown(socket.SHUT_RDWR)
        self._server.close()

    @abstractmethod
    def ways(self, client: socket.socket, server: socket.socket) -> Ways:
        """The functions that relay the requests and the replies of one connection."""

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return  # closed
            server = self._connect()
            with self._guard:
                self._open |= {client, server}
            for way in self.ways(client, server):
                threading.Thread(target=self._until_both_end, args=(way, client, server), daemon=True).start()

    def _until_both_end(self, way: Callable[[], None], *ends: socket.socket) -> None:
        with contextlib.suppress(OSError):  # one side ended it: so does the other
            way()
        with self._guard:
            for end in ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
            self._open -= set(ends)


class Proxy(Relay):
    """Forwards to another port of the loopback. Sees bytes only, so it works for TLS too."""

    def __init__(self, port: int) -> None:
        self._frozen: set[socket.socket] = set()
        self._pass = threading.Event()
        self._pass.set()
        self._losing = threading.Event()
        self._dropping = threading.Event()
        self.holds_request = threading.Event()  # a request waits
        self.has_lost_reply = threading.Event()  # a reply was swallowed
        super().__init__(partial(socket.create_connection, ("127.0.0.1", port)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def lose_next_reply(self) -> None:
        """Swallow the next reply of the server, and break its connection."""
        self._losing.set()

    def hold(self) -> None:
        """Hold back all requests from now on."""
        self.holds_request.clear()
        self._pass.clear()

    def release(self) -> None:
        """Relay the requests that are held back, and all later ones."""
        self._pass.set()

    def let_one_pass(self) -> None:
        """Relay the requests that are held back, and hold back the next."""
        self.holds_request.clear()
        self._pass.set()
        self._pass.clear()

    def drop(self) -> None:
        """Close the connections whose requests are held back, without relaying them."""
        self._dropping.set()
        self._pass.set()

    def freeze(self) -> None:
        """Swallow everything on the connections that are open now; new ones work."""
        with self._guard:
            self._frozen |= self._open

    def close(self) -> None:
        """Close the port and all connections."""
        self._pass.set()
        super().close()

    def ways(self, client: socket.socket, server: socket.socket) -> Ways:
        """The functions that relay one connection as the switches say."""
        return partial(self._requests, client, server), partial(self._replies, server, client)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        while data := client.recv(65_536):
            if client in self._frozen:
                continue
            if not self._pass.is_set():
                self.holds_request.set()
                self._pass.wait()
            if self._dropping.is_set():
                return
            server.sendall(data)

    def _replies(self, server: socket.socket, client: socket.socket) -> None:
        while data := server.recv(65_536):
            if server in self._frozen:
                continue
            if self._losing.is_set():
                self._losing.clear()
                self.has_lost_reply.set()
                return
            client.sendall(data)
