"""A connection that does just what a case tells it to, frame by frame."""

import socket

from frames import (
    BODY,
    CONTENT,
    HEADER,
    HEARTBEAT,
    METHOD,
    METHODS,
    PROTOCOL,
    Decoder,
    Frame,
    decode_header,
    decode_method,
    encode_header,
    encode_method,
)
from harness.cases import equal, eventually

SECONDS = 20
CAPABILITIES = {
    "publisher_confirms": True,
    "exchange_exchange_bindings": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
}


class Closed(Exception):
    """The other side closed the socket."""


class Wire:
    """A socket to the broker, before or after the handshake."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        # Methods that came while another channel was listened to.
        self.waiting = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def write(self, octets):
        self.socket.sendall(octets)

    def octets(self, count):
        while len(self.buffer) < count:
            try:
                some = self.socket.recv(65536)
            except ConnectionError:
                some = b""
            if not some:
                raise Closed(self.buffer)
            self.buffer += some
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def rest(self):
        """Everything until the other side closes."""
        try:
            while True:
                self.octets(1 << 30)
        except Closed as closed:
            return closed.args[0]

    def frame(self):
        head = Decoder(self.octets(7))
        kind, channel, size = head.number("B"), head.number("H"), head.number("I")
        payload = self.octets(size)
        equal(self.octets(1), b"\xce")
        return Frame(kind, channel, payload)

    def method(self, channel):
        """The next method on a channel, with its content if it has any. Heartbeats are passed over."""
        for index, (other, method) in enumerate(self.waiting):
            if other == channel:
                del self.waiting[index]
                return method
        while True:
            frame = self.frame()
            if frame.kind == HEARTBEAT:
                continue
            equal(frame.kind, METHOD)
            method = decode_method(frame.payload)
            if method.name in CONTENT:
                self.content(frame.channel, method)
            if frame.channel == channel:
                return method
            assert method.name != "connection.close", f"the connection was closed: {method}"
            self.waiting.append((frame.channel, method))

    def content(self, channel, method):
        frame = self.frame()
        equal((frame.kind, frame.channel), (HEADER, channel))
        size, method.properties, method.raw_properties = decode_header(frame.payload)
        method.body, method.body_frames = b"", 0
        while len(method.body) < size:
            frame = self.frame()
            equal((frame.kind, frame.channel), (BODY, channel))
            method.body += frame.payload
            method.body_frames += 1

    def send(self, channel, name, **values):
        self.write(Frame(METHOD, channel, encode_method(name, **values)).encode())

    def call(self, channel, name, **values):
        """Sends a method and returns its answer, which has to be of its kind."""
        self.send(channel, name, **values)
        return self.expect(channel, *answers(name))

    def expect(self, channel, *names):
        method = self.method(channel)
        assert method.name in names, f"found {method}, expected {' or '.join(names)}"
        return method

    def publish(self, channel, exchange="", routing_key="", body=b"", frame_max=131072, flags=None, **properties):
        """Publishes in one write, as clients do."""
        out = self.publishing(channel, exchange, routing_key, len(body), flags, **properties)
        for begin in range(0, len(body), frame_max - 8):
            out += Frame(BODY, channel, body[begin : begin + frame_max - 8]).encode()
        self.write(out)

    def publishing(self, channel, exchange, routing_key, size, flags=None, **properties):
        """The frames of a publish that come before its body."""
        method = encode_method("basic.publish", exchange=exchange, routing_key=routing_key, **(flags or {}))
        header = encode_header(size, properties)
        return Frame(METHOD, channel, method).encode() + Frame(HEADER, channel, header).encode()

    def start(self, protocol=PROTOCOL):
        """The server's first words."""
        self.write(protocol)
        return self.expect(0, "connection.start")

    def log_in(self, user="guest", password="guest", capabilities=CAPABILITIES):
        properties = {"product": "wire", "capabilities": capabilities}
        response = f"\0{user}\0{password}"
        self.send(
            0,
            "connection.start-ok",
            client_properties=properties,
            mechanism="PLAIN",
            response=response,
            locale="en_US",
        )

    def tuned(self, **values):
        """Start, log in, and answer the server's tuning."""
        self.start()
        self.log_in(capabilities=values.pop("capabilities", CAPABILITIES))
        tune = self.expect(0, "connection.tune")
        wanted = {"channel_max": tune.channel_max, "frame_max": tune.frame_max, "heartbeat": 0} | values
        self.send(0, "connection.tune-ok", **wanted)
        return tune

    def open(self, vhost="/", **values):
        """The whole handshake."""
        self.tuned(**values)
        self.call(0, "connection.open", vhost=vhost)
        return self

    def channel(self, number=1):
        self.call(number, "channel.open")
        return number

    def expect_message(self, channel, queue, **values):
        """Gets a message, which has to be there by now or soon."""

        def got():
            answer = self.call(channel, "basic.get", queue=queue, **values)
            return answer if answer.name == "basic.get-ok" else None

        return eventually(got, SECONDS, 0.02)

    def refused(self, channel, code, text, name, **values):
        """Sends a method that has to close its channel, with these very words."""
        self.send(channel, name, **values)
        self.closed(channel, code, text, name)

    def closed(self, channel, code, text, name):
        """The channel is closed because of the method of that name; it can be opened again."""
        close = self.expect(channel, "channel.close")
        equal((close.code, close.text), (code, text))
        equal((close.class_id, close.method_id), METHODS[name][:2])
        self.send(channel, "channel.close-ok")
        self.call(channel, "channel.open")

    def fatal(self, channel, code, text, name, **values):
        """Sends a method that has to close the connection, with these very words."""
        self.send(channel, name, **values)
        self.ended(code, text, METHODS[name][:2])

    def ended(self, code, text, ids=(0, 0)):
        """The connection is closed, by the other side and then the socket too."""
        close = self.expect(0, "connection.close")
        equal((close.code, close.text), (code, text))
        equal((close.class_id, close.method_id), tuple(ids))
        self.send(0, "connection.close-ok")
        equal(self.rest(), b"")


def answers(name):
    if name == "basic.get":
        return ("basic.get-ok", "basic.get-empty")
    return (f"{name}-ok",)
