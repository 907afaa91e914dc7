"""A link that can be cut without a word: forwards TCP, and on order swallows everything while all sockets stay open."""

import contextlib
import socket
import threading
from typing import Self
from urllib.parse import urlsplit


class TcpProxy:
    """Forwards a free port of the loopback to the host and port of a URL while the block runs."""

    def __init__(self, to: str) -> None:
        parts = urlsplit(to)
        self._to = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/"
        self._links: list[tuple[socket.socket, socket.socket, threading.Event]] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._server.close()
        for near, far, _ in self._links:
            for end in (near, far):
                with contextlib.suppress(OSError):  # ended by one of its sides
                    end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        for near, far, _ in self._links:
            near.close()
            far.close()

    def freeze(self) -> None:
        """Swallow whatever comes on the connections that are open now; new ones work."""
        for _, _, frozen in self._links:
            frozen.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return  # shut down by __exit__
            far = socket.create_connection(self._to)
            frozen = threading.Event()
            self._links.append((near, far, frozen))
            for source, sink in ((near, far), (far, near)):
                thread = threading.Thread(target=self._pump, args=(source, sink, frozen))
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, frozen: threading.Event) -> None:
        with contextlib.suppress(OSError):  # one side ended it: so does the other
            while data := source.recv(65_536):
                if not frozen.is_set():
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)
