"""Before the first channel: protocol headers, logging in, tuning, virtual hosts, heartbeats."""

import struct
import time

from frames import (
    BODY,
    HEADER,
    HEARTBEAT,
    METHOD,
    PROTOCOL,
    Frame,
    encode_header,
    encode_method,
    encode_table,
)
from harness.cases import case, equal, fresh
from wire import CAPABILITIES, Closed

REFUSED = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."
SERVER_CAPABILITIES = {
    "publisher_confirms",
    "exchange_exchange_bindings",
    "basic.nack",
    "consumer_cancel_notify",
    "connection.blocked",
    "consumer_priorities",
    "authentication_failure_close",
    "per_consumer_qos",
    "direct_reply_to",
}


@case
def both_spellings_of_the_protocol_are_understood(peer):
    for header in (b"AMQP\x00\x00\x09\x01", b"AMQP\x01\x01\x00\x09"):
        with peer.connect() as wire:
            start = wire.start(header)
            equal((start.version_major, start.version_minor), (0, 9))


@case
def another_protocol_is_answered_with_a_header(peer):
    # 0-10, 0-9-2 and AMQP 0-8; an old RabbitMQ still speaks the last.
    headers = [b"\x01\x01\x00\x0a", b"\x00\x00\x09\x02"] + ([] if peer.old else [b"\x01\x01\x08\x00"])
    for header in headers:
        with peer.connect() as wire:
            wire.write(b"AMQP" + header)
            # The security layer of AMQP 1.0 is what a server speaks that knows both.
            assert wire.rest() in (PROTOCOL, b"AMQP\x03\x01\x00\x00"), header


@case
def what_is_no_amqp_is_hung_up_on(peer):
    for words in (
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELO there\r\n",
    ):
        with peer.connect() as wire:
            wire.write(words)
            assert wire.rest()[:4] in (b"", b"AMQP"), words


@case
def the_server_says_what_it_is_and_can(peer):
    with peer.connect() as wire:
        start = wire.start()
    properties = start.server_properties
    for name in ("product", "version", "platform", "copyright", "information", "cluster_name"):
        assert isinstance(properties[name], str), properties
    assert all(part.isdigit() for part in properties["version"].split(".")[:2]), properties["version"]
    missing = {name for name in SERVER_CAPABILITIES if properties["capabilities"].get(name) is not True}
    equal(missing, set())
    assert {"PLAIN", "AMQPLAIN"} <= set(start.mechanisms.split()), start.mechanisms
    equal(start.locales, "en_US")


@case
def tuning_is_offered_as_usual(peer):
    with peer.connect() as wire:
        tune = wire.tuned()
        equal((tune.channel_max, tune.frame_max, tune.heartbeat), (2047, 131072, 60))


@case
def a_client_may_ask_for_small_frames(peer):
    queue, body = fresh("queue"), bytes(range(256)) * 64
    with peer.open(frame_max=4096) as wire:
        wire.channel()
        wire.call(1, "queue.declare", queue=queue, exclusive=True)
        wire.publish(1, "", queue, body, frame_max=4096)
        got = wire.expect_message(1, queue)
        equal(got.body, body)
        # Nothing that comes may be larger than was asked for.
        assert got.body_frames >= 5, got.body_frames


def badly_tuned(peer, explanation, **values):
    """An old RabbitMQ hangs up on a client that answers the tuning wrongly, a new one says why."""
    with peer.connect() as wire:
        wire.tuned(**values)
        if peer.old:
            equal(wire.rest(), b"")
        else:
            wire.ended(530, f"NOT_ALLOWED - negotiated {explanation}", (10, 31))


@case
def too_large_frames_are_not_negotiated(peer):
    text = "frame_max = 200000 is higher than the maximum allowed value (131072)"
    badly_tuned(peer, text, frame_max=200000)


@case
def frames_without_a_limit_are_not_negotiated(peer):
    text = "frame_max = 0 is higher than the maximum allowed value (131072)"
    badly_tuned(peer, text, frame_max=0)


@case
def too_small_frames_are_not_negotiated(peer):
    text = "frame_max = 1000 is lower than the minimum allowed value (4096)"
    badly_tuned(peer, text, frame_max=1000)


@case
def more_channels_than_offered_are_not_negotiated(peer):
    text = "channel_max = 65535 is higher than the maximum allowed value (2047)"
    badly_tuned(peer, text, channel_max=65535)


@case
def channels_are_counted(peer):
    with peer.open(channel_max=2) as wire:
        wire.channel(1)
        wire.channel(2)
        wire.call(2, "channel.close")
        wire.channel(2)
        wire.send(3, "channel.open")
        text = "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)"
        wire.ended(530, text)


@case
def a_frame_that_is_too_large_ends_the_connection(peer):
    with peer.open(frame_max=4096) as wire:
        wire.channel()
        wire.write(struct.pack(">BHI", BODY, 1, 4097))
        text = "FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,4097,4088}"
        wire.ended(501, text)


@case
def a_frame_eight_octets_too_large_is_borne(peer):
    with peer.open(frame_max=4096) as wire:
        wire.channel()
        wire.call(1, "confirm.select")
        wire.write(wire.publishing(1, "", fresh("nowhere"), 4096))
        wire.write(Frame(BODY, 1, bytes(4096)).encode())
        wire.expect(1, "basic.ack")


@case
def a_frame_without_its_end_ends_the_connection(peer):
    with peer.open() as wire:
        wire.write(Frame(METHOD, 1, encode_method("channel.open")).encode()[:-1] + b"x")
        close = wire.expect(0, "connection.close")
        equal(close.code, 501)
        assert "invalid_frame_end_marker" in close.text, close.text


@case
def a_virtual_host_has_to_exist(peer):
    with peer.connect() as wire:
        wire.tuned()
        wire.send(0, "connection.open", vhost="nov")
        wire.ended(530, "NOT_ALLOWED - vhost nov not found", (10, 40))


@case
def a_wrong_password_is_said_to_who_understands(peer):
    with peer.connect() as wire:
        wire.start()
        wire.log_in(password="wrong")
        close = wire.expect(0, "connection.close", "connection.tune")
        equal((close.name, close.code, close.text), ("connection.close", 403, REFUSED))


@case
def a_wrong_password_is_hung_up_on_otherwise(peer):
    with peer.connect() as wire:
        wire.start()
        wire.log_in(user="nobody", capabilities={})
        equal(wire.rest(), b"")


@case
def a_mechanism_has_to_be_offered(peer):
    with peer.connect() as wire:
        wire.start()
        wire.send(0, "connection.start-ok", mechanism="NONSENSE", response="", locale="en_US")
        # Without the capability nothing is said.
        equal(wire.rest(), b"")


@case
def amqplain_is_another_way_in(peer):
    with peer.connect() as wire:
        wire.start()
        response = encode_table({"LOGIN": "guest", "PASSWORD": "guest"})[4:]
        wire.send(0, "connection.start-ok", mechanism="AMQPLAIN", response=response, locale="en_US")
        tune = wire.expect(0, "connection.tune")
        wire.send(0, "connection.tune-ok", channel_max=tune.channel_max, frame_max=tune.frame_max)
        wire.call(0, "connection.open", vhost="/")


@case
def secrets_are_renewed(peer):
    with peer.open() as wire:
        wire.call(0, "connection.update-secret", secret="guest", reason="renewed")
        wire.channel()


@case
def a_connection_is_closed_by_its_client(peer):
    with peer.open() as wire:
        wire.channel()
        wire.call(0, "connection.close", code=200, text="done")


@case
def heartbeats_come_twice_per_interval(peer):
    with peer.open(heartbeat=2) as wire:
        began = time.monotonic()
        for _ in range(2):
            frame = wire.frame()
            equal((frame.kind, frame.channel, frame.payload), (HEARTBEAT, 0, b""))
        elapsed = time.monotonic() - began
        assert 0.8 < elapsed < 4.5, elapsed


@case
def a_silent_client_is_left(peer):
    with peer.open(heartbeat=1) as wire:
        began = time.monotonic()
        wire.rest()
        elapsed = time.monotonic() - began
        assert 1.5 < elapsed < 6, elapsed


@case
def any_traffic_is_a_sign_of_life(peer):
    with peer.open(heartbeat=1) as wire:
        wire.channel()
        for _ in range(8):
            time.sleep(0.5)
            wire.call(1, "basic.qos", prefetch_count=1)


@case
def a_client_without_heartbeats_is_left_alone(peer):
    with peer.open(heartbeat=0) as wire:
        wire.socket.settimeout(3)
        try:
            frame = wire.frame()
            raise AssertionError(f"nobody asked for {frame}")
        except TimeoutError:
            pass


@case
def heartbeats_belong_to_the_connection(peer):
    with peer.open() as wire:
        wire.channel()
        wire.write(Frame(HEARTBEAT, 1, b"").encode())
        close = wire.expect(0, "connection.close")
        equal(close.code, 505)
        assert close.text.startswith("UNEXPECTED_FRAME - "), close.text


@case
def consumers_are_told_only_when_they_understand(peer):
    queue = fresh("queue")
    silent = {name: value for name, value in CAPABILITIES.items() if name != "consumer_cancel_notify"}
    with peer.open() as told, peer.open(capabilities=silent) as untold, peer.open() as other:
        for wire in (told, untold, other):
            wire.channel()
        other.call(1, "queue.declare", queue=queue)
        for wire in (told, untold):
            wire.call(1, "basic.consume", queue=queue, tag="t")
        other.call(1, "queue.delete", queue=queue)
        equal(told.expect(1, "basic.cancel").tag, "t")
        untold.call(1, "basic.qos", prefetch_count=1)
        untold.socket.settimeout(0.5)
        try:
            raise AssertionError(f"told of {untold.frame()}")
        except TimeoutError:
            pass


@case
def methods_that_do_not_exist_end_the_connection(peer):
    no_methods = (struct.pack(">HH", 60, 999), encode_method("queue.declare", queue="cut short")[:8], b"")
    for payload in no_methods:
        with peer.open() as wire:
            wire.channel()
            wire.write(Frame(METHOD, 1, payload).encode())
            try:
                close = wire.expect(0, "connection.close")
                assert close.code in (501, 502, 503, 540, 541), close
            except Closed:
                # As good: nothing is owed to a client that is no client.
                pass


@case
def content_has_its_order(peer):
    out_of_order = (
        Frame(BODY, 1, b"x"),
        Frame(HEADER, 1, encode_header(1, {})),
        # A method where the header should be.
        Frame(METHOD, 1, encode_method("basic.publish")),
    )
    for frame in out_of_order:
        with peer.open() as wire:
            wire.channel()
            wire.write(frame.encode())
            if frame.kind == METHOD:
                wire.send(1, "basic.qos")
            close = wire.expect(0, "connection.close")
            equal(close.code, 505)
            assert close.text.startswith("UNEXPECTED_FRAME - "), close.text
