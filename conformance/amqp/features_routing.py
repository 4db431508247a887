"""Where messages go: exchanges of every type, bindings between them, alternates, copies, hashes."""

from pika.exceptions import ChannelClosedByBroker

from harness.cases import Skipped, equal, eventually, fresh
from session import SECONDS, feature

# Patterns, and for each key whether it fits.
TOPICS = {
    "a.b": {"a.b": True, "a": False, "a.b.c": False, "b.a": False},
    "*.b": {"a.b": True, ".b": True, "b": False, "a.a.b": False},
    "a.#": {"a": True, "a.": True, "a.b": True, "a.b.c": True, "b.a": False, "ab": False},
    "#.c": {"c": True, "a.c": True, "a.b.c": True, "c.a": False},
    "a.#.c": {"a.c": True, "a.b.c": True, "a.b.b.c": True, "a.b": False, "c": False},
    # Nothing is no word.
    "*": {"a": True, "": False, "a.b": False},
    "#": {"": True, "a": True, "a.b.c": True},
    "*.#": {"a": True, "a.b": True},
    "#.*": {"a": True, "a.b": True},
    "a.*.#": {"a": False, "a.b": True, "a.b.c": True},
    "*.*": {"a": False, "a.b": True, "a.b.c": False},
    "#.#": {"": True, "a": True, "a.b": True},
    "": {"": True, "a": False},
    # A wildcard is one only if it is a whole word.
    "a*.b": {"a*.b": True, "ab.b": False},
    "..": {"..": True, ".": False},
}
WANTED = {"a": 1, "b": "two"}
# How to match WANTED, and for each set of headers whether it does.
HEADERS = {
    "all": (
        ({"a": 1, "b": "two"}, True),
        ({"a": 1, "b": "two", "c": 3}, True),
        ({"a": 1}, False),
        ({"a": 2, "b": "two"}, False),
    ),
    "any": (({"a": 1}, True), ({"b": "two", "c": 3}, True), ({"a": 2, "b": "three"}, False), ({}, False)),
}


@feature
def the_key_is_the_queue(it):
    queue = it.queue()
    it.publish(queue, "x")
    equal(it.drain(queue), ["x"])
    assert it.unroutable(f"{queue}.not", "x")


@feature
def direct_exchanges_compare(it):
    exchange, one, both = it.exchange("direct"), it.queue(), it.queue()
    it.bind(one, exchange, "a")
    for key in ("a", "b"):
        it.bind(both, exchange, key)
    for key in ("a", "b", "c"):
        it.publish(key, key, exchange)
    equal((it.drain(one), it.drain(both)), (["a"], ["a", "b"]))


@feature
def fanout_exchanges_ignore_the_key(it):
    exchange, queues = it.exchange("fanout"), [it.queue() for _ in range(3)]
    for number, queue in enumerate(queues):
        it.bind(queue, exchange, f"{number}")
    it.publish("any", "x", exchange)
    equal([it.drain(queue) for queue in queues], [["x"]] * 3)


@feature
def topics_have_wildcards(it):
    exchange = it.exchange("topic")
    queues = {pattern: it.queue() for pattern in TOPICS}
    for pattern, queue in queues.items():
        it.bind(queue, exchange, pattern)
    keys = {key for fits in TOPICS.values() for key in fits}
    for key in keys:
        it.publish(key, f"<{key}>", exchange)
    wrong = []
    for pattern, queue in queues.items():
        found = it.drain(queue)
        wrong += [(pattern, key) for key, fits in TOPICS[pattern].items() if (f"<{key}>" in found) != fits]
    equal(wrong, [])


@feature
def unbinding_a_pattern_leaves_the_others(it):
    exchange, queue = it.exchange("topic"), it.queue()
    for pattern in ("a.*", "a.#", "*.b"):
        it.bind(queue, exchange, pattern)
    it.channel.queue_unbind(queue, exchange, "a.*")
    it.publish("a.b", "x", exchange)
    it.channel.queue_unbind(queue, exchange, "a.#")
    it.publish("a.c", "y", exchange)
    equal(it.drain(queue), ["x"])


@feature
def a_queue_gets_a_message_once(it):
    exchange, queue = it.exchange("topic"), it.queue()
    for pattern in ("#", "a.*", "*.b", "a.b"):
        it.bind(queue, exchange, pattern)
        # The same again is the same.
        it.bind(queue, exchange, pattern)
    it.publish("a.b", "x", exchange)
    equal(it.drain(queue), ["x"])


@feature
def headers_are_matched(it):
    exchange = it.exchange("headers")
    for match, examples in HEADERS.items():
        queue = it.queue()
        it.bind(queue, exchange, arguments={"x-match": match} | WANTED)
        for number, (headers, _) in enumerate(examples):
            it.publish("", f"{number}", exchange, headers=headers)
        equal((match, it.drain(queue)), (match, [f"{number}" for number, (_, fits) in enumerate(examples) if fits]))
        it.channel.queue_unbind(queue, exchange, arguments={"x-match": match} | WANTED)
        # An exchange that goes with its last binding is gone.
        exchange = it.exchange("headers")


@feature
def all_headers_unless_said_otherwise(it):
    exchange, queue = it.exchange("headers"), it.queue()
    it.bind(queue, exchange, arguments=WANTED)
    it.publish("", "some", exchange, headers={"a": 1})
    it.publish("", "all", exchange, headers=WANTED)
    equal(it.drain(queue), ["all"])


@feature
def some_headers_need_only_be_there(it):
    exchange, queue = it.exchange("headers"), it.queue()
    it.bind(queue, exchange, arguments={"x-match": "all", "a": None})
    for number, headers in enumerate(({"a": "anything"}, {"a": 7}, {"b": 1})):
        it.publish("", f"{number}", exchange, headers=headers)
    equal(it.drain(queue), ["0", "1"])


@feature
def some_headers_are_left_out(it):
    exchange, plain, thorough = it.exchange("headers"), it.queue(), it.queue()
    wanted = {"a": 1, "x-b": 2}
    it.bind(plain, exchange, arguments={"x-match": "all"} | wanted)
    it.bind(thorough, exchange, arguments={"x-match": "all-with-x"} | wanted)
    it.publish("", "a", exchange, headers={"a": 1})
    it.publish("", "both", exchange, headers=wanted)
    equal((it.drain(plain), it.drain(thorough)), (["a", "both"], ["both"]))
    either, never = it.queue(), it.queue()
    it.bind(either, exchange, arguments={"x-match": "any-with-x", "x-b": 2})
    it.bind(never, exchange, arguments={"x-match": "any", "x-b": 2})
    it.publish("", "b", exchange, headers={"x-b": 2})
    equal((it.drain(either), it.drain(never)), (["b"], []))


@feature
def exchanges_feed_exchanges(it):
    source, target, queue = it.exchange("topic"), it.exchange("fanout"), it.queue()
    it.bind(queue, target)
    it.channel.exchange_bind(target, source, "a.#")
    it.publish("a.b", "x", source)
    assert it.unroutable("b", "y", source)
    message = it.wait(queue)
    # It says where it was published.
    equal((message.body, message.method.exchange, message.method.routing_key), ("x", source, "a.b"))
    it.channel.exchange_unbind(target, source, "a.#")
    # With its last binding the source is gone.
    eventually(lambda: not exchange_exists(it, source), SECONDS)


@feature
def exchanges_may_feed_each_other_in_circles(it):
    one, other, queue = it.exchange("fanout"), it.exchange("fanout"), it.queue()
    it.channel.exchange_bind(one, other)
    it.channel.exchange_bind(other, one)
    for exchange in (one, other):
        it.bind(queue, exchange)
    it.publish("", "x", one)
    equal(it.drain(queue), ["x"])


@feature
def internal_exchanges_are_fed_by_others(it):
    inner, outer, queue = it.exchange("fanout", internal=True), it.exchange("fanout"), it.queue()
    it.bind(queue, inner)
    it.channel.exchange_bind(inner, outer)
    it.publish("", "x", outer)
    equal(it.drain(queue), ["x"])


@feature
def what_finds_no_queue_takes_the_alternate(it):
    spare, last = it.exchange("fanout"), it.exchange("fanout")
    exchange = it.exchange("direct", {"alternate-exchange": spare})
    known, unknown = it.queue(), it.queue()
    it.bind(known, exchange, "known")
    it.bind(unknown, spare)
    it.publish("known", "a", exchange)
    # Mandatory is satisfied by it.
    assert not it.unroutable("unknown", "b", exchange)
    message = it.wait(unknown)
    equal((it.drain(known), message.body, message.method.exchange), (["a"], "b", exchange))
    # One alternate may have another, and in the end there may be none.
    chain = it.exchange("direct", {"alternate-exchange": it.exchange("direct", {"alternate-exchange": last})})
    assert it.unroutable("unknown", "c", chain)
    it.bind(unknown, last)
    it.publish("unknown", "d", chain)
    equal(it.drain(unknown), ["d"])


@feature
def an_alternate_that_does_not_exist(it):
    exchange = it.exchange("direct", {"alternate-exchange": fresh("nowhere")})
    it.publish("k", "x", exchange)
    assert it.unroutable("k", "x", exchange)


@feature
def copies_go_to_more_keys(it):
    queues = [it.queue() for _ in range(3)]
    it.publish(queues[0], "x", headers={"CC": [queues[1]], "BCC": [queues[2]], "mine": "kept"})
    for queue in queues:
        message = it.wait(queue)
        equal(message.headers, {"CC": [queues[1]], "mine": "kept"})
        equal(message.method.routing_key, queues[0])
    # Each queue once, however often it is named.
    it.publish(queues[0], "x", headers={"CC": [queues[0], queues[1], queues[1]]})
    equal([it.drain(queue) for queue in queues[:2]], [["x"], ["x"]])


@feature
def copies_are_routed_by_any_exchange(it):
    exchange, queue = it.exchange("topic"), it.queue()
    it.bind(queue, exchange, "a.*")
    it.publish("b", "x", exchange, headers={"CC": ["a.copy"]})
    equal(it.wait(queue).method.routing_key, "b")


@feature
def exchanges_may_go_with_their_last_binding(it):
    exchange, queue = it.exchange("fanout"), it.queue()
    assert exchange_exists(it, exchange)
    it.bind(queue, exchange, "a")
    it.bind(queue, exchange, "b")
    it.channel.queue_unbind(queue, exchange, "a")
    assert exchange_exists(it, exchange)
    it.channel.queue_delete(queue)
    eventually(lambda: not exchange_exists(it, exchange), SECONDS)


@feature
def bindings_go_with_their_queue(it):
    queue = it.queue()
    key = fresh("key")
    it.bind(queue, "amq.direct", key)
    it.channel.queue_delete(queue)
    assert it.unroutable(key, "x", "amq.direct")
    it.channel.queue_declare(queue, exclusive=True)
    assert it.unroutable(key, "x", "amq.direct")


@feature
def keys_are_shared_out_by_hash(it):
    exchange = hashing(it)
    light, heavy = it.queue(), it.queue()
    it.bind(light, exchange, "1")
    it.bind(heavy, exchange, "3")
    for number in range(400):
        it.publish(f"key-{number}", f"{number}", exchange)
    found = set(it.drain(light)), set(it.drain(heavy))
    equal(found[0] | found[1], {f"{number}" for number in range(400)})
    equal(found[0] & found[1], set())
    assert 40 <= len(found[0]) <= 180, len(found[0])
    # The same key always goes the same way.
    for number in range(0, 400, 20):
        it.publish(f"key-{number}", f"{number}", exchange)
    again = set(it.drain(light)), set(it.drain(heavy))
    assert again[0] <= found[0] and again[1] <= found[1], again


@feature
def a_header_or_a_property_may_be_hashed(it):
    for arguments, properties in (
        ({"hash-header": "who"}, {"headers": {"who": "same"}}),
        ({"hash-property": "correlation_id"}, {"correlation_id": "same"}),
    ):
        exchange, queues = hashing(it, arguments), [it.queue() for _ in range(4)]
        for queue in queues:
            it.bind(queue, exchange, "1")
        for number in range(20):
            it.publish(f"key-{number}", "x", exchange, **properties)
        equal(sorted(it.count(queue) for queue in queues), [0, 0, 0, 20])


def hashing(it, arguments=None):
    try:
        return it.exchange("x-consistent-hash", arguments)
    except Exception as error:
        if it.peer.old:
            raise Skipped("a plugin that is not enabled here") from None
        raise error


def exchange_exists(it, exchange):
    channel = it.connection.channel()
    try:
        channel.exchange_declare(exchange, passive=True)
    except ChannelClosedByBroker as error:
        equal(error.reply_code, 404)
        return False
    channel.close()
    return True
