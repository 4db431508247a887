"""AMQP 0-9-1 on the wire, written down once more so that neither the broker nor a client is its own witness."""

import dataclasses
import struct
import types

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = 0xCE
PROTOCOL = b"AMQP\x00\x00\x09\x01"

# What is left out of a call is zero, empty or false. B H I Q: integers; s: short string; S: long string; F: table;
# b: a bit, packed with its neighbours.
METHODS = {
    "connection.start": (10, 10, "version_major:B version_minor:B server_properties:F mechanisms:S locales:S"),
    "connection.start-ok": (10, 11, "client_properties:F mechanism:s response:S locale:s"),
    "connection.secure": (10, 20, "challenge:S"),
    "connection.secure-ok": (10, 21, "response:S"),
    "connection.tune": (10, 30, "channel_max:H frame_max:I heartbeat:H"),
    "connection.tune-ok": (10, 31, "channel_max:H frame_max:I heartbeat:H"),
    "connection.open": (10, 40, "vhost:s reserved_1:s reserved_2:b"),
    "connection.open-ok": (10, 41, "reserved_1:s"),
    "connection.close": (10, 50, "code:H text:s class_id:H method_id:H"),
    "connection.close-ok": (10, 51, ""),
    "connection.blocked": (10, 60, "reason:s"),
    "connection.unblocked": (10, 61, ""),
    "connection.update-secret": (10, 70, "secret:S reason:s"),
    "connection.update-secret-ok": (10, 71, ""),
    "channel.open": (20, 10, "reserved_1:s"),
    "channel.open-ok": (20, 11, "reserved_1:S"),
    "channel.flow": (20, 20, "active:b"),
    "channel.flow-ok": (20, 21, "active:b"),
    "channel.close": (20, 40, "code:H text:s class_id:H method_id:H"),
    "channel.close-ok": (20, 41, ""),
    "access.request": (30, 10, "realm:s exclusive:b passive:b active:b write:b read:b"),
    "access.request-ok": (30, 11, "ticket:H"),
    "exchange.declare": (
        40,
        10,
        "ticket:H exchange:s type:s passive:b durable:b auto_delete:b internal:b nowait:b arguments:F",
    ),
    "exchange.declare-ok": (40, 11, ""),
    "exchange.delete": (40, 20, "ticket:H exchange:s if_unused:b nowait:b"),
    "exchange.delete-ok": (40, 21, ""),
    "exchange.bind": (40, 30, "ticket:H destination:s source:s routing_key:s nowait:b arguments:F"),
    "exchange.bind-ok": (40, 31, ""),
    "exchange.unbind": (40, 40, "ticket:H destination:s source:s routing_key:s nowait:b arguments:F"),
    "exchange.unbind-ok": (40, 51, ""),
    "queue.declare": (
        50,
        10,
        "ticket:H queue:s passive:b durable:b exclusive:b auto_delete:b nowait:b arguments:F",
    ),
    "queue.declare-ok": (50, 11, "queue:s message_count:I consumer_count:I"),
    "queue.bind": (50, 20, "ticket:H queue:s exchange:s routing_key:s nowait:b arguments:F"),
    "queue.bind-ok": (50, 21, ""),
    "queue.purge": (50, 30, "ticket:H queue:s nowait:b"),
    "queue.purge-ok": (50, 31, "message_count:I"),
    "queue.delete": (50, 40, "ticket:H queue:s if_unused:b if_empty:b nowait:b"),
    "queue.delete-ok": (50, 41, "message_count:I"),
    "queue.unbind": (50, 50, "ticket:H queue:s exchange:s routing_key:s arguments:F"),
    "queue.unbind-ok": (50, 51, ""),
    "basic.qos": (60, 10, "prefetch_size:I prefetch_count:H global_:b"),
    "basic.qos-ok": (60, 11, ""),
    "basic.consume": (60, 20, "ticket:H queue:s tag:s no_local:b no_ack:b exclusive:b nowait:b arguments:F"),
    "basic.consume-ok": (60, 21, "tag:s"),
    "basic.cancel": (60, 30, "tag:s nowait:b"),
    "basic.cancel-ok": (60, 31, "tag:s"),
    "basic.publish": (60, 40, "ticket:H exchange:s routing_key:s mandatory:b immediate:b"),
    "basic.return": (60, 50, "code:H text:s exchange:s routing_key:s"),
    "basic.deliver": (60, 60, "tag:s delivery_tag:Q redelivered:b exchange:s routing_key:s"),
    "basic.get": (60, 70, "ticket:H queue:s no_ack:b"),
    "basic.get-ok": (60, 71, "delivery_tag:Q redelivered:b exchange:s routing_key:s message_count:I"),
    "basic.get-empty": (60, 72, "reserved_1:s"),
    "basic.ack": (60, 80, "delivery_tag:Q multiple:b"),
    "basic.reject": (60, 90, "delivery_tag:Q requeue:b"),
    "basic.recover-async": (60, 100, "requeue:b"),
    "basic.recover": (60, 110, "requeue:b"),
    "basic.recover-ok": (60, 111, ""),
    "basic.nack": (60, 120, "delivery_tag:Q multiple:b requeue:b"),
    "confirm.select": (85, 10, "nowait:b"),
    "confirm.select-ok": (85, 11, ""),
    "tx.select": (90, 10, ""),
    "tx.select-ok": (90, 11, ""),
    "tx.commit": (90, 20, ""),
    "tx.commit-ok": (90, 21, ""),
    "tx.rollback": (90, 30, ""),
    "tx.rollback-ok": (90, 31, ""),
}
NAMES = {(class_id, method_id): name for name, (class_id, method_id, _) in METHODS.items()}
CONTENT = ("basic.return", "basic.deliver", "basic.get-ok")

# Properties in the order of their flags, the highest first.
PROPERTIES = (
    ("content_type", "s"),
    ("content_encoding", "s"),
    ("headers", "F"),
    ("delivery_mode", "B"),
    ("priority", "B"),
    ("correlation_id", "s"),
    ("reply_to", "s"),
    ("expiration", "s"),
    ("message_id", "s"),
    ("timestamp", "Q"),
    ("type", "s"),
    ("user_id", "s"),
    ("app_id", "s"),
    ("cluster_id", "s"),
)


class Raw(bytes):
    """A table as it is on the wire, without its length."""


@dataclasses.dataclass
class Frame:
    kind: int
    channel: int
    payload: bytes

    def encode(self):
        return struct.pack(">BHI", self.kind, self.channel, len(self.payload)) + self.payload + bytes([END])


def fields_of(name):
    return [field.split(":") for field in METHODS[name][2].split()]


def octets(value):
    return value if isinstance(value, bytes) else value.encode()


def encode_field(kind, value):
    if kind == "s":
        value = octets(value or b"")
        return bytes([len(value)]) + value
    if kind == "S":
        value = octets(value or b"")
        return struct.pack(">I", len(value)) + value
    if kind == "F":
        return encode_table(value or {})
    return struct.pack(">" + kind, value or 0)


def encode_table(table):
    body = (
        table if isinstance(table, Raw) else b"".join(encode_field("s", k) + encode_value(v) for k, v in table.items())
    )
    return struct.pack(">I", len(body)) + body


def encode_value(value):
    if isinstance(value, bool):
        return b"t" + bytes([value])
    if isinstance(value, int):
        return b"I" + struct.pack(">i", value) if -(2**31) <= value < 2**31 else b"l" + struct.pack(">q", value)
    if isinstance(value, (str, bytes)):
        return b"S" + encode_field("S", value)
    if isinstance(value, dict):
        return b"F" + encode_table(value)
    if isinstance(value, list):
        body = b"".join(map(encode_value, value))
        return b"A" + struct.pack(">I", len(body)) + body
    if value is None:
        return b"V"
    raise TypeError(f"no letter for {value!r}")


def encode_method(name, **values):
    class_id, method_id, _ = METHODS[name]
    unknown = set(values) - {field for field, _ in fields_of(name)}
    assert not unknown, f"{name} has no {unknown}"
    out, bits, count = struct.pack(">HH", class_id, method_id), 0, 0
    for field, kind in [*fields_of(name), ("", "")]:
        if kind == "b":
            bits |= bool(values.get(field)) << count
            count += 1
            continue
        if count:
            out, bits, count = out + bytes([bits]), 0, 0
        if kind:
            out += encode_field(kind, values.get(field))
    return out


def encode_header(size, properties):
    flags, out = 0, b""
    for index, (name, kind) in enumerate(PROPERTIES):
        if name in properties:
            flags |= 1 << (15 - index)
            out += encode_field(kind, properties[name])
    return struct.pack(">HHQH", 60, 0, size, flags) + out


class Decoder:
    def __init__(self, octets):
        self.octets, self.at = octets, 0

    def take(self, count):
        assert self.at + count <= len(self.octets), "the frame is shorter than what it says"
        self.at += count
        return self.octets[self.at - count : self.at]

    def number(self, kind):
        return struct.unpack(">" + kind, self.take(struct.calcsize(">" + kind)))[0]

    def field(self, kind):
        if kind == "s":
            return self.take(self.number("B")).decode(errors="surrogateescape")
        if kind == "S":
            return self.take(self.number("I")).decode(errors="surrogateescape")
        if kind == "F":
            return self.table()
        return self.number(kind)

    def table(self):
        inner = Decoder(self.take(self.number("I")))
        table = {}
        while inner.at < len(inner.octets):
            name = inner.field("s")
            table[name] = inner.value()
        return table

    def array(self):
        inner = Decoder(self.take(self.number("I")))
        values = []
        while inner.at < len(inner.octets):
            values.append(inner.value())
        return values

    def value(self):
        letter = self.take(1).decode()
        if letter in "tbBsuIiLlfdT":
            kinds = {"t": "?", "s": "h", "u": "H", "I": "i", "i": "I", "L": "q", "l": "q", "T": "Q"}
            return self.number(kinds.get(letter, letter))
        if letter == "D":
            return (self.number("B"), self.number("i"))
        if letter == "V":
            return None
        return {
            "S": lambda: self.field("S"),
            "x": lambda: self.take(self.number("I")),
            "A": self.array,
            "F": self.table,
        }[letter]()


def decode_method(payload):
    """A method's name and its fields."""
    decoder = Decoder(payload)
    name = NAMES[decoder.number("H"), decoder.number("H")]
    found, bits, count = {}, 0, 8
    for field, kind in fields_of(name):
        if kind != "b":
            found[field], count = decoder.field(kind), 8
            continue
        if count == 8:
            bits, count = decoder.number("B"), 0
        found[field] = bool(bits >> count & 1)
        count += 1
    assert decoder.at == len(payload), f"{name} has {len(payload) - decoder.at} octets too many"
    return types.SimpleNamespace(name=name, **found)


def decode_header(payload):
    """The size of the body, the properties, and the properties as they are on the wire."""
    decoder = Decoder(payload)
    decoder.take(4)
    size, flags = decoder.number("Q"), decoder.number("H")
    begin = decoder.at
    properties = {
        name: decoder.field(kind) for index, (name, kind) in enumerate(PROPERTIES) if flags >> (15 - index) & 1
    }
    return size, properties, payload[begin:]
