"""A TCP relay between two nodes, in threads: it can fall silent, delay, break connections, or carry
one direction only.
"""

import contextlib
import queue
import socket
import threading
import time


class Relay:
    """Listens on `port` and forwards to 127.0.0.1:target.

    `silent`: bytes vanish both ways and nothing is closed.

    `mute`: "out" (dialler → target) or "in" loses that direction alone. `delay_s`: how much later
    each piece is passed on; a longer line, not a slower one.
    """

    def __init__(self, target: int) -> None:
        self.silent = False
        self.mute = ""
        self.delay_s = 0.0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while self._open:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target), timeout=2)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((near, far))
            for source, sink, way in ((near, far, "out"), (far, near, "in")):
                threading.Thread(target=self._pump, args=(source, sink, way), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        line: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._deliver, args=(line, source, sink, way), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                line.put((time.monotonic() + self.delay_s, data))
        line.put((0.0, b""))

    def _deliver(
        self, line: "queue.SimpleQueue[tuple[float, bytes]]", source: socket.socket, sink: socket.socket, way: str
    ) -> None:
        with contextlib.suppress(OSError):
            while (piece := line.get())[1]:
                due, data = piece
                while (left := due - time.monotonic()) > 0:
                    time.sleep(max(left - 0.0001, 0))  # the rest is spun: a sleep is late
                if not self.silent and self.mute != way:
                    sink.sendall(data)
        while self.silent and self._open:  # a dead network carries no FIN
            time.sleep(0.05)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def reset(self) -> None:
        """Break every connection now."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for one in pair:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._open = False
        self._listener.close()
        self.reset()
