"""A wire to a server that can be cut at a chosen word."""

from __future__ import annotations

import socket
import threading
from typing import Self


class Severed:
    """Passes on what a client and a server on this machine say, until it is cut.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._cut_after: bytes | None = None
        self.port = int(self._listener.getsockname()[1])
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def cut_after(self, word: bytes) -> None:
        """Cut the wire once: what has the word still reaches the server, and its answer does not come back."""
        self._cut_after = word

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server))
            threading.Thread(target=self._there, args=(client, server), daemon=True).start()
            threading.Thread(target=self._back, args=(client, server), daemon=True).start()

    def _there(self, client: socket.socket, server: socket.socket) -> None:
        while said := _received(client):
            if self._cut_after is not None and self._cut_after in said:
                self._cut_after = None
                self.cuts += 1
                client.shutdown(socket.SHUT_RDWR)
                server.sendall(said)
                break
            server.sendall(said)
        server.shutdown(socket.SHUT_WR)

    def _back(self, client: socket.socket, server: socket.socket) -> None:
        while said := _received(server):
            try:
                client.sendall(said)
            except OSError:
                return


def _received(end: socket.socket) -> bytes:
    try:
        return end.recv(65536)
    except OSError:
        return b""
