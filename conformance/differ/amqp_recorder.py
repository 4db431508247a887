"""Asks an AMQP 0-9-1 broker what clients ask, method by method, and prints every answer: `step | answer`.

Each step has a connection of its own, and names that the steps before did not use. What a broker says by itself
(deliveries, returns, closes) is printed in the order in which it comes.
"""

import socket
import struct
import sys
import time

from frames import BODY, CONTENT, HEARTBEAT, METHOD, Frame, decode_header, decode_method, encode_header, encode_method
from wire import Closed, Wire

import amqp_situations

# Longer than any answer takes; a broker that says nothing more for this long has said all.
QUIET_SECONDS = 0.35
ANSWER_SECONDS = 5
CONFIRMS = ("basic.ack ", "basic.nack ")
STEPS = []


def step(function):
    STEPS.append(function)
    return function


class Ended(Exception):
    """The connection is gone: there is nothing more to ask."""


class Desk:
    """One connection with channel 1, and what was said on it."""

    def __init__(self, address, say):
        self.address, self.say = address, say
        self.wire = Wire(address).open()
        self.wire.channel(1)
        self.others = []

    def other(self):
        """Another connection, whose answers are marked."""
        desk = Desk(self.address, lambda fact: self.say(f"(other) {fact}"))
        self.others.append(desk)
        return desk

    def close(self):
        for desk in self.others:
            desk.close()
        self.wire.socket.close()

    def send(self, name, channel=1, **values):
        self.wire.send(channel, name, **values)

    def ask(self, name, channel=1, **values):
        """Sends a method and prints the next thing that comes."""
        self.send(name, channel, **values)
        return self.hear(ANSWER_SECONDS)

    def publish(self, key, body=b"m", exchange="", flags=None, **properties):
        self.wire.publish(1, exchange, key, body, flags=flags, **properties)

    def hear(self, seconds):
        """The next method, printed; nothing when none comes in time."""
        self.wire.socket.settimeout(seconds)
        try:
            return self._next()
        except (socket.timeout, TimeoutError):
            return None
        except (Closed, ConnectionError) as closed:
            self.say("the connection is closed")
            raise Ended from closed

    def listen(self, seconds=QUIET_SECONDS):
        """Everything that comes until it is quiet. Confirms are told last: nobody promises when they come."""
        facts, say = [], self.say
        self.say = facts.append
        try:
            while self.hear(seconds) is not None:
                pass
        finally:
            self.say = say
            for fact in sorted(facts, key=lambda fact: fact.startswith(CONFIRMS)):
                say(fact)

    def _next(self):
        while True:
            frame = self.wire.frame()
            if frame.kind != HEARTBEAT:
                break
        assert frame.kind == METHOD, frame
        method = decode_method(frame.payload)
        if method.name in CONTENT:
            self.wire.socket.settimeout(ANSWER_SECONDS)
            self.wire.content(frame.channel, method)
        self.say(shown(method))
        if method.name == "channel.close":
            # Another step of the same channel may follow.
            self.wire.send(frame.channel, "channel.close-ok")
            self.wire.call(frame.channel, "channel.open")
        if method.name == "connection.close":
            self.wire.send(0, "connection.close-ok")
            self.say("then " + ("closed" if self.wire.rest() == b"" else "more"))
            raise Ended
        return method


def shown(method):
    facts = []
    for name, value in vars(method).items():
        if name in ("name", "raw_properties", "body_frames", "ticket", "reserved_1"):
            continue
        facts.append(f"{name}={plain(name, value)}")
    return f"{method.name} {' '.join(facts)}".strip()


def plain(name, value):
    if isinstance(value, dict):
        inner = ", ".join(f"{key}: {plain(key, value[key])}" for key in sorted(value, key=str))
        return "{" + inner + "}"
    if isinstance(value, list):
        return "[" + ", ".join(plain(name, one) for one in value) + "]"
    # Names a broker makes, and times, are never the same twice.
    if name == "time" or (name == "timestamp" and value):
        return "TIME"
    if isinstance(value, (str, bytes)):
        text = value if isinstance(value, str) else value.decode(errors="backslashreplace")
        return repr("GENERATED" if text.startswith(("amq.gen-", "amq.ctag-", "g2.", "amq.rabbitmq.reply-to.")) else text)
    return str(value)


def main(address):
    for function in STEPS + amqp_situations.STEPS:
        name = function.__name__.replace("_", " ")

        def say(fact, name=name):
            print(f"{name} | {fact}", flush=True)

        desk = Desk(address, say)
        try:
            function(desk)
        except Ended:
            pass
        finally:
            desk.close()


# --- queues -----------------------------------------------------------------------------------------------------------


@step
def queue_declared_in_many_ways(it):
    it.ask("queue.declare", queue="q-plain", durable=True)
    it.ask("queue.declare", queue="q-plain", durable=True)
    it.ask("queue.declare", queue="q-plain", passive=True)
    it.ask("queue.declare", exclusive=True)
    it.ask("queue.declare", passive=True)
    it.ask("queue.delete", queue="q-plain")
    it.ask("queue.delete", queue="q-plain")


def differing(name, first, second):
    def check(it):
        it.ask("queue.declare", queue=f"q-{name}", **first)
        it.ask("queue.declare", queue=f"q-{name}", **second)
        it.ask("queue.delete", queue=f"q-{name}")

    check.__name__ = f"queue_declared_with_another_{name}"
    STEPS.append(check)


for _name, _first, _second in (
    ("durability", {"durable": True}, {"durable": False}),
    ("lifetime", {"durable": True, "auto_delete": True}, {"durable": True}),
    ("exclusiveness", {"exclusive": True}, {}),
    ("time-to-live", {"durable": True, "arguments": {"x-message-ttl": 1000}}, {"durable": True}),
    ("limit", {"durable": True, "arguments": {"x-max-length": 5}}, {"durable": True, "arguments": {"x-max-length": 6}}),
    ("type", {"durable": True}, {"durable": True, "arguments": {"x-queue-type": "quorum"}}),
):
    differing(_name, _first, _second)


def argument(name, value):
    queue = f"q-argument-{len(STEPS)}"

    def check(it):
        it.ask("queue.declare", queue=queue, durable=True, arguments={name: value})
        it.ask("queue.delete", queue=queue)

    check.__name__ = f"queue_argument_{name}_is_{value!r}"
    STEPS.append(check)


for _name, _values in {
    "x-message-ttl": (0, -1, "1", 2**40, True),
    "x-expires": (0, -1, "1", 2**40),
    "x-max-length": (0, -1, "1"),
    "x-max-length-bytes": (0, -1, "1"),
    "x-overflow": ("drop-head", "reject-publish", "reject-publish-dlx", "nonsense", 1),
    "x-max-priority": (0, 1, 255, 256, -1, "1"),
    "x-dead-letter-exchange": ("", "nowhere", 1),
    "x-dead-letter-routing-key": ("key",),
    "x-single-active-consumer": (True, False, "yes"),
    "x-queue-mode": ("lazy", "default", "nonsense"),
    "x-queue-type": ("classic", "quorum", "nonsense", 1),
    "x-queue-version": (1, 2, 3),
    "x-queue-master-locator": ("min-masters", "nonsense"),
    "x-delivery-limit": (5, -1, "5"),
    "x-quorum-initial-group-size": (1,),
    "x-unknown": ("anything",),
}.items():
    for _value in _values:
        argument(_name, _value)


@step
def queue_names(it):
    for name in ("amq.mine", "a\r\nb", "x" * 255, "ü"):
        it.ask("queue.declare", queue=name, exclusive=True)


@step
def queue_quorum_must_be_durable(it):
    it.ask("queue.declare", queue="q-quorum-1", arguments={"x-queue-type": "quorum"})
    it.ask("queue.declare", queue="q-quorum-2", durable=True, exclusive=True, arguments={"x-queue-type": "quorum"})


@step
def exclusive_queue_of_another_connection(it):
    it.ask("queue.declare", queue="q-exclusive", exclusive=True)
    other = it.other()
    for name in ("queue.declare", "queue.purge", "queue.delete", "basic.get", "basic.consume", "queue.bind", "queue.unbind"):
        more = {"exchange": "amq.direct"} if name in ("queue.bind", "queue.unbind") else {}
        other.ask(name, queue="q-exclusive", **more)
    other.ask("queue.declare", queue="q-exclusive", passive=True)


@step
def queue_deleted_only_when(it):
    it.ask("queue.declare", queue="q-when")
    it.ask("confirm.select")
    it.publish("q-when")
    it.hear(ANSWER_SECONDS)
    it.ask("queue.delete", queue="q-when", if_empty=True)
    it.ask("basic.consume", queue="q-when", tag="c")
    it.listen()
    it.ask("queue.delete", queue="q-when", if_unused=True)
    it.ask("queue.delete", queue="q-when")
    it.ask("queue.delete", queue="never-there")


@step
def purge_counts_ready_ones_only(it):
    it.ask("queue.declare", queue="q-purge")
    it.ask("confirm.select")
    for _ in range(3):
        it.publish("q-purge")
        it.hear(ANSWER_SECONDS)
    it.ask("basic.get", queue="q-purge")
    it.ask("queue.declare", queue="q-purge", passive=True)
    it.ask("queue.purge", queue="q-purge")
    it.send("basic.nack", delivery_tag=1, requeue=True)
    it.listen()
    it.ask("queue.declare", queue="q-purge", passive=True)
    it.ask("queue.purge", queue="nothing-here")


# --- exchanges and bindings -------------------------------------------------------------------------------------------


@step
def exchange_declared_in_many_ways(it):
    for name, kind, flags in (
        ("e-plain", "direct", {}), ("e-plain", "direct", {}), ("e-plain", "fanout", {}), ("e-plain", "direct", {"durable": True}),
        ("amq.mine", "direct", {}), ("amq.direct", "direct", {"durable": True}),
        ("amq.direct", "fanout", {"durable": True}), ("", "direct", {"durable": True}), ("e-never", "direct", {"passive": True}),
        ("e-plain", "", {"passive": True}), ("e\r\n-lines", "direct", {}),
        ("e-alternate", "fanout", {"arguments": {"alternate-exchange": "e-plain"}}),
        ("e-alternate", "fanout", {}),
        ("e-alternate-2", "fanout", {"arguments": {"alternate-exchange": 5}}),
    ):
        it.ask("exchange.declare", exchange=name, type=kind, **flags)


@step
def exchange_deleted_in_many_ways(it):
    it.ask("exchange.declare", exchange="e-delete", type="direct")
    it.ask("queue.declare", queue="q-delete", exclusive=True)
    it.ask("queue.bind", queue="q-delete", exchange="e-delete", routing_key="k")
    it.ask("exchange.delete", exchange="e-delete", if_unused=True)
    it.ask("exchange.delete", exchange="e-delete")
    it.ask("exchange.delete", exchange="e-delete")
    it.ask("exchange.delete", exchange="amq.direct")
    it.ask("exchange.delete", exchange="")


@step
def bindings_that_are_refused(it):
    it.ask("queue.declare", queue="q-bind", exclusive=True)
    it.ask("queue.bind", queue="q-bind", exchange="nowhere")
    it.ask("queue.bind", queue="nobody", exchange="amq.direct")
    it.ask("queue.bind", queue="q-bind", exchange="")
    it.ask("queue.unbind", queue="q-bind", exchange="amq.direct", routing_key="never")
    it.ask("queue.unbind", queue="q-bind", exchange="nowhere")
    it.ask("queue.unbind", queue="nobody", exchange="amq.direct")
    it.ask("exchange.bind", destination="nowhere", source="amq.direct")
    it.ask("exchange.bind", destination="amq.direct", source="")
    it.ask("exchange.unbind", destination="amq.direct", source="amq.fanout", routing_key="never")
    it.ask("queue.bind", queue="q-bind", exchange="amq.headers", arguments={"x-match": "nonsense"})
    it.ask("queue.bind", queue="q-bind", exchange="amq.headers", arguments={"x-match": 5})


@step
def auto_delete_exchange_goes_with_its_last_binding(it):
    it.ask("exchange.declare", exchange="e-auto", type="direct", auto_delete=True)
    it.ask("queue.declare", queue="q-auto-exchange", exclusive=True)
    it.ask("queue.bind", queue="q-auto-exchange", exchange="e-auto")
    it.ask("queue.unbind", queue="q-auto-exchange", exchange="e-auto")
    it.ask("exchange.declare", exchange="e-auto", passive=True)


@step
def auto_delete_queue_is_gone_at_once(it):
    for turn in range(5):
        it.ask("queue.declare", queue="q-auto", auto_delete=True)
        it.ask("basic.consume", queue="q-auto", tag=f"c{turn}")
        it.ask("basic.cancel", tag=f"c{turn}")
        it.ask("queue.declare", queue="q-auto", passive=True)


@step
def auto_delete_queue_goes_with_its_channel(it):
    it.ask("queue.declare", queue="q-auto-channel", auto_delete=True)
    it.ask("basic.consume", queue="q-auto-channel", tag="c")
    it.ask("channel.close", code=200)
    it.ask("channel.open")
    it.ask("queue.declare", queue="q-auto-channel", passive=True)


@step
def headers_exchange_matches(it):
    it.ask("queue.declare", queue="q-headers", exclusive=True)
    for arguments in ({"x-match": "all", "a": 1, "b": "x"}, {"x-match": "any", "c": True, "d": 2}, {"e": None}):
        it.ask("queue.bind", queue="q-headers", exchange="amq.headers", routing_key=str(len(arguments)), arguments=arguments)
    it.ask("confirm.select")
    for headers in ({"a": 1, "b": "x"}, {"a": 1}, {"c": True}, {"d": 2}, {"d": "2"}, {"e": 5}, {}):
        it.publish("any", exchange="amq.headers", headers=headers, flags={"mandatory": True})
        it.listen(0.1)
    while it.ask("basic.get", queue="q-headers", no_ack=True).name == "basic.get-ok":
        pass


@step
def topic_exchange_matches(it):
    it.ask("queue.declare", queue="q-topic", exclusive=True)
    it.ask("confirm.select")
    for pattern in ("a.*", "#.end", "x.#.y", "", "#"):
        it.ask("queue.bind", queue="q-topic", exchange="amq.topic", routing_key=pattern)
        for key in ("a.b", "a", "end", "long.way.end", "x.y", "x.1.2.y", "", "a.b.c", "..", "a..end"):
            it.publish(key, exchange="amq.topic", flags={"mandatory": True})
            it.listen(0.06)
        it.ask("queue.unbind", queue="q-topic", exchange="amq.topic", routing_key=pattern)
        it.ask("queue.purge", queue="q-topic")


# --- publishing -------------------------------------------------------------------------------------------------------


@step
def publishing_to_what_is_missing(it):
    it.ask("confirm.select")
    it.publish("nobody")
    it.listen()
    it.publish("nobody", flags={"mandatory": True})
    it.listen()
    it.publish("k", exchange="nowhere")
    it.listen()


@step
def publishing_immediately_is_not_implemented(it):
    it.publish("nobody", flags={"immediate": True})
    it.listen(1)


@step
def publishing_into_an_internal_exchange(it):
    it.ask("exchange.declare", exchange="e-internal", type="direct", internal=True, auto_delete=True)
    it.publish("k", exchange="e-internal")
    it.listen()


@step
def publishing_with_properties(it):
    it.ask("queue.declare", queue="q-properties", exclusive=True)
    it.publish("q-properties", b"", content_type="text/plain", content_encoding="gzip", headers={"h": 1}, delivery_mode=2,
               priority=7, correlation_id="c", reply_to="r", expiration="60000", message_id="m", timestamp=1, type="t",
               user_id="guest", app_id="a")
    it.listen()
    it.ask("basic.get", queue="q-properties", no_ack=True)


def property_refused(name, **properties):
    def check(it):
        it.ask("queue.declare", queue=f"q-property-{name}", exclusive=True)
        it.publish(f"q-property-{name}", **properties)
        it.listen()
        it.ask("basic.get", queue=f"q-property-{name}", no_ack=True)

    check.__name__ = f"publishing_with_{name}"
    STEPS.append(check)


property_refused("another user id", user_id="somebody")
property_refused("an expiration that is no number", expiration="soon")
property_refused("a negative expiration", expiration="-1")
property_refused("an expiration of zero", expiration="0")
property_refused("an expiration that is too large", expiration="9999999999999999999999")
property_refused("CC that is no list", headers={"CC": "x"})
property_refused("BCC that is no list", headers={"BCC": 5})
property_refused("CC of numbers", headers={"CC": [5]})
property_refused("priority 255", priority=255)


@step
def carbon_copies(it):
    for name in ("q-cc-1", "q-cc-2", "q-cc-3"):
        it.ask("queue.declare", queue=name, exclusive=True)
    it.publish("q-cc-1", headers={"CC": ["q-cc-2"], "BCC": ["q-cc-3"], "other": 1})
    it.listen()
    for name in ("q-cc-1", "q-cc-2", "q-cc-3"):
        it.ask("basic.get", queue=name, no_ack=True)


@step
def alternate_exchange_takes_what_is_not_routed(it):
    it.ask("exchange.declare", exchange="e-other", type="fanout", auto_delete=True)
    it.ask("exchange.declare", exchange="e-main", type="direct", arguments={"alternate-exchange": "e-other"}, auto_delete=True)
    it.ask("queue.declare", queue="q-other", exclusive=True)
    it.ask("queue.bind", queue="q-other", exchange="e-other")
    it.ask("confirm.select")
    it.publish("nobody", exchange="e-main", flags={"mandatory": True})
    it.listen()
    it.ask("basic.get", queue="q-other", no_ack=True)
    it.ask("exchange.delete", exchange="e-main")


# --- consuming --------------------------------------------------------------------------------------------------------


@step
def consumers_that_are_refused(it):
    it.ask("queue.declare", queue="q-consume", exclusive=True)
    it.ask("basic.consume", queue="nobody")
    it.ask("basic.consume", queue="q-consume", tag="c", exclusive=True)
    it.ask("basic.consume", queue="q-consume", tag="d")
    it.ask("basic.consume", queue="q-consume", tag="d")
    it.ask("basic.consume", queue="q-consume", tag="e", exclusive=True)
    it.ask("basic.cancel", tag="never")
    it.ask("basic.consume", queue="q-consume", tag="c")
    it.ask("basic.consume", queue="q-consume", tag="c")
    it.listen()


@step
def deliveries_and_their_tags(it):
    it.ask("queue.declare", queue="q-deliver", exclusive=True)
    for body in (b"1", b"2", b"3", b"4"):
        it.publish("q-deliver", body)
    it.ask("basic.qos", prefetch_count=2)
    it.ask("basic.consume", queue="q-deliver", tag="c")
    it.listen()
    it.send("basic.reject", delivery_tag=1, requeue=True)
    it.listen()
    it.send("basic.nack", delivery_tag=0, multiple=True, requeue=False)
    it.listen()
    it.send("basic.ack", delivery_tag=99)
    it.listen()


@step
def acknowledging_twice(it):
    it.ask("queue.declare", queue="q-twice", exclusive=True)
    it.publish("q-twice")
    it.listen(0.1)
    it.ask("basic.get", queue="q-twice")
    it.send("basic.ack", delivery_tag=1)
    it.send("basic.ack", delivery_tag=1)
    it.listen()


@step
def recovering(it):
    it.ask("queue.declare", queue="q-recover", exclusive=True)
    it.publish("q-recover", b"1")
    it.publish("q-recover", b"2")
    it.listen(0.1)
    it.ask("basic.get", queue="q-recover")
    it.ask("basic.get", queue="q-recover")
    it.ask("basic.recover", requeue=True)
    it.listen(0.1)
    it.ask("basic.get", queue="q-recover", no_ack=True)
    it.ask("basic.recover", requeue=False)


@step
def cancelled_when_the_queue_goes(it):
    it.ask("queue.declare", queue="q-cancelled")
    it.ask("basic.consume", queue="q-cancelled", tag="c")
    other = it.other()
    other.ask("queue.delete", queue="q-cancelled")
    it.listen()


@step
def prefetch_that_is_refused(it):
    it.ask("basic.qos", prefetch_size=5)
    it.listen()


@step
def direct_reply_to(it):
    it.ask("basic.consume", queue="amq.rabbitmq.reply-to", tag="c")
    it.ask("basic.consume", queue="amq.rabbitmq.reply-to", tag="c", no_ack=True)
    it.ask("queue.declare", queue="amq.rabbitmq.reply-to", passive=True)
    it.publish("amq.rabbitmq.reply-to.nonsense", flags={"mandatory": True})
    it.listen()


@step
def single_active_consumer(it):
    it.ask("queue.declare", queue="q-single", arguments={"x-single-active-consumer": True})
    it.ask("basic.consume", queue="q-single", tag="one", no_ack=True)
    it.ask("basic.consume", queue="q-single", tag="two", no_ack=True)
    it.publish("q-single", b"1")
    it.listen()
    it.ask("basic.cancel", tag="one")
    it.publish("q-single", b"2")
    it.listen()
    it.ask("basic.consume", queue="q-single", tag="three", exclusive=True)
    it.ask("queue.delete", queue="q-single")


# --- limits, times, dead letters --------------------------------------------------------------------------------------


def dead_lettered(name, arguments, act, publish=None):
    def check(it):
        it.ask("queue.declare", queue=f"q-dead-{name}", exclusive=True)
        arguments_all = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"q-dead-{name}"} | arguments
        it.ask("queue.declare", queue=f"q-live-{name}", exclusive=True, arguments=arguments_all)
        it.ask("confirm.select")
        (publish or (lambda it, queue: it.publish(queue, b"d", headers={"kept": 1}, expiration="100000")))(it, f"q-live-{name}")
        it.listen()
        act(it, f"q-live-{name}")
        it.listen(0.5)
        while it.ask("basic.get", queue=f"q-dead-{name}", no_ack=True).name == "basic.get-ok":
            pass
        it.ask("queue.declare", queue=f"q-live-{name}", passive=True)

    check.__name__ = f"dead_letters_{name}"
    STEPS.append(check)


def reject_one(it, queue):
    it.ask("basic.get", queue=queue)
    it.send("basic.reject", delivery_tag=1, requeue=False)


def many(it, queue):
    for body in (b"1", b"2", b"3"):
        it.publish(queue, body)
        it.listen(0.1)


dead_lettered("rejected", {}, reject_one)
dead_lettered("expired", {"x-message-ttl": 50}, lambda it, queue: time.sleep(0.3))
dead_lettered("too_many", {"x-max-length": 2}, lambda it, queue: None, many)
dead_lettered("refused", {"x-max-length": 2, "x-overflow": "reject-publish-dlx"}, lambda it, queue: None, many)
dead_lettered("with_copies", {}, reject_one, lambda it, queue: it.publish(queue, headers={"CC": ["x"], "BCC": ["y"]}))
dead_lettered("own_expiration", {}, lambda it, queue: time.sleep(0.3), lambda it, queue: it.publish(queue, expiration="50"))


@step
def dead_letters_go_round(it):
    it.ask("queue.declare", queue="q-round-a", exclusive=True,
           arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q-round-b"})
    it.ask("queue.declare", queue="q-round-b", exclusive=True, arguments={
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q-round-a", "x-message-ttl": 50})
    it.publish("q-round-a")
    for _ in range(2):
        it.listen(0.4)
        got = it.ask("basic.get", queue="q-round-a")
        it.send("basic.reject", delivery_tag=got.delivery_tag, requeue=False)
    it.listen(0.5)
    it.ask("basic.get", queue="q-round-a", no_ack=True)


@step
def lengths_are_kept(it):
    it.ask("queue.declare", queue="q-length", exclusive=True, arguments={"x-max-length": 2})
    it.ask("confirm.select")
    many(it, "q-length")
    it.ask("queue.declare", queue="q-length", passive=True)
    while it.ask("basic.get", queue="q-length").name == "basic.get-ok":
        pass


@step
def lengths_that_refuse(it):
    it.ask("queue.declare", queue="q-refuse", exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    it.ask("confirm.select")
    many(it, "q-refuse")
    it.ask("basic.get", queue="q-refuse", no_ack=True)
    it.publish("q-refuse", b"4")
    it.listen()


@step
def limit_holds_after_a_requeue(it):
    it.ask("queue.declare", queue="q-requeue", exclusive=True, arguments={"x-max-length": 1})
    it.ask("confirm.select")
    it.publish("q-requeue", b"1")
    it.hear(ANSWER_SECONDS)
    it.ask("basic.get", queue="q-requeue")
    it.publish("q-requeue", b"2")
    it.hear(ANSWER_SECONDS)
    it.send("basic.nack", delivery_tag=1, requeue=True)
    it.ask("queue.declare", queue="q-requeue", passive=True)
    it.ask("basic.get", queue="q-requeue", no_ack=True)
    it.ask("basic.get", queue="q-requeue", no_ack=True)


@step
def time_to_live_of_zero(it):
    it.ask("queue.declare", queue="q-zero", exclusive=True, arguments={"x-message-ttl": 0})
    it.publish("q-zero", b"nobody waits")
    it.listen()
    it.ask("basic.get", queue="q-zero", no_ack=True)
    it.ask("basic.consume", queue="q-zero", tag="c")
    it.publish("q-zero", b"somebody waits")
    got = it.hear(ANSWER_SECONDS)
    it.send("basic.nack", delivery_tag=got.delivery_tag, requeue=True)
    it.listen(0.5)


@step
def priorities_first(it):
    it.ask("queue.declare", queue="q-priority", exclusive=True, arguments={"x-max-priority": 5})
    for priority in (0, 9, 3, None, 5, 1):
        it.publish("q-priority", str(priority).encode(), **({} if priority is None else {"priority": priority}))
    it.listen()
    while it.ask("basic.get", queue="q-priority", no_ack=True).name == "basic.get-ok":
        pass


@step
def delivery_limit_of_a_quorum_queue(it):
    it.ask("queue.declare", queue="q-limit", durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 1})
    it.ask("confirm.select")
    it.publish("q-limit")
    it.hear(ANSWER_SECONDS)
    for _ in range(3):
        time.sleep(0.2)
        got = it.ask("basic.get", queue="q-limit")
        if got.name == "basic.get-empty":
            break
        it.send("basic.nack", delivery_tag=got.delivery_tag, requeue=True)
    it.ask("queue.delete", queue="q-limit")


@step
def queue_expires(it):
    it.ask("queue.declare", queue="q-expires", arguments={"x-expires": 100})
    time.sleep(0.6)
    it.ask("queue.declare", queue="q-expires", passive=True)


# --- confirms, transactions, channels, connections --------------------------------------------------------------------


@step
def confirms_and_transactions_exclude_each_other(it):
    it.ask("confirm.select")
    it.ask("confirm.select")
    it.ask("tx.select")
    it.ask("tx.select")
    it.ask("tx.select")
    it.ask("confirm.select")


@step
def transactions(it):
    it.ask("tx.commit")
    it.ask("tx.rollback")
    it.ask("queue.declare", queue="q-tx", exclusive=True)
    it.ask("tx.select")
    it.publish("q-tx", b"1")
    it.ask("queue.declare", queue="q-tx", passive=True)
    it.ask("tx.rollback")
    it.publish("q-tx", b"2")
    it.publish("nobody", b"3", flags={"mandatory": True})
    it.ask("tx.commit")
    it.listen()
    it.ask("basic.get", queue="q-tx")
    it.send("basic.ack", delivery_tag=1)
    it.ask("tx.rollback")
    it.ask("basic.get", queue="q-tx")


@step
def channels(it):
    it.ask("channel.flow", active=True)
    it.ask("channel.flow", active=False)
    it.ask("channel.open", channel=2)
    it.ask("channel.close", channel=2, code=200, text="bye")
    it.ask("channel.open")


def fatal(name, octets):
    def check(it):
        it.wire.write(octets)
        it.listen(1)

    check.__name__ = f"connection_ends_by_{name}"
    STEPS.append(check)


def method_frame(channel, name, **values):
    return Frame(METHOD, channel, encode_method(name, **values)).encode()


fatal("a_method_on_a_closed_channel", method_frame(9, "basic.qos"))
fatal("an_unknown_class", Frame(METHOD, 1, struct.pack(">HH", 99, 1)).encode())
fatal("an_unknown_method", Frame(METHOD, 1, struct.pack(">HH", 60, 199)).encode())
fatal("a_body_without_a_method", Frame(BODY, 1, b"x").encode())
fatal("a_header_without_a_method", Frame(2, 1, encode_header(1, {})).encode())
fatal("a_method_inside_content", method_frame(1, "basic.publish", routing_key="x") + method_frame(1, "basic.qos"))
fatal("a_wrong_frame_end", method_frame(1, "basic.qos")[:-1] + b"\x00")
fatal("an_unknown_frame_type", Frame(77, 1, b"x").encode())
fatal("a_cut_method", Frame(METHOD, 1, struct.pack(">HH", 60, 10)).encode())
fatal("a_channel_that_is_too_high", method_frame(65000, "channel.open"))
fatal("a_frame_that_is_too_large", Frame(METHOD, 1, b"x" * 200_000).encode())
fatal("a_frame_of_channel_0_that_belongs_to_a_channel", method_frame(0, "basic.qos"))
fatal("a_connection_method_on_a_channel", method_frame(1, "connection.close", code=200))
fatal("a_second_open", method_frame(0, "connection.open", vhost="/"))
fatal("a_heartbeat_on_a_channel", Frame(HEARTBEAT, 1, b"").encode())


@step
def connection_closed_by_the_client(it):
    it.ask("connection.close", channel=0, code=200, text="bye")
    it.listen(1)


@step
def update_secret(it):
    it.ask("connection.update-secret", channel=0, secret="anything", reason="renewed")


if __name__ == "__main__":
    main(sys.argv[1])
