"""A TCP proxy that can lose what passes: one reply, or all on a link without a word; or hold a request back."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Self


class Proxy:
    """Forwards a free port of the loopback to another port of it. Sees bytes only, so it works for TLS too."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._frozen: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._pass = threading.Event()
        self._pass.set()
        self._losing = threading.Event()
        self._dropping = threading.Event()
        self.held = threading.Event()  # a request waits
        self.lost = threading.Event()  # a reply was swallowed
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.getsockname()[1])

    def lose_next_reply(self) -> None:
        """Swallow what the server says next, and break that connection."""
        self._losing.set()

    def hold(self) -> None:
        """Keep back whatever the clients send from now on."""
        self.held.clear()
        self._pass.clear()

    def release(self) -> None:
        """Let what was kept back go on."""
        self._pass.set()

    def let_one_pass(self) -> None:
        """Let what is kept back go on, and keep back what comes next."""
        self.held.clear()
        self._pass.set()
        self._pass.clear()

    def drop(self) -> None:
        """Never hand on what is kept back; end those connections."""
        self._dropping.set()
        self._pass.set()

    def freeze(self) -> None:
        """Swallow whatever comes on the connections that are open now, without a word; new ones work."""
        with self._guard:
            self._frozen |= self._open

    def close(self) -> None:
        """End everything."""
        self._pass.set()
        with self._guard:
            for end in (self._server, *self._open):
                with contextlib.suppress(OSError):  # ended by one of its sides
                    end.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return  # closed
            server = socket.create_connection(self._target)
            with self._guard:
                self._open |= {client, server}
            threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
            threading.Thread(target=self._replies, args=(server, client), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with self._both_end(client, server):
            while data := client.recv(65_536):
                if client in self._frozen:
                    continue
                if not self._pass.is_set():
                    self.held.set()
                    self._pass.wait()
                if self._dropping.is_set():
                    return
                server.sendall(data)

    def _replies(self, server: socket.socket, client: socket.socket) -> None:
        with self._both_end(server, client):
            while data := server.recv(65_536):
                if server in self._frozen:
                    continue
                if self._losing.is_set():
                    self._losing.clear()
                    self.lost.set()
                    return
                client.sendall(data)

    @contextlib.contextmanager
    def _both_end(self, *ends: socket.socket) -> Iterator[None]:
        with contextlib.suppress(OSError):  # one side ended it: so does the other
            yield
        with self._guard:
            for end in ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
            self._open -= set(ends)
            self._frozen -= set(ends)
