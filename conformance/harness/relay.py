"""A port that passes everything on to another: for suites that know only one port."""

import socket
import threading

BYTES = 65536


class Relay:
    """Connections to one address, passed on to another while the block runs."""

    def __init__(self, port, target):
        host, target_port = target.rsplit(":", 1)
        self.target = (host, int(target_port))
        # The port may be taken: then this raises.
        self.listener = socket.create_server(("127.0.0.1", port), backlog=256)

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                here, _ = self.listener.accept()
            except OSError:
                return
            try:
                there = socket.create_connection(self.target)
            except OSError:
                here.close()
                continue
            for one in (here, there):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink in ((here, there), (there, here)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source, sink):
    """Until the source ends; its end is passed on as well."""
    try:
        while some := source.recv(BYTES):
            sink.sendall(some)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # One side is gone: so is the other.
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
