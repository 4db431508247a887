"""Every refusal with its code and its very words: libraries and people match on both."""

from harness.cases import case, equal, fresh

LOCKED = (
    "It could be originally declared on another connection or the exclusive property value does not match"
    " that of the original declaration."
)
UNKNOWN_TAG = "PRECONDITION_FAILED - unknown delivery tag 82"
# What a queue's arguments may not be, and how each is refused.
BAD_ARGUMENTS = (
    ("x-message-ttl", -1, "{value_negative,-1}"),
    ("x-message-ttl", "60000", '"expected integer, got longstr"'),
    ("x-expires", 0, "{value_zero,0}"),
    ("x-expires", -1, "{value_negative,-1}"),
    ("x-max-length", -1, "{value_negative,-1}"),
    ("x-max-length-bytes", "1", '"expected integer, got longstr"'),
    ("x-max-priority", 300, "{max_value_exceeded,300}"),
    ("x-max-priority", -1, "{value_negative,-1}"),
    ("x-overflow", "nonsense", "invalid_overflow"),
    ("x-overflow", 1, "{unacceptable_type,signedint}"),
    ("x-dead-letter-routing-key", "k", "routing_key_but_no_dlx_defined"),
    ("x-single-active-consumer", "yes", "{unacceptable_type,longstr}"),
)


def queue_text(name):
    return f"queue '{name}' in vhost '/'"


class Refusals:
    """A channel, a queue and an exchange; every refusal closes the channel, and it is opened again."""

    def __init__(self, wire):
        self.wire = wire
        self.channel = wire.channel()
        self.queue, self.exchange = fresh("queue"), fresh("exchange")

    def call(self, name, **values):
        return self.wire.call(self.channel, name, **values)

    def declare(self, **values):
        self.call("queue.declare", queue=self.queue, **({"exclusive": True} | values))
        return self.queue

    def refused(self, code, text, name, **values):
        self.wire.refused(self.channel, code, text, name, **values)


def refusals(check):
    """A case that gets a channel to be refused on."""

    def with_channel(peer):
        with peer.open() as wire:
            refusing = Refusals(wire)
            refusing.peer = peer
            check(refusing)

    with_channel.__name__ = check.__name__
    return case(with_channel)


@refusals
def missing_queues(it):
    name = it.queue
    text = f"NOT_FOUND - no {queue_text(name)}"
    it.refused(404, text, "queue.declare", queue=name, passive=True)
    it.refused(404, text, "queue.bind", queue=name, exchange="amq.direct")
    it.refused(404, text, "queue.purge", queue=name)
    it.refused(404, text, "basic.get", queue=name)
    it.refused(404, text, "basic.consume", queue=name)


@refusals
def a_queue_without_a_name(it):
    it.declare()
    # Only a method that needs a queue takes the last one.
    it.refused(404, "NOT_FOUND - no queue '' in vhost '/'", "queue.declare", passive=True)


@refusals
def missing_exchanges(it):
    name, queue = it.exchange, it.declare()
    text = f"NOT_FOUND - no exchange '{name}' in vhost '/'"
    it.refused(404, text, "exchange.declare", exchange=name, type="direct", passive=True)
    it.refused(404, text, "queue.bind", queue=queue, exchange=name)
    it.refused(404, text, "exchange.bind", destination=name, source="amq.direct")
    it.refused(404, text, "exchange.bind", destination="amq.direct", source=name)


@refusals
def publishing_to_a_missing_exchange(it):
    it.wire.publish(it.channel, it.exchange, "k", b"x")
    text = f"NOT_FOUND - no exchange '{it.exchange}' in vhost '/'"
    it.wire.closed(it.channel, 404, text, "basic.publish")


@refusals
def what_is_gone_already_may_be_deleted(it):
    equal(it.call("queue.delete", queue=it.queue).message_count, 0)
    it.call("exchange.delete", exchange=it.exchange)
    queue = it.declare()
    it.call("queue.unbind", queue=queue, exchange="amq.direct", routing_key="never")
    it.call("queue.unbind", queue=queue, exchange=it.exchange)
    it.call("queue.unbind", queue=it.exchange, exchange="amq.direct")
    it.call("exchange.unbind", destination="amq.fanout", source=it.exchange)


@refusals
def no_queue_was_named(it):
    text = "NOT_FOUND - no previously declared queue"
    it.refused(404, text, "queue.bind", exchange="amq.direct")
    it.refused(404, text, "queue.purge")
    it.refused(404, text, "basic.get")
    it.refused(404, text, "basic.consume")


@refusals
def queues_declared_differently(it):
    it.call("queue.declare", queue=it.queue, durable=True)

    def differs(argument, received, current, **values):
        given = {"queue": it.queue, "durable": True} | values
        text = f"inequivalent arg '{argument}' for {queue_text(it.queue)}: received {received} but current is {current}"
        it.refused(406, f"PRECONDITION_FAILED - {text}", "queue.declare", **given)

    differs("durable", "'false'", "'true'", durable=False)
    # Durability comes first.
    differs("durable", "'false'", "'true'", durable=False, auto_delete=True)
    differs("auto_delete", "'true'", "'false'", auto_delete=True)
    ttl = "the value '1000' of type 'signedint'"
    differs("x-message-ttl", ttl, "none", arguments={"x-message-ttl": 1000})
    text = f"RESOURCE_LOCKED - cannot obtain exclusive access to locked {queue_text(it.queue)}. {LOCKED}"
    it.refused(405, text[:255], "queue.declare", queue=it.queue, durable=True, exclusive=True)
    it.call("queue.delete", queue=it.queue)


@refusals
def queues_declared_with_other_arguments(it):
    it.declare(arguments={"x-message-ttl": 60000, "x-max-priority": 5})
    # A number is a number, whatever its width.
    it.declare(arguments={"x-message-ttl": 60000, "x-max-priority": 5})
    text = f"PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for {queue_text(it.queue)}: received"
    it.refused(
        406,
        f"{text} '1' but current is '60000'",
        "queue.declare",
        queue=it.queue,
        exclusive=True,
        arguments={"x-message-ttl": 1, "x-max-priority": 5},
    )
    it.refused(
        406,
        f"{text} none but current is the value '60000' of type 'signedint'",
        "queue.declare",
        queue=it.queue,
        exclusive=True,
        arguments={"x-max-priority": 5},
    )


@refusals
def exchanges_declared_differently(it):
    it.call("exchange.declare", exchange=it.exchange, type="topic", auto_delete=True)

    def differs(argument, received, current, **values):
        given = {"exchange": it.exchange, "type": "topic", "auto_delete": True} | values
        text = f"inequivalent arg '{argument}' for exchange '{it.exchange}' in vhost '/': received"
        it.refused(
            406, f"PRECONDITION_FAILED - {text} {received} but current is {current}", "exchange.declare", **given
        )

    differs("type", "'fanout'", "'topic'", type="fanout")
    differs("durable", "'true'", "'false'", durable=True)
    differs("auto_delete", "'false'", "'true'", auto_delete=False)
    differs("internal", "'true'", "'false'", internal=True)
    received = "the value 'amq.fanout' of type 'longstr'"
    differs("alternate-exchange", received, "none", arguments={"alternate-exchange": "amq.fanout"})
    it.call("exchange.delete", exchange=it.exchange)


@refusals
def unknown_types_of_exchanges(it):
    values = {"exchange": it.exchange, "type": it.queue}
    text = f"unknown exchange type '{it.queue}'"
    if it.peer.old:
        it.wire.fatal(it.channel, 503, f"COMMAND_INVALID - {text}", "exchange.declare", **values)
    else:
        it.refused(406, f"PRECONDITION_FAILED - {text}", "exchange.declare", **values)


@refusals
def exclusive_queues_of_others(it):
    queue = it.declare()
    text = f"RESOURCE_LOCKED - cannot obtain exclusive access to locked {queue_text(queue)}. {LOCKED}"[:255]
    with it.peer.open() as wire:
        wire.channel()
        for name, values in (
            ("queue.declare", {"passive": True}),
            ("queue.declare", {"exclusive": True}),
            ("queue.declare", {}),
            ("queue.bind", {"exchange": "amq.direct"}),
            ("queue.purge", {}),
            ("queue.delete", {}),
            ("basic.get", {}),
            ("basic.consume", {}),
        ):
            wire.refused(1, 405, text, name, queue=queue, **values)
        # It can be published to all the same.
        wire.call(1, "confirm.select")
        wire.publish(1, "", queue, b"x")
        wire.expect(1, "basic.ack")
    equal(it.call("basic.get").body, b"x")


@refusals
def exclusive_consumers(it):
    queue = it.declare()
    text = f"ACCESS_REFUSED - {queue_text(queue)} in exclusive use"
    it.wire.channel(2)
    it.wire.call(2, "basic.consume", queue=queue, tag="t", exclusive=True)
    it.refused(403, text, "basic.consume", queue=queue)
    it.wire.call(2, "basic.cancel", tag="t")
    it.wire.call(2, "basic.consume", queue=queue, tag="t")
    it.refused(403, text, "basic.consume", queue=queue, exclusive=True)


@refusals
def deleting_with_conditions(it):
    queue = it.declare()
    it.wire.channel(2)
    it.wire.call(2, "basic.consume", queue=queue, tag="t")
    text = f"PRECONDITION_FAILED - {queue_text(queue)} in use"
    it.refused(406, text, "queue.delete", queue=queue, if_unused=True)
    it.wire.call(2, "basic.cancel", tag="t")
    it.wire.publish(2, "", queue, b"x")
    # The broker has it when it has answered on its channel.
    it.wire.call(2, "queue.declare", queue=queue, passive=True)
    text = f"PRECONDITION_FAILED - {queue_text(queue)} not empty"
    it.refused(406, text, "queue.delete", queue=queue, if_empty=True)
    equal(it.call("queue.delete", queue=queue, if_unused=True).message_count, 1)


@refusals
def deleting_exchanges_with_conditions(it):
    queue = it.declare()
    it.call("exchange.declare", exchange=it.exchange, type="fanout")
    it.call("queue.bind", queue=queue, exchange=it.exchange)
    text = f"PRECONDITION_FAILED - exchange '{it.exchange}' in vhost '/' in use"
    it.refused(406, text, "exchange.delete", exchange=it.exchange, if_unused=True)
    it.call("queue.unbind", queue=queue, exchange=it.exchange)
    it.call("exchange.delete", exchange=it.exchange, if_unused=True)


@refusals
def arguments_that_make_no_sense(it):
    for argument, value, reason in BAD_ARGUMENTS:
        text = f"PRECONDITION_FAILED - invalid arg '{argument}' for {queue_text(it.queue)}: {reason}"
        it.refused(406, text, "queue.declare", queue=it.queue, arguments={argument: value})
    text = f"PRECONDITION_FAILED - invalid type 'signedint' for arg 'x-dead-letter-exchange' in {queue_text(it.queue)}"
    it.refused(406, text, "queue.declare", queue=it.queue, arguments={"x-dead-letter-exchange": 1})


@refusals
def types_of_queues(it):
    queue = it.queue

    def refused(text, **values):
        it.refused(406, f"PRECONDITION_FAILED - {text}", "queue.declare", queue=queue, **values)

    unknown = {"x-queue-type": "zzz"}
    refused(f"invalid arg 'x-queue-type' for {queue_text(queue)}: \"unsupported queue type 'zzz'\"", arguments=unknown)
    quorum = {"x-queue-type": "quorum"}
    refused(f"invalid property 'non-durable' for {queue_text(queue)}", arguments=quorum)
    refused(
        f"invalid property 'exclusive-owner' for {queue_text(queue)}", arguments=quorum, durable=True, exclusive=True
    )
    classic = {"x-queue-type": "classic", "x-delivery-limit": 3}
    refused(
        f"invalid arg 'x-delivery-limit' for {queue_text(queue)} of queue type rabbit_classic_queue", arguments=classic
    )


@refusals
def arguments_nobody_knows_are_kept(it):
    it.declare(arguments={"x-nonsense": 1})
    it.declare(arguments={"x-nonsense": 1})


@refusals
def internal_exchanges(it):
    it.call("exchange.declare", exchange=it.exchange, type="fanout", internal=True)
    it.wire.publish(it.channel, it.exchange, "k", b"x")
    text = f"ACCESS_REFUSED - cannot publish to internal exchange '{it.exchange}' in vhost '/'"
    it.wire.closed(it.channel, 403, text, "basic.publish")
    it.call("exchange.delete", exchange=it.exchange)


@refusals
def reserved_names(it):
    queue = it.declare()
    text = "ACCESS_REFUSED - {} name 'amq.foo' contains reserved prefix 'amq.*'"
    it.refused(403, text.format("queue"), "queue.declare", queue="amq.foo")
    it.refused(403, text.format("exchange"), "exchange.declare", exchange="amq.foo", type="direct")
    for name, kind in (("amq.direct", "direct"), ("amq.match", "headers"), ("amq.topic", "topic")):
        it.call("exchange.declare", exchange=name, type=kind, durable=True)
        text = f"ACCESS_REFUSED - deletion of system exchange '{name}' in vhost '/' not allowed"
        it.refused(403, text, "exchange.delete", exchange=name)
    it.call("queue.bind", queue=queue, exchange="amq.fanout")
    # The server's own names are no different, except for asking.
    made = it.call("queue.declare", exclusive=True).queue
    text = f"ACCESS_REFUSED - queue name '{made}' contains reserved prefix 'amq.*'"
    it.refused(403, text, "queue.declare", queue=made, exclusive=True)
    equal(it.call("queue.declare", queue=made, passive=True).queue, made)


@refusals
def the_default_exchange(it):
    queue = it.declare()
    text = "ACCESS_REFUSED - operation not permitted on the default exchange"
    it.refused(403, text, "queue.bind", queue=queue, exchange="", routing_key="k")
    it.refused(403, text, "queue.unbind", queue=queue, exchange="", routing_key=queue)
    it.refused(403, text, "exchange.declare", exchange="", type="direct")
    it.refused(403, text, "exchange.delete", exchange="")
    it.refused(403, text, "exchange.bind", destination="amq.direct", source="")
    it.refused(403, text, "exchange.bind", destination="", source="amq.direct")


@refusals
def unknown_delivery_tags(it):
    it.refused(406, UNKNOWN_TAG, "basic.ack", delivery_tag=82)
    it.refused(406, UNKNOWN_TAG, "basic.ack", delivery_tag=82, multiple=True)
    it.refused(406, UNKNOWN_TAG, "basic.nack", delivery_tag=82)
    it.refused(406, UNKNOWN_TAG, "basic.reject", delivery_tag=82)


@refusals
def acknowledging_twice(it):
    queue = it.declare()
    it.wire.publish(1, "", queue, b"x")
    tag = it.wire.expect_message(1, queue).delivery_tag
    it.wire.send(1, "basic.ack", delivery_tag=tag)
    it.refused(406, f"PRECONDITION_FAILED - unknown delivery tag {tag}", "basic.ack", delivery_tag=tag)


@refusals
def confirms_and_transactions_do_not_mix(it):
    it.call("confirm.select")
    it.refused(406, "PRECONDITION_FAILED - cannot switch from confirm to tx mode", "tx.select")
    it.call("tx.select")
    it.refused(406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode", "confirm.select")
    for name in ("tx.commit", "tx.rollback"):
        it.refused(406, "PRECONDITION_FAILED - channel is not transactional", name)


@refusals
def expirations_are_numbers(it):
    queue = it.declare()
    for expiration, reason in (("abc", "no_integer"), ("-1", "{value_negative,-1}"), ("1.5", '{leftover_string,".5"}')):
        it.wire.publish(1, "", queue, b"x", expiration=expiration)
        text = f"PRECONDITION_FAILED - invalid expiration '{expiration}': {reason}"
        it.wire.closed(1, 406, text, "basic.publish")


@refusals
def users_say_who_they_are(it):
    queue = it.declare()
    it.wire.publish(1, "", queue, b"x", user_id="bob")
    text = "PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'"
    it.wire.closed(1, 406, text, "basic.publish")
    it.wire.publish(1, "", queue, b"x", user_id="guest")
    equal(it.wire.expect_message(1, queue).properties, {"user_id": "guest"})


@refusals
def copies_have_to_be_lists_of_keys(it):
    queue = it.declare()
    it.wire.publish(1, "", queue, b"x", headers={"CC": "k"})
    close = it.wire.expect(1, "channel.close")
    equal((close.code, close.class_id, close.method_id), (406, 60, 40))
    # What follows is how the server writes down a value.
    text = 'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr'
    assert close.text.startswith(text), close.text


@refusals
def fast_replies_need_a_consumer(it):
    it.wire.publish(1, "", "nowhere", b"x", reply_to="amq.rabbitmq.reply-to")
    it.wire.closed(1, 406, "PRECONDITION_FAILED - fast reply consumer does not exist", "basic.publish")
    text = "PRECONDITION_FAILED - reply consumer cannot acknowledge"
    it.refused(406, text, "basic.consume", queue="amq.rabbitmq.reply-to")
    it.call("basic.consume", queue="amq.rabbitmq.reply-to", no_ack=True)
    text = "PRECONDITION_FAILED - reply consumer already set"
    it.refused(406, text, "basic.consume", queue="amq.rabbitmq.reply-to", no_ack=True)


@refusals
def bindings_of_headers_say_how_they_match(it):
    values = {"queue": it.declare(), "exchange": "amq.match"}
    text = 'PRECONDITION_FAILED - Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x'
    it.refused(406, text, "queue.bind", arguments={"x-match": "some"}, **values)
    text = "PRECONDITION_FAILED - Invalid x-match field type signedint (value 1); expected longstr"
    it.refused(406, text, "queue.bind", arguments={"x-match": 1}, **values)


@refusals
def messages_that_are_too_large(it):
    queue, size = it.declare(), 16 * 1024 * 1024 + 1
    it.wire.publish(1, "", queue, bytes(size))
    text = f"PRECONDITION_FAILED - message size {size} is larger than configured max size {size - 1}"
    it.wire.closed(1, 406, text, "basic.publish")


def fatal(code, text, name, **values):
    """A case that ends its connection."""

    def check(peer):
        with peer.open() as wire:
            wire.channel()
            wire.call(1, "queue.declare", exclusive=True)
            wire.fatal(1, code, text, name, **values)

    return check


def register_fatal(name, *given, **values):
    check = fatal(*given, **values)
    check.__name__ = name
    case(check)


register_fatal("prefetch_by_size", 540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)", "basic.qos", prefetch_size=1)
register_fatal("recover_without_requeue", 540, "NOT_IMPLEMENTED - requeue=false", "basic.recover")
register_fatal("stopping_the_flow", 540, "NOT_IMPLEMENTED - active=false", "channel.flow")
register_fatal("opening_twice", 504, "CHANNEL_ERROR - second 'channel.open' seen", "channel.open")


@case
def channels_have_to_be_open(peer):
    with peer.open() as wire:
        wire.fatal(7, 504, "CHANNEL_ERROR - expected 'channel.open'", "queue.declare", queue="q")


@case
def publishing_for_immediate_delivery(peer):
    with peer.open() as wire:
        wire.channel()
        wire.publish(1, "", "q", b"x", flags={"immediate": True})
        wire.ended(540, "NOT_IMPLEMENTED - immediate=true", (60, 40))


@case
def consumers_have_names_of_their_own(peer):
    with peer.open() as wire:
        wire.channel()
        queue = wire.call(1, "queue.declare", exclusive=True).queue
        wire.call(1, "basic.consume", queue=queue, tag="t1")
        wire.fatal(1, 530, "NOT_ALLOWED - attempt to reuse consumer tag 't1'", "basic.consume", queue=queue, tag="t1")


@case
def long_explanations_are_cut(peer):
    queue = "q" * 250
    with peer.open() as wire:
        wire.channel()
        wire.send(1, "queue.declare", queue=queue, passive=True)
        close = wire.expect(1, "channel.close")
        equal(close.code, 404)
        assert close.text.startswith(f"NOT_FOUND - no queue '{'q' * 200}"), close.text
        assert len(close.text) <= 255, close.text
