"""What holds on an open channel: pipelining, names, tags, counts, order, and bytes that arrive as they were sent."""

import re
import struct
import time

from frames import METHOD, Decoder, Frame, Raw, encode_method
from harness.cases import case, equal, eventually, fresh

# Every letter a field may have, a name twice, out of order, and text that is no UTF-8.
EVERY_LETTER = b"".join(
    bytes([len(name)]) + name + value
    for name, value in (
        (b"z-bool", b"t\x01"),
        (b"a-int8", b"b\xff"),
        (b"uint8", b"B\xff"),
        (b"int16", b"s" + struct.pack(">h", -2)),
        (b"uint16", b"u" + struct.pack(">H", 65535)),
        (b"int32", b"I" + struct.pack(">i", -3)),
        (b"uint32", b"i" + struct.pack(">I", 2**32 - 1)),
        (b"int64", b"l" + struct.pack(">q", -(2**40))),
        (b"float", b"f" + struct.pack(">f", 1.5)),
        (b"double", b"d" + struct.pack(">d", 2.25)),
        (b"decimal", b"D\x02" + struct.pack(">i", 314)),
        (b"string", b"S" + struct.pack(">I", 4) + b"\xff\xfe\x00\x01"),
        (b"octets", b"x" + struct.pack(">I", 3) + b"\x00\x01\x02"),
        (b"time", b"T" + struct.pack(">Q", 1700000000)),
        (b"void", b"V"),
        (b"array", b"A" + struct.pack(">I", 7) + b"I" + struct.pack(">i", 7) + b"t\x00"),
        (b"table", b"F" + struct.pack(">I", 4) + b"\x01kt\x01"),
        (b"string", b"S" + struct.pack(">I", 5) + b"again"),
    )
)


def channels(check):
    """A case that gets a connection with one channel."""

    def with_channel(peer):
        with peer.open() as wire:
            wire.channel()
            check(wire, peer)

    with_channel.__name__ = check.__name__
    return case(with_channel)


def exclusive(wire, **values):
    return wire.call(1, "queue.declare", exclusive=True, **values).queue


def ready(wire, queue, count):
    """Waits until so many messages are ready."""

    def so_many():
        return wire.call(1, "queue.declare", queue=queue, passive=True).message_count == count

    eventually(so_many, pause=0.02)


def bodies(wire, queue, **values):
    """Takes what is there."""
    found = []
    while True:
        answer = wire.call(1, "basic.get", queue=queue, **({"no_ack": True} | values))
        if answer.name == "basic.get-empty":
            return found
        found.append(answer.body)


@channels
def what_follows_an_error_is_ignored(wire, _):
    queue = exclusive(wire)
    wire.send(1, "queue.declare", queue=fresh("missing"), passive=True)
    for _ in range(20):
        wire.publish(1, "", queue, b"x" * 5000)
    wire.send(1, "queue.declare", queue=fresh("other"))
    equal(wire.expect(1, "channel.close").code, 404)
    wire.publish(1, "", queue, b"x")
    wire.send(1, "channel.close-ok")
    wire.channel(1)
    equal(bodies(wire, queue), [])


@channels
def both_sides_may_close_at_once(wire, _):
    wire.send(1, "queue.declare", queue=fresh("missing"), passive=True)
    wire.send(1, "channel.close", code=200, text="done")
    equal(wire.expect(1, "channel.close").code, 404)
    wire.expect(1, "channel.close-ok")
    wire.send(1, "channel.close-ok")
    wire.channel(1)


@channels
def a_number_is_free_as_soon_as_it_is_closed(wire, _):
    for _ in range(50):
        wire.call(1, "channel.close")
        wire.channel(1)


@channels
def other_channels_go_on(wire, _):
    wire.channel(2)
    wire.send(1, "queue.declare", queue=fresh("missing"), passive=True)
    wire.expect(1, "channel.close")
    wire.call(2, "basic.qos", prefetch_count=1)


@channels
def an_empty_name_is_the_last_queue(wire, _):
    name = exclusive(wire, queue=fresh("queue"))
    wire.call(1, "queue.bind", exchange="amq.direct")
    # An empty key is the name too, when the queue's is empty.
    wire.publish(1, "amq.direct", name, b"x")
    equal(wire.expect_message(1, "").routing_key, name)


@channels
def the_server_makes_names(wire, _):
    made = wire.call(1, "queue.declare", exclusive=True).queue
    assert re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", made), made
    tag = wire.call(1, "basic.consume", queue=made).tag
    assert re.fullmatch(r"amq\.ctag-[A-Za-z0-9_-]{22}", tag), tag


@channels
def asking_for_a_queue_ignores_how(wire, _):
    queue = fresh("queue")
    wire.call(1, "queue.declare", queue=queue, durable=True)
    wire.call(1, "queue.declare", queue=queue, passive=True, auto_delete=True, arguments={"x-message-ttl": 1})
    wire.call(1, "queue.delete", queue=queue)


@channels
def only_ready_messages_are_counted(wire, _):
    queue = exclusive(wire)
    for _ in range(3):
        wire.publish(1, "", queue, b"x")
    ready(wire, queue, 3)
    equal(wire.call(1, "basic.get", queue=queue).message_count, 2)
    wire.channel(2)
    wire.call(2, "basic.qos", prefetch_count=1)
    wire.call(2, "basic.consume", queue=queue, tag="t")
    wire.expect(2, "basic.deliver")
    declared = wire.call(1, "queue.declare", queue=queue, passive=True)
    equal((declared.message_count, declared.consumer_count), (1, 1))
    equal(wire.call(1, "queue.purge", queue=queue).message_count, 1)


@channels
def nothing_is_answered_that_needs_no_answer(wire, _):
    queue, exchange = fresh("queue"), fresh("exchange")
    wire.send(1, "exchange.declare", exchange=exchange, type="fanout", nowait=True)
    wire.send(1, "queue.declare", queue=queue, exclusive=True, nowait=True)
    wire.send(1, "queue.bind", queue=queue, exchange=exchange, nowait=True)
    wire.send(1, "exchange.bind", destination=exchange, source="amq.fanout", routing_key=queue, nowait=True)
    wire.send(1, "exchange.unbind", destination=exchange, source="amq.fanout", routing_key=queue, nowait=True)
    wire.send(1, "basic.consume", queue=queue, tag="t", nowait=True)
    wire.publish(1, exchange, "", b"x")
    equal(wire.expect(1, "basic.deliver").body, b"x")
    wire.send(1, "basic.cancel", tag="t", nowait=True)
    wire.send(1, "confirm.select", nowait=True)
    wire.publish(1, exchange, "", b"y")
    wire.expect(1, "basic.ack")
    wire.send(1, "queue.purge", queue=queue, nowait=True)
    wire.send(1, "queue.delete", queue=queue, nowait=True)
    wire.send(1, "exchange.delete", exchange=exchange, nowait=True)
    wire.call(1, "basic.qos")


@channels
def confirms_are_counted_from_one(wire, _):
    queue = exclusive(wire)
    wire.publish(1, "", queue, b"before")
    wire.call(1, "confirm.select")
    confirmed = set()
    for _ in range(100):
        wire.publish(1, "", queue, b"x")
    while len(confirmed) < 100:
        ack = wire.expect(1, "basic.ack")
        assert ack.delivery_tag not in confirmed, ack
        first = max(confirmed, default=0) + 1 if ack.multiple else ack.delivery_tag
        confirmed |= set(range(min(first, ack.delivery_tag), ack.delivery_tag + 1))
    equal(confirmed, set(range(1, 101)))
    wire.call(1, "confirm.select")
    wire.publish(1, "", queue, b"x")
    equal(wire.expect(1, "basic.ack").delivery_tag, 101)


@channels
def what_cannot_be_routed_is_confirmed(wire, _):
    wire.call(1, "confirm.select")
    wire.publish(1, "amq.direct", fresh("nowhere"), b"x")
    ack = wire.expect(1, "basic.ack")
    equal(ack.delivery_tag, 1)


@channels
def a_return_comes_before_its_confirm(wire, _):
    wire.call(1, "confirm.select")
    key = fresh("nowhere")
    wire.publish(1, "amq.direct", key, b"back", flags={"mandatory": True}, message_id="m")
    returned = wire.expect(1, "basic.return")
    equal((returned.code, returned.text), (312, "NO_ROUTE"))
    equal((returned.exchange, returned.routing_key, returned.body), ("amq.direct", key, b"back"))
    equal(returned.properties, {"message_id": "m"})
    equal(wire.expect(1, "basic.ack").delivery_tag, 1)


@channels
def what_does_not_fit_is_refused(wire, _):
    queue = exclusive(wire, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    wire.call(1, "confirm.select")
    wire.publish(1, "", queue, b"fits")
    equal(wire.expect(1, "basic.ack").delivery_tag, 1)
    wire.publish(1, "", queue, b"does not")
    equal(wire.expect(1, "basic.nack").delivery_tag, 2)
    equal(bodies(wire, queue), [b"fits"])


@channels
def tag_zero_acknowledges_everything(wire, _):
    queue = exclusive(wire)
    for _ in range(5):
        wire.publish(1, "", queue, b"x")
    ready(wire, queue, 5)
    for _ in range(5):
        wire.call(1, "basic.get", queue=queue)
    wire.send(1, "basic.ack", delivery_tag=0, multiple=True)
    wire.call(1, "basic.recover", requeue=True)
    equal(bodies(wire, queue), [])


@channels
def requeued_messages_go_where_they_were(wire, _):
    queue = exclusive(wire)
    for body in (b"1", b"2", b"3", b"4"):
        wire.publish(1, "", queue, body)
    ready(wire, queue, 4)
    tags = [wire.call(1, "basic.get", queue=queue).delivery_tag for _ in range(3)]
    wire.send(1, "basic.nack", delivery_tag=tags[1], requeue=True)
    wire.send(1, "basic.reject", delivery_tag=tags[0], requeue=True)
    first = wire.expect_message(1, queue)
    equal((first.body, first.redelivered), (b"1", True))
    wire.send(1, "basic.nack", delivery_tag=0, multiple=True, requeue=True)
    equal(bodies(wire, queue), [b"1", b"2", b"3", b"4"])


@channels
def closing_a_channel_gives_back(wire, _):
    queue = exclusive(wire)
    for body in (b"1", b"2"):
        wire.publish(1, "", queue, body)
    ready(wire, queue, 2)
    wire.channel(2)
    equal(wire.call(2, "basic.get", queue=queue).redelivered, False)
    wire.call(2, "channel.close")
    got = wire.expect_message(1, queue, no_ack=True)
    equal((got.body, got.redelivered), (b"1", True))
    equal(wire.expect_message(1, queue, no_ack=True).redelivered, False)


@channels
def recovering_delivers_again(wire, _):
    queue = exclusive(wire)
    wire.call(1, "basic.consume", queue=queue, tag="t")
    wire.publish(1, "", queue, b"x")
    equal(wire.expect(1, "basic.deliver").redelivered, False)
    wire.call(1, "basic.recover", requeue=True)
    again = wire.expect(1, "basic.deliver")
    equal((again.body, again.redelivered, again.delivery_tag), (b"x", True, 2))
    wire.send(1, "basic.recover-async", requeue=True)
    equal(wire.expect(1, "basic.deliver").delivery_tag, 3)


@channels
def cancelling_nobody_succeeds(wire, _):
    equal(wire.call(1, "basic.cancel", tag="nobody").tag, "nobody")


@channels
def deliveries_outlive_their_consumer(wire, _):
    queue = exclusive(wire)
    wire.call(1, "basic.consume", queue=queue, tag="t")
    wire.publish(1, "", queue, b"x")
    delivered = wire.expect(1, "basic.deliver")
    wire.call(1, "basic.cancel", tag="t")
    wire.send(1, "basic.ack", delivery_tag=delivered.delivery_tag)
    wire.call(1, "basic.recover", requeue=True)
    equal(bodies(wire, queue), [])


@channels
def consumers_get_their_own_messages(wire, _):
    queue = exclusive(wire)
    wire.call(1, "basic.consume", queue=queue, tag="t", no_local=True)
    wire.publish(1, "", queue, b"x")
    equal(wire.expect(1, "basic.deliver").body, b"x")


@channels
def deliveries_are_numbered_per_channel(wire, _):
    queue = exclusive(wire)
    for number in (1, 2):
        wire.call(1, "basic.consume", queue=queue, tag=f"t{number}")
    for _ in range(4):
        wire.publish(1, "", queue, b"x")
    found = [wire.expect(1, "basic.deliver") for _ in range(4)]
    equal([delivery.delivery_tag for delivery in found], [1, 2, 3, 4])
    equal({delivery.tag for delivery in found}, {"t1", "t2"})
    wire.channel(2)
    wire.send(1, "basic.nack", delivery_tag=4, multiple=True, requeue=True)
    for number in range(5, 9):
        equal(wire.expect(1, "basic.deliver").delivery_tag, number)


@channels
def fast_replies(wire, peer):
    alias = "amq.rabbitmq.reply-to"
    equal(wire.call(1, "queue.declare", queue=alias, passive=True).consumer_count, 1)
    queue = exclusive(wire)
    wire.call(1, "basic.consume", queue=alias, tag="replies", no_ack=True)
    wire.publish(1, "", queue, b"ask", reply_to=alias, correlation_id="c")
    wire.channel(2)
    asked = wire.call(2, "basic.get", queue=queue, no_ack=True)
    address = asked.properties["reply_to"]
    assert address.startswith(f"{alias}."), address
    with peer.open() as other:
        other.channel()
        equal(other.call(1, "queue.declare", queue=address, passive=True).consumer_count, 1)
        other.publish(1, "", address, b"answer", correlation_id="c")
    reply = wire.expect(1, "basic.deliver")
    equal((reply.tag, reply.body, reply.properties["correlation_id"]), ("replies", b"answer", "c"))
    equal((reply.exchange, reply.routing_key), ("", address))


@channels
def a_reply_to_nobody_is_returned(wire, _):
    alias = "amq.rabbitmq.reply-to"
    wire.publish(1, "", f"{alias}.nonsense", b"x", flags={"mandatory": True})
    equal(wire.expect(1, "basic.return").code, 312)


@channels
def properties_arrive_as_they_were_sent(wire, _):
    queue = exclusive(wire)
    sent = {
        "content_type": "text/plain",
        "content_encoding": "none",
        "headers": Raw(EVERY_LETTER),
        "delivery_mode": 2,
        "priority": 3,
        "correlation_id": "c",
        "reply_to": "r",
        "expiration": "60000",
        "message_id": "m",
        "timestamp": 1700000000,
        "type": "t",
        "user_id": "guest",
        "app_id": "a",
        "cluster_id": "x",
    }
    wire.publish(1, "", queue, b"x", **sent)
    got = wire.expect_message(1, queue)
    decoder = Decoder(got.raw_properties)
    for name in ("content_type", "content_encoding"):
        equal(decoder.field("s"), sent[name])
    equal(decoder.field("S").encode(errors="surrogateescape"), EVERY_LETTER)
    found = {name: value for name, value in got.properties.items() if name != "headers"}
    equal(found, {name: value for name, value in sent.items() if name != "headers"})


@channels
def no_properties_stay_no_properties(wire, _):
    queue = exclusive(wire)
    wire.publish(1, "", queue, b"x")
    equal(wire.expect_message(1, queue).raw_properties, b"")
    wire.publish(1, "", queue, b"", headers={})
    got = wire.expect_message(1, queue)
    equal((got.properties, got.body), ({"headers": {}}, b""))


@channels
def keys_are_up_to_255_octets(wire, _):
    queue, key = exclusive(wire), "schlüssel/鍵/" + "k" * 240
    equal(len(key.encode()), 255)
    wire.call(1, "queue.bind", queue=queue, exchange="amq.direct", routing_key=key)
    # What a property says is nobody's business, whatever its encoding.
    wire.publish(1, "amq.direct", key, b"x", correlation_id=b"\xff\xfe\x00")
    got = wire.expect_message(1, queue)
    equal(got.routing_key, key)
    equal(got.raw_properties, b"\x03\xff\xfe\x00")


@channels
def bodies_of_every_size(wire, _):
    queue = exclusive(wire)
    for size in (0, 1, 4095, 131064, 131065, 300000, 3_000_000):
        body = bytes(range(251)) * (size // 251 + 1)
        wire.publish(1, "", queue, body[:size])
        got = wire.expect_message(1, queue, no_ack=True)
        assert got.body == body[:size], (size, len(got.body))


@channels
def a_body_may_come_in_any_pieces(wire, _):
    queue = exclusive(wire)
    wire.write(wire.publishing(1, "", queue, 6))
    for piece in (b"ab", b"", b"c", b"def"):
        # Other channels speak in between.
        wire.write(Frame(3, 1, piece).encode())
        wire.write(Frame(METHOD, 2, encode_method("channel.open")).encode())
        wire.expect(2, "channel.open-ok")
        wire.call(2, "channel.close")
    equal(wire.expect_message(1, queue).body, b"abcdef")


@channels
def octets_may_come_one_at_a_time(wire, _):
    queue = exclusive(wire)
    octets = wire.publishing(1, "", queue, 3) + Frame(3, 1, b"abc").encode()
    for index in range(len(octets)):
        wire.write(octets[index : index + 1])
    equal(wire.expect_message(1, queue).body, b"abc")


@channels
def old_clients_ask_for_access(wire, _):
    equal(wire.call(1, "access.request", realm="/data", active=True).ticket, 1)


@channels
def the_flow_may_be_started(wire, _):
    equal(wire.call(1, "channel.flow", active=True).active, True)


@channels
def transactions_hold_back_until_committed(wire, _):
    queue = exclusive(wire)
    wire.publish(1, "", queue, b"taken")
    ready(wire, queue, 1)
    wire.call(1, "tx.select")
    wire.publish(1, "", queue, b"dropped")
    tag = wire.call(1, "basic.get", queue=queue).delivery_tag
    wire.send(1, "basic.ack", delivery_tag=tag)
    wire.call(1, "tx.rollback")
    wire.send(1, "basic.ack", delivery_tag=tag)
    wire.publish(1, "", queue, b"kept")
    equal(wire.call(1, "queue.declare", queue=queue, passive=True).message_count, 0)
    wire.call(1, "tx.commit")
    wire.call(1, "tx.commit")
    wire.call(1, "channel.close")
    wire.channel(1)
    ready(wire, queue, 1)
    equal(bodies(wire, queue), [b"kept"])


@channels
def prefetch_holds_back(wire, _):
    queue = exclusive(wire)
    wire.call(1, "basic.qos", prefetch_count=2)
    wire.call(1, "basic.consume", queue=queue, tag="t")
    for _ in range(3):
        wire.publish(1, "", queue, b"x")
    first = wire.expect(1, "basic.deliver")
    wire.expect(1, "basic.deliver")
    ready(wire, queue, 1)
    wire.send(1, "basic.ack", delivery_tag=first.delivery_tag)
    equal(wire.expect(1, "basic.deliver").delivery_tag, 3)


@channels
def exclusive_queues_end_with_their_connection(wire, peer):
    queue = fresh("queue")
    other = peer.open()
    other.channel()
    other.call(1, "queue.declare", queue=queue, exclusive=True)
    # Gone without a word, as a process that is killed.
    other.socket.close()

    def gone():
        wire.send(1, "queue.declare", queue=queue, passive=True)
        answer = wire.method(1)
        assert answer.name == "channel.close", answer
        wire.send(1, "channel.close-ok")
        wire.call(1, "channel.open")
        return answer.code == 404

    eventually(gone)


@channels
def many_things_may_be_asked_at_once(wire, _):
    names = [fresh("queue") for _ in range(50)]
    for name in names:
        wire.send(1, "queue.declare", queue=name, exclusive=True)
        wire.send(1, "queue.bind", queue=name, exchange="amq.fanout")
    for name in names:
        equal(wire.expect(1, "queue.declare-ok").queue, name)
        wire.expect(1, "queue.bind-ok")
    for name in names:
        wire.send(1, "queue.delete", queue=name)
    for _ in names:
        wire.expect(1, "queue.delete-ok")


@channels
def a_client_that_does_not_read_holds_up_nobody(wire, peer):
    queue = exclusive(wire)
    with peer.open() as deaf:
        deaf.channel()
        flood = fresh("queue")
        deaf.call(1, "queue.declare", queue=flood, exclusive=True)
        deaf.send(1, "basic.consume", queue=flood, tag="t", no_ack=True)
        for _ in range(64):
            wire.publish(1, "", flood, bytes(100_000))
        began = time.monotonic()
        wire.publish(1, "", queue, b"x")
        equal(wire.expect_message(1, queue).body, b"x")
        assert time.monotonic() - began < 5
