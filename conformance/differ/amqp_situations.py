"""More questions for both brokers: situations that clients get into, many of them once reported as a fault somewhere."""

import socket
import struct
import time

from frames import BODY, METHOD, Frame, Raw, encode_method
from wire import Closed, Wire

ANSWER_SECONDS = 5
STEPS = []


def step(function):
    STEPS.append(function)
    return function


def drain(it, queue):
    """Everything a queue holds, without acknowledging."""
    while it.ask("basic.get", queue=queue, no_ack=True).name == "basic.get-ok":
        pass


def confirmed(it, *keys, **more):
    """Publishes on a channel in confirm mode and waits for each."""
    for key in keys:
        it.publish(key, **more)
        it.hear(ANSWER_SECONDS)


# --- lifetimes and names ----------------------------------------------------------------------------------------------


@step
def unknown_exchange_type(it):
    it.ask("exchange.declare", exchange="e-none", type="nonsense")
    it.listen(1)


@step
def auto_delete_queue_with_two_consumers(it):
    it.ask("queue.declare", queue="s-auto-two", auto_delete=True)
    it.ask("basic.consume", queue="s-auto-two", tag="a")
    it.ask("basic.consume", queue="s-auto-two", tag="b")
    it.ask("basic.cancel", tag="a")
    it.ask("queue.declare", queue="s-auto-two", passive=True)
    it.ask("basic.cancel", tag="b")
    it.ask("queue.declare", queue="s-auto-two", auto_delete=True)
    it.ask("queue.declare", queue="s-auto-two", passive=True)
    it.ask("queue.delete", queue="s-auto-two")


@step
def auto_delete_queue_without_consumers_stays(it):
    it.ask("queue.declare", queue="s-auto-none", auto_delete=True)
    other = it.other()
    other.ask("connection.close", channel=0, code=200, text="bye")
    it.ask("queue.declare", queue="s-auto-none", passive=True)
    it.ask("queue.delete", queue="s-auto-none")


@step
def auto_delete_queue_goes_with_a_connection(it):
    other = it.other()
    other.ask("queue.declare", queue="s-auto-connection", auto_delete=True)
    other.ask("basic.consume", queue="s-auto-connection", tag="c")
    other.wire.socket.close()
    time.sleep(0.5)
    it.ask("queue.declare", queue="s-auto-connection", passive=True)


@step
def auto_delete_with_dead_letters(it):
    it.ask("queue.declare", queue="s-auto-dead", exclusive=True)
    it.ask("queue.declare", queue="s-auto-live", auto_delete=True,
           arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "s-auto-dead"})
    it.ask("confirm.select")
    confirmed(it, "s-auto-live")
    it.ask("basic.consume", queue="s-auto-live", tag="c")
    it.listen()
    it.ask("basic.cancel", tag="c")
    it.listen()
    it.ask("basic.get", queue="s-auto-dead", no_ack=True)


@step
def exclusive_queue_goes_with_its_connection(it):
    other = it.other()
    other.ask("queue.declare", queue="s-exclusive", exclusive=True)
    other.ask("connection.close", channel=0, code=200, text="bye")
    it.ask("queue.declare", queue="s-exclusive", exclusive=True)


@step
def the_last_declared_queue_needs_no_name(it):
    it.ask("queue.bind", exchange="amq.direct")
    it.ask("queue.declare", queue="s-last", exclusive=True)
    it.ask("queue.bind", exchange="amq.direct")
    it.ask("confirm.select")
    it.publish("s-last", exchange="amq.direct", flags={"mandatory": True})
    it.listen()
    it.ask("queue.purge")
    it.ask("basic.consume", tag="c")
    it.ask("queue.delete")
    it.listen()
    it.ask("basic.get")


@step
def nothing_is_answered_where_no_answer_is_wanted(it):
    it.send("queue.declare", queue="s-nowait", exclusive=True, nowait=True)
    it.send("exchange.declare", exchange="s-nowait", type="direct", auto_delete=True, nowait=True)
    it.send("queue.bind", queue="s-nowait", exchange="s-nowait", routing_key="k", nowait=True)
    it.send("confirm.select", nowait=True)
    it.publish("k", exchange="s-nowait", flags={"mandatory": True})
    it.listen()
    it.send("basic.consume", queue="s-nowait", tag="c", nowait=True)
    it.listen()
    it.send("basic.cancel", tag="c", nowait=True)
    it.send("queue.purge", queue="s-nowait", nowait=True)
    it.send("queue.delete", queue="s-nowait", nowait=True)
    it.listen()
    it.ask("queue.declare", queue="s-nowait", passive=True)
    it.send("queue.declare", queue="amq.nowait", nowait=True)
    it.listen()


@step
def bindings_made_twice_are_one(it):
    it.ask("queue.declare", queue="s-twice", exclusive=True)
    for _ in range(2):
        it.ask("queue.bind", queue="s-twice", exchange="amq.direct", routing_key="s-twice-key")
    it.ask("confirm.select")
    confirmed(it, "s-twice-key", exchange="amq.direct")
    it.ask("queue.unbind", queue="s-twice", exchange="amq.direct", routing_key="s-twice-key")
    it.publish("s-twice-key", exchange="amq.direct", flags={"mandatory": True})
    it.listen()
    drain(it, "s-twice")


@step
def names_of_255_bytes_and_routing_keys_of_any_bytes(it):
    it.ask("queue.declare", queue="s-keys", exclusive=True)
    it.ask("confirm.select")
    for key in ("k" * 255, b"\x00\x01", b"\xff\xfe", "a b\n", "ключ"):
        it.ask("queue.bind", queue="s-keys", exchange="amq.direct", routing_key=key)
        it.publish(key, exchange="amq.direct", flags={"mandatory": True})
        it.listen(0.1)
    drain(it, "s-keys")


@step
def line_breaks_in_names_everywhere(it):
    it.ask("queue.declare", queue="s-li\r\nnes", exclusive=True)
    it.ask("queue.declare", queue="s-li\nnes", passive=True)
    it.ask("exchange.declare", exchange="s-li\nnes", type="fanout", auto_delete=True)
    it.ask("queue.bind", queue="s-lines\n", exchange="\rs-lines")
    it.ask("queue.unbind", queue="s-\rlines", exchange="s-li\nnes")
    it.ask("queue.purge", queue="s-\nlines")
    it.ask("basic.get", queue="s-lin\nes")
    it.ask("basic.consume", queue="s-lin\nes", tag="a\nb")
    it.ask("basic.cancel", tag="a\nb")
    it.ask("exchange.delete", exchange="s-lines\n")
    it.ask("queue.delete", queue="\ns-lines")


@step
def passive_declarations_look_at_the_name_only(it):
    it.ask("queue.declare", queue="s-passive", exclusive=True)
    it.ask("queue.declare", queue="s-passive", passive=True, durable=True, auto_delete=True, arguments={"x-max-length": 1})
    it.ask("exchange.declare", exchange="amq.topic", type="nonsense", passive=True)
    it.ask("exchange.declare", exchange="amq.nothing", type="direct", passive=True)
    it.ask("queue.declare", queue="amq.nothing", passive=True)


# --- exchanges --------------------------------------------------------------------------------------------------------


@step
def exchanges_bound_to_exchanges(it):
    for name in ("s-x-1", "s-x-2", "s-x-3"):
        it.ask("exchange.declare", exchange=name, type="topic", auto_delete=True)
    it.ask("queue.declare", queue="s-x", exclusive=True)
    it.ask("exchange.bind", destination="s-x-2", source="s-x-1", routing_key="a.#")
    it.ask("exchange.bind", destination="s-x-3", source="s-x-2", routing_key="#.b")
    it.ask("exchange.bind", destination="s-x-1", source="s-x-3", routing_key="#")
    it.ask("queue.bind", queue="s-x", exchange="s-x-3", routing_key="#")
    it.ask("queue.bind", queue="s-x", exchange="s-x-1", routing_key="a.b")
    it.ask("confirm.select")
    for key in ("a.b", "a.c", "b"):
        it.publish(key, exchange="s-x-1", flags={"mandatory": True})
        it.listen(0.1)
    drain(it, "s-x")
    it.ask("exchange.unbind", destination="s-x-3", source="s-x-2", routing_key="#.b")
    it.ask("exchange.declare", exchange="s-x-2", passive=True)
    it.ask("exchange.delete", exchange="s-x-3")
    it.ask("exchange.declare", exchange="s-x-1", passive=True)


@step
def mandatory_and_copies(it):
    it.ask("queue.declare", queue="s-copy", exclusive=True)
    it.ask("confirm.select")
    for headers in ({"CC": ["s-copy"]}, {"BCC": ["s-copy"]}, {"CC": ["nobody"], "BCC": ["nobody", "s-copy"]},
                    {"CC": ["nobody"], "BCC": ["nobody"]}, {"CC": [], "BCC": []}, {"CC": ["s-copy", "s-copy"]}):
        it.publish("nobody", headers=headers, flags={"mandatory": True})
        it.listen(0.2)
    drain(it, "s-copy")


@step
def copies_over_a_topic_exchange(it):
    it.ask("queue.declare", queue="s-copy-topic", exclusive=True)
    it.ask("queue.bind", queue="s-copy-topic", exchange="amq.topic", routing_key="x.*")
    it.ask("queue.bind", queue="s-copy-topic", exchange="amq.topic", routing_key="*.y")
    it.publish("x.1", exchange="amq.topic", headers={"CC": ["2.y", "x.y"], "BCC": ["x.3"]})
    it.listen()
    drain(it, "s-copy-topic")


@step
def alternate_exchanges_in_a_row(it):
    it.ask("exchange.declare", exchange="s-alt-1", type="direct", auto_delete=True, arguments={"alternate-exchange": "s-alt-2"})
    it.ask("exchange.declare", exchange="s-alt-2", type="direct", auto_delete=True, arguments={"alternate-exchange": "s-alt-1"})
    it.ask("queue.declare", queue="s-alt", exclusive=True)
    it.ask("queue.bind", queue="s-alt", exchange="s-alt-2", routing_key="k")
    it.ask("queue.bind", queue="s-alt", exchange="s-alt-1", routing_key="other")
    it.ask("confirm.select")
    for key in ("k", "nobody"):
        it.publish(key, exchange="s-alt-1", flags={"mandatory": True})
        it.listen(0.2)
    drain(it, "s-alt")


@step
def headers_exchanges_and_types(it):
    it.ask("queue.declare", queue="s-headers", exclusive=True)
    it.ask("confirm.select")
    for number, arguments in enumerate((
        {"x-match": "all", "n": 1}, {"x-match": "all-with-x", "x-n": 1}, {"x-match": "any-with-x", "x-n": 1, "m": 2},
        {"x-match": "any"}, {"x-match": "all"}, {"x-match": "any", "t": {"a": 1}}, {"x-match": "all", "x-n": 9},
    )):
        it.ask("queue.bind", queue="s-headers", exchange="amq.headers", routing_key=str(number), arguments=arguments)
        for headers in ({"n": 1}, {"n": 2**40}, {"n": "1"}, {"n": True}, {"x-n": 1}, {"m": 2}, {"t": {"a": 1}}, {}):
            it.publish("any", exchange="amq.headers", headers=headers, flags={"mandatory": True})
            it.listen(0.04)
        it.ask("queue.unbind", queue="s-headers", exchange="amq.headers", routing_key=str(number), arguments=arguments)
        it.ask("queue.purge", queue="s-headers")


@step
def exchange_of_the_name_amq_default(it):
    it.ask("queue.declare", queue="s-default", exclusive=True)
    it.publish("s-default", exchange="")
    it.publish("", exchange="")
    it.listen()
    it.ask("exchange.bind", destination="", source="amq.direct")
    it.ask("exchange.bind", destination="amq.direct", source="amq.topic", routing_key="s-default-key")
    it.ask("exchange.unbind", destination="amq.direct", source="amq.topic", routing_key="s-default-key")
    it.ask("exchange.delete", exchange="amq.rabbitmq.trace")
    it.ask("exchange.declare", exchange="amq.rabbitmq.trace", type="topic", durable=True, internal=True)
    it.ask("exchange.declare", exchange="amq.match", type="headers", durable=True)


@step
def internal_and_auto_deleted_exchanges(it):
    it.ask("exchange.declare", exchange="s-inner", type="fanout", internal=True, auto_delete=True)
    it.ask("exchange.declare", exchange="s-inner", type="fanout", auto_delete=True)
    it.ask("exchange.declare", exchange="s-outer", type="fanout", auto_delete=True)
    it.ask("exchange.bind", destination="s-inner", source="s-outer")
    it.ask("queue.declare", queue="s-inner-queue", exclusive=True)
    it.ask("queue.bind", queue="s-inner-queue", exchange="s-inner")
    it.ask("confirm.select")
    confirmed(it, "k", exchange="s-outer")
    drain(it, "s-inner-queue")
    it.ask("queue.delete", queue="s-inner-queue")
    it.ask("exchange.declare", exchange="s-inner", passive=True)
    it.ask("exchange.declare", exchange="s-outer", passive=True)


# --- deliveries and their order ---------------------------------------------------------------------------------------


@step
def what_a_closed_channel_held_comes_back_in_order(it):
    it.ask("queue.declare", queue="s-order", exclusive=True)
    it.ask("confirm.select")
    for body in (b"1", b"2", b"3", b"4", b"5"):
        confirmed(it, "s-order", body=body)
    it.ask("channel.open", channel=2)
    it.ask("basic.get", channel=2, queue="s-order")
    it.ask("basic.get", channel=2, queue="s-order")
    it.ask("basic.get", channel=2, queue="s-order")
    it.send("basic.ack", channel=2, delivery_tag=2)
    it.ask("channel.close", channel=2, code=200)
    for _ in range(5):
        it.ask("basic.get", queue="s-order", no_ack=True)


@step
def requeued_ones_keep_their_places(it):
    it.ask("queue.declare", queue="s-places", exclusive=True)
    it.ask("confirm.select")
    for body in (b"1", b"2", b"3", b"4"):
        confirmed(it, "s-places", body=body)
    for _ in range(4):
        it.ask("basic.get", queue="s-places")
    it.send("basic.nack", delivery_tag=3, requeue=True)
    it.send("basic.nack", delivery_tag=1, requeue=True)
    it.send("basic.ack", delivery_tag=2)
    it.ask("basic.get", queue="s-places", no_ack=True)
    it.send("basic.nack", delivery_tag=4, requeue=True, multiple=True)
    drain(it, "s-places")


@step
def consumers_of_higher_priority_first(it):
    it.ask("queue.declare", queue="s-consumers", exclusive=True)
    it.ask("basic.qos", prefetch_count=1)
    it.ask("basic.consume", queue="s-consumers", tag="low", arguments={"x-priority": -1})
    it.ask("basic.consume", queue="s-consumers", tag="high", arguments={"x-priority": 10})
    it.ask("basic.consume", queue="s-consumers", tag="none")
    for body in (b"1", b"2", b"3"):
        it.publish("s-consumers", body)
    it.listen()
    it.ask("basic.consume", queue="s-consumers", tag="wrong", arguments={"x-priority": "high"})


@step
def prefetch_for_the_channel_and_for_each_consumer(it):
    it.ask("queue.declare", queue="s-prefetch", exclusive=True)
    it.ask("basic.qos", prefetch_count=2)
    it.ask("basic.qos", prefetch_count=3, global_=True)
    for body in (b"1", b"2", b"3", b"4", b"5", b"6"):
        it.publish("s-prefetch", body)
    it.ask("basic.consume", queue="s-prefetch", tag="a")
    it.listen()
    it.ask("basic.consume", queue="s-prefetch", tag="b")
    it.listen()
    it.send("basic.ack", delivery_tag=1)
    it.listen()
    it.send("basic.ack", delivery_tag=0, multiple=True)
    it.listen()


@step
def a_cancelled_consumers_messages_are_still_its_channels(it):
    it.ask("queue.declare", queue="s-cancel", exclusive=True)
    it.ask("basic.consume", queue="s-cancel", tag="c")
    it.publish("s-cancel", b"1")
    it.listen()
    it.ask("basic.cancel", tag="c")
    it.ask("queue.declare", queue="s-cancel", passive=True)
    it.ask("basic.get", queue="s-cancel")
    it.send("basic.nack", delivery_tag=1, requeue=True)
    it.ask("basic.get", queue="s-cancel")
    it.send("basic.ack", delivery_tag=2)
    it.ask("queue.declare", queue="s-cancel", passive=True)


@step
def acknowledging_nothing(it):
    it.ask("queue.declare", queue="s-nothing", exclusive=True)
    it.send("basic.ack", delivery_tag=0, multiple=True)
    it.listen(0.2)
    it.send("basic.nack", delivery_tag=0, multiple=True, requeue=True)
    it.listen(0.2)
    for name, more in (("basic.ack", {}), ("basic.ack", {"multiple": True, "delivery_tag": 1}), ("basic.nack", {}),
                       ("basic.reject", {}), ("basic.reject", {"delivery_tag": 7})):
        it.send(name, **more)
        it.listen(0.3)


@step
def acknowledging_what_another_channel_holds(it):
    it.ask("queue.declare", queue="s-other-channel", exclusive=True)
    it.ask("channel.open", channel=2)
    it.publish("s-other-channel")
    it.listen(0.1)
    it.ask("basic.get", queue="s-other-channel")
    it.send("basic.ack", channel=2, delivery_tag=1)
    it.listen()
    it.send("basic.ack", delivery_tag=1)
    it.ask("queue.declare", queue="s-other-channel", passive=True)


@step
def consumers_on_queues_that_expire_or_go(it):
    it.ask("queue.declare", queue="s-gone")
    it.ask("basic.consume", queue="s-gone", tag="c", no_ack=True)
    it.ask("queue.delete", queue="s-gone")
    it.listen()
    it.ask("basic.cancel", tag="c")
    it.ask("queue.declare", queue="s-gone", arguments={"x-expires": 300})
    it.ask("basic.consume", queue="s-gone", tag="c", no_ack=True)
    time.sleep(0.7)
    it.ask("queue.declare", queue="s-gone", passive=True)
    it.ask("basic.cancel", tag="c")
    time.sleep(0.7)
    it.ask("queue.declare", queue="s-gone", passive=True)


@step
def expiry_begins_again_with_each_use(it):
    it.ask("queue.declare", queue="s-used", arguments={"x-expires": 700})
    for _ in range(3):
        time.sleep(0.4)
        it.ask("basic.get", queue="s-used")
    time.sleep(0.4)
    it.ask("queue.declare", queue="s-used", arguments={"x-expires": 700})
    time.sleep(1.2)
    it.ask("queue.declare", queue="s-used", passive=True)


@step
def single_active_consumer_with_priorities(it):
    it.ask("queue.declare", queue="s-single", exclusive=True, arguments={"x-single-active-consumer": True})
    it.ask("basic.consume", queue="s-single", tag="one")
    it.ask("basic.consume", queue="s-single", tag="two", arguments={"x-priority": 5})
    it.publish("s-single", b"1")
    it.listen()
    it.ask("basic.cancel", tag="one")
    it.publish("s-single", b"2")
    it.listen()


# --- dead letters -----------------------------------------------------------------------------------------------------


def live_and_dead(it, name, arguments=None, **more):
    """A queue and the one that its dead letters go to by their own keys, over an exchange."""
    it.ask("exchange.declare", exchange=f"s-dlx-{name}", type="topic", auto_delete=True)
    it.ask("queue.declare", queue=f"s-dead-{name}", exclusive=True)
    it.ask("queue.bind", queue=f"s-dead-{name}", exchange=f"s-dlx-{name}", routing_key="#")
    it.ask("queue.declare", queue=f"s-live-{name}", exclusive=True,
           arguments={"x-dead-letter-exchange": f"s-dlx-{name}"} | (arguments or {}), **more)
    it.ask("confirm.select")


@step
def dead_letters_keep_their_copies_keys(it):
    live_and_dead(it, "copies")
    it.ask("queue.declare", queue="s-bcc", exclusive=True)
    it.ask("queue.bind", queue="s-bcc", exchange="s-dlx-copies", routing_key="s-hidden")
    confirmed(it, "s-live-copies", headers={"CC": ["s-seen"], "BCC": ["s-hidden"]})
    it.ask("basic.get", queue="s-live-copies")
    it.send("basic.nack", delivery_tag=1, requeue=False)
    it.listen(0.5)
    drain(it, "s-dead-copies")
    drain(it, "s-bcc")


@step
def dead_letters_of_a_purge_and_a_deletion(it):
    live_and_dead(it, "purged")
    confirmed(it, "s-live-purged", "s-live-purged")
    it.ask("basic.get", queue="s-live-purged")
    it.ask("queue.purge", queue="s-live-purged")
    it.ask("queue.delete", queue="s-live-purged")
    it.send("basic.reject", delivery_tag=1, requeue=False)
    it.listen(0.4)
    drain(it, "s-dead-purged")


@step
def dead_letters_whose_exchange_is_missing(it):
    it.ask("queue.declare", queue="s-lost", exclusive=True, arguments={"x-dead-letter-exchange": "s-not-there"})
    it.publish("s-lost")
    it.listen(0.1)
    it.ask("basic.get", queue="s-lost")
    it.send("basic.reject", delivery_tag=1, requeue=False)
    it.listen()
    it.ask("exchange.declare", exchange="s-not-there", type="fanout", auto_delete=True)
    it.ask("queue.declare", queue="s-found", exclusive=True)
    it.ask("queue.bind", queue="s-found", exchange="s-not-there")
    it.publish("s-lost", b"later")
    it.listen(0.1)
    it.ask("basic.get", queue="s-lost")
    it.send("basic.reject", delivery_tag=2, requeue=False)
    it.listen()
    drain(it, "s-found")


@step
def a_key_for_dead_letters_without_an_exchange(it):
    it.ask("queue.declare", queue="s-key-only", exclusive=True, arguments={"x-dead-letter-routing-key": "k"})
    it.ask("queue.declare", queue="s-key-only-2", exclusive=True, arguments={"x-dead-letter-exchange": None})


@step
def messages_that_only_expire_go_round_once(it):
    it.ask("queue.declare", queue="s-circle", exclusive=True,
           arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "s-circle", "x-message-ttl": 50})
    it.ask("confirm.select")
    confirmed(it, "s-circle")
    time.sleep(0.5)
    it.ask("queue.declare", queue="s-circle", passive=True)


@step
def a_publishers_own_death_headers(it):
    live_and_dead(it, "own")
    death = {"count": 7, "reason": "rejected", "queue": "s-live-own", "exchange": "", "routing-keys": ["k"]}
    confirmed(it, "s-live-own", headers={"x-death": [death], "x-first-death-queue": "mine"})
    confirmed(it, "s-live-own", headers={"x-death": "nonsense"})
    for tag in (1, 2):
        it.ask("basic.get", queue="s-live-own")
        it.send("basic.reject", delivery_tag=tag, requeue=False)
    it.listen(0.5)
    drain(it, "s-dead-own")


@step
def many_nacked_at_once_are_dead_in_order(it):
    live_and_dead(it, "many")
    for body in (b"1", b"2", b"3", b"4"):
        confirmed(it, "s-live-many", body=body)
    for _ in range(4):
        it.ask("basic.get", queue="s-live-many")
    it.send("basic.nack", delivery_tag=3, multiple=True, requeue=False)
    it.listen(0.5)
    drain(it, "s-dead-many")


@step
def expired_ones_behind_a_longer_one(it):
    live_and_dead(it, "behind")
    it.publish("s-live-behind", b"long", expiration="700")
    it.hear(ANSWER_SECONDS)
    it.publish("s-live-behind", b"short", expiration="50")
    it.hear(ANSWER_SECONDS)
    time.sleep(0.3)
    it.ask("queue.declare", queue="s-live-behind", passive=True)
    drain(it, "s-dead-behind")
    time.sleep(0.8)
    drain(it, "s-dead-behind")


@step
def the_shorter_time_to_live_counts(it):
    live_and_dead(it, "shorter", {"x-message-ttl": 200})
    confirmed(it, "s-live-shorter", expiration="100000")
    time.sleep(0.6)
    it.ask("basic.get", queue="s-live-shorter")
    drain(it, "s-dead-shorter")


@step
def times_to_live_of_zero_with_dead_letters(it):
    live_and_dead(it, "zero", {"x-message-ttl": 0})
    confirmed(it, "s-live-zero", body=b"nobody waits")
    it.ask("basic.consume", queue="s-live-zero", tag="c")
    it.publish("s-live-zero", b"one waits")
    it.listen()
    it.send("basic.nack", delivery_tag=1, requeue=True)
    it.listen(0.5)
    drain(it, "s-dead-zero")


@step
def expiration_of_zero_for_a_waiting_consumer(it):
    it.ask("queue.declare", queue="s-zero", exclusive=True)
    it.ask("basic.consume", queue="s-zero", tag="c", no_ack=True)
    for body in (b"1", b"2", b"3"):
        it.publish("s-zero", body, expiration="0")
    it.listen()


# --- lengths and priorities -------------------------------------------------------------------------------------------


@step
def lengths_in_bytes(it):
    live_and_dead(it, "bytes", {"x-max-length-bytes": 10})
    for body in (b"12345", b"67890", b"x", b"larger than the queue"):
        confirmed(it, "s-live-bytes", body=body)
    drain(it, "s-live-bytes")
    drain(it, "s-dead-bytes")


@step
def lengths_with_priorities(it):
    it.ask("queue.declare", queue="s-length-priority", exclusive=True, arguments={"x-max-length": 2, "x-max-priority": 3})
    it.ask("confirm.select")
    for priority in (3, 1, 2):
        it.publish("s-length-priority", str(priority).encode(), priority=priority)
        it.hear(ANSWER_SECONDS)
    drain(it, "s-length-priority")


@step
def lengths_do_not_count_what_is_delivered(it):
    it.ask("queue.declare", queue="s-length-out", exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    it.ask("confirm.select")
    confirmed(it, "s-length-out", body=b"1")
    it.ask("basic.get", queue="s-length-out")
    confirmed(it, "s-length-out", body=b"2")
    confirmed(it, "s-length-out", body=b"3")
    it.send("basic.nack", delivery_tag=1, requeue=True)
    it.listen()
    it.ask("queue.declare", queue="s-length-out", passive=True)
    drain(it, "s-length-out")


@step
def a_full_queue_among_others(it):
    it.ask("queue.declare", queue="s-full", exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    it.ask("queue.declare", queue="s-roomy", exclusive=True)
    for queue in ("s-full", "s-roomy"):
        it.ask("queue.bind", queue=queue, exchange="amq.fanout")
    it.ask("confirm.select")
    for body in (b"1", b"2"):
        confirmed(it, "k", exchange="amq.fanout", body=body)
    for queue in ("s-full", "s-roomy"):
        drain(it, queue)


@step
def a_length_of_zero(it):
    it.ask("queue.declare", queue="s-none", exclusive=True, arguments={"x-max-length": 0})
    it.ask("confirm.select")
    confirmed(it, "s-none")
    it.ask("basic.consume", queue="s-none", tag="c")
    it.publish("s-none", b"one waits")
    it.listen()


# --- transactions and confirms ----------------------------------------------------------------------------------------


@step
def transactions_of_acknowledgements(it):
    it.ask("queue.declare", queue="s-tx", exclusive=True)
    it.ask("tx.select")
    for body in (b"1", b"2", b"3"):
        it.publish("s-tx", body)
    it.ask("tx.commit")
    for _ in range(3):
        it.ask("basic.get", queue="s-tx")
    it.send("basic.ack", delivery_tag=1)
    it.send("basic.nack", delivery_tag=2, requeue=True)
    it.ask("queue.declare", queue="s-tx", passive=True)
    it.ask("tx.rollback")
    it.send("basic.ack", delivery_tag=1)
    it.send("basic.reject", delivery_tag=2, requeue=False)
    it.ask("tx.commit")
    it.ask("queue.declare", queue="s-tx", passive=True)
    it.send("basic.ack", delivery_tag=1)
    it.listen()
    it.ask("queue.declare", queue="s-tx", passive=True)


@step
def a_transaction_with_what_cannot_be_routed(it):
    it.ask("tx.select")
    it.publish("nobody", flags={"mandatory": True})
    it.listen(0.2)
    it.ask("tx.commit")
    it.listen(0.2)
    it.publish("k", exchange="s-no-such-exchange")
    it.listen()


@step
def confirms_begin_with_one_on_each_channel(it):
    it.ask("queue.declare", queue="s-confirms", exclusive=True)
    it.publish("s-confirms")
    it.ask("confirm.select")
    confirmed(it, "s-confirms")
    it.ask("channel.close", code=200)
    it.ask("channel.open")
    it.ask("confirm.select")
    confirmed(it, "s-confirms")


# --- bodies and frames ------------------------------------------------------------------------------------------------


@step
def bodies_in_many_frames(it):
    it.ask("queue.declare", queue="s-body", exclusive=True)
    for pieces in ([b"ab", b"", b"cd"], [b"a", b"b", b"c", b"d"], []):
        size = sum(map(len, pieces))
        it.wire.write(it.wire.publishing(1, "", "s-body", size))
        for piece in pieces:
            it.wire.write(Frame(BODY, 1, piece).encode())
        it.listen(0.1)
    drain(it, "s-body")


@step
def a_body_longer_than_announced(it):
    it.ask("queue.declare", queue="s-body-long", exclusive=True)
    it.wire.write(it.wire.publishing(1, "", "s-body-long", 2) + Frame(BODY, 1, b"abcd").encode())
    it.listen(1)


@step
def headers_of_every_type(it):
    it.ask("queue.declare", queue="s-types", exclusive=True)
    raw = b"".join(bytes([len(name)]) + name + value for name, value in (
        (b"t", b"t\x01"), (b"b", b"b\xff"), (b"B", b"B\xff"), (b"s", b"s\xff\xfe"), (b"u", b"u\xff\xfe"),
        (b"I", b"I" + struct.pack(">i", -5)), (b"i", b"i" + struct.pack(">I", 5)), (b"l", b"l" + struct.pack(">q", -6)),
        (b"f", b"f" + struct.pack(">f", 1.5)), (b"d", b"d" + struct.pack(">d", 2.5)), (b"D", b"D\x02" + struct.pack(">i", 314)),
        (b"T", b"T" + struct.pack(">Q", 77)), (b"V", b"V"), (b"x", b"x" + struct.pack(">I", 2) + b"\x00\xff"),
        (b"A", b"A" + struct.pack(">I", 2) + b"t\x00"), (b"F", b"F" + struct.pack(">I", 0)),
    ))
    it.publish("s-types", headers=Raw(raw))
    it.listen()
    it.ask("basic.get", queue="s-types", no_ack=True)


@step
def a_header_of_an_unknown_type(it):
    it.ask("queue.declare", queue="s-unknown-type", exclusive=True)
    it.publish("s-unknown-type", headers=Raw(b"\x01?z\x00"))
    it.listen(1)


# --- handshakes -------------------------------------------------------------------------------------------------------


def handshake(name, ask):
    """A connection of its own, from the first byte on."""
    def check(it):
        with Wire(it.address) as wire:
            wire.socket.settimeout(ANSWER_SECONDS)
            try:
                ask(it, wire)
            except (Closed, ConnectionError):
                it.say("closed")
            except (socket.timeout, TimeoutError):
                it.say("nothing comes")

    check.__name__ = f"handshake_{name}"
    STEPS.append(check)


def told(it, wire):
    method = wire.method(0)
    facts = {name: value for name, value in vars(method).items() if name in ("code", "text", "class_id", "method_id")}
    it.say(f"{method.name} {facts if facts else ''}")
    if method.name == "connection.close":
        wire.send(0, "connection.close-ok")
        it.say("then " + ("closed" if wire.rest() == b"" else "more"))
    return method


def first_bytes(octets):
    def ask(it, wire):
        wire.write(octets)
        answer = wire.octets(8)
        if answer[0] == METHOD:
            it.say("connection.start")
            return
        it.say(repr(answer))
        it.say("then " + ("closed" if wire.rest() == b"" else "more"))

    return ask


for _name, _octets in (("of another version", b"AMQP\x01\x01\x00\x09"), ("of 0-8", b"AMQP\x01\x01\x08\x00"),
                       ("of something else", b"GET / HTTP/1.1\r\n\r\n"), ("of one zero", b"AMQP\x00\x00\x09\x00")):
    handshake(f"begins_with_the_bytes_{_name}", first_bytes(_octets))


def log_in(mechanism="PLAIN", response="\0guest\0guest", capabilities=None):
    def ask(it, wire):
        wire.start()
        properties = {"capabilities": capabilities} if capabilities is not None else {}
        wire.send(0, "connection.start-ok", client_properties=properties, mechanism=mechanism, response=response, locale="en_US")
        told(it, wire)

    return ask


WILLING = {"authentication_failure_close": True}
handshake("with_a_wrong_password", log_in(response="\0guest\0wrong"))
handshake("with_a_wrong_password_and_the_wish_to_be_told", log_in(response="\0guest\0wrong", capabilities=WILLING))
handshake("with_an_unknown_user", log_in(response="\0nobody\0x", capabilities=WILLING))
handshake("with_an_unknown_mechanism", log_in(mechanism="NONSENSE", capabilities=WILLING))
handshake("with_a_broken_plain_response", log_in(response="nonsense", capabilities=WILLING))
handshake("with_amqplain", log_in(mechanism="AMQPLAIN", response=b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x05guest"))


def tune(**values):
    def ask(it, wire):
        wire.start()
        wire.log_in()
        offered = told(it, wire)
        wanted = {"channel_max": offered.channel_max, "frame_max": offered.frame_max, "heartbeat": 0} | values
        wire.send(0, "connection.tune-ok", **wanted)
        wire.send(0, "connection.open", vhost="/")
        told(it, wire)

    return ask


handshake("tuned_to_more_channels", tune(channel_max=65535))
handshake("tuned_to_no_limit_of_channels", tune(channel_max=0))
handshake("tuned_to_larger_frames", tune(frame_max=2**20))
handshake("tuned_to_no_limit_of_frames", tune(frame_max=0))
handshake("tuned_to_frames_of_4096", tune(frame_max=4096))
handshake("tuned_to_frames_of_4095", tune(frame_max=4095))


def opened(vhost):
    def ask(it, wire):
        wire.tuned()
        wire.send(0, "connection.open", vhost=vhost)
        told(it, wire)

    return ask


handshake("for_a_vhost_that_is_missing", opened("nowhere"))
handshake("for_an_empty_vhost", opened(""))


def out_of_turn(name, **values):
    def ask(it, wire):
        wire.start()
        wire.send(0, name, **values)
        told(it, wire)

    return ask


handshake("answered_with_open", out_of_turn("connection.open", vhost="/"))
handshake("answered_with_tune-ok", out_of_turn("connection.tune-ok"))


def heartbeats(it, wire):
    wire.tuned(heartbeat=1)
    wire.call(0, "connection.open", vhost="/")
    began = time.monotonic()
    frame = wire.frame()
    it.say(f"frame of type {frame.kind} on channel {frame.channel}, within the interval: {time.monotonic() - began < 1.0}")
    silent = time.monotonic()
    try:
        while True:
            wire.frame()
    except (Closed, ConnectionError):
        it.say(f"given up within four intervals: {time.monotonic() - silent < 4.5}")


handshake("with_heartbeats", heartbeats)


def pipelined(it, wire):
    """Clients that do not wait for open-ok."""
    wire.start()
    wire.log_in()
    wire.expect(0, "connection.tune")
    wire.write(b"".join(Frame(METHOD, channel, encode_method(name, **values)).encode() for channel, name, values in (
        (0, "connection.tune-ok", {"channel_max": 10, "frame_max": 131072}), (0, "connection.open", {"vhost": "/"}),
        (1, "channel.open", {}), (1, "queue.declare", {"queue": "s-pipelined", "exclusive": True}),
    )))
    it.say(wire.expect(0, "connection.open-ok").name)
    it.say(wire.expect(1, "channel.open-ok").name)
    it.say(wire.expect(1, "queue.declare-ok").name)


handshake("without_waiting", pipelined)


def too_many_channels(it, wire):
    wire.tuned(channel_max=2)
    wire.call(0, "connection.open", vhost="/")
    wire.channel(1)
    wire.channel(2)
    wire.send(3, "channel.open")
    told(it, wire)


handshake("and_more_channels_than_agreed", too_many_channels)


def closing_twice(it, wire):
    """What comes after the client has closed is neither answered nor fatal."""
    wire.open()
    wire.channel(1)
    wire.send(0, "connection.close", code=200, text="bye")
    for _ in range(100):
        wire.publish(1, "", "nobody", b"x" * 1000)
    told(it, wire)


handshake("and_publishes_behind_a_close", closing_twice)


def written_after_refusal(it, wire):
    """A client that goes on writing after the broker closed the connection reads why."""
    wire.open()
    wire.channel(1)
    wire.send(1, "channel.open")
    for _ in range(200):
        wire.publish(1, "", "nobody", b"x" * 10_000)
    told(it, wire)


handshake("and_publishes_behind_a_fatal_error", written_after_refusal)
