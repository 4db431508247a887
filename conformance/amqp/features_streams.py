"""Streams: read from where a consumer says, by many, and nothing is taken out."""

import datetime

import pika
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker

from harness.cases import equal
from session import feature


def stream(it, *bodies, **arguments):
    name = it.lasting_queue({"x-queue-type": "stream"} | arguments)
    for body in bodies:
        it.publish(name, body)
    it.channel.basic_qos(prefetch_count=100)
    return name


def read(it, name, start, **arguments):
    return it.consume(name, arguments={"x-stream-offset": start} | arguments)


def offsets(consumer):
    return [message.headers["x-stream-offset"] for message in consumer.messages]


@feature
def a_stream_is_read_again_and_again(it):
    name = stream(it, "a", "b", "c")
    for _ in range(2):
        consumer = read(it, name, "first")
        it.until(lambda: len(consumer.messages) == 3)
        equal((consumer.bodies, offsets(consumer)), (["a", "b", "c"], [0, 1, 2]))
        equal([message.method.redelivered for message in consumer.messages], [False] * 3)
    it.settled(name, 3)


@feature
def a_stream_is_read_from_an_offset(it):
    name = stream(it, "a", "b", "c", "d")
    consumer = read(it, name, 2)
    it.until(lambda: len(consumer.messages) == 2)
    equal((consumer.bodies, offsets(consumer)), (["c", "d"], [2, 3]))


@feature
def a_stream_is_read_from_a_time(it):
    name = stream(it, "a", "b")
    hour = datetime.timedelta(hours=1)
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    past, age = read(it, name, now - hour), read(it, name, "1h")
    it.until(lambda: len(past.messages) == 2 and len(age.messages) == 2)
    equal((past.bodies, age.bodies), (["a", "b"], ["a", "b"]))


@feature
def a_stream_goes_on_with_what_comes(it):
    name = stream(it, "a")
    silent, told = it.consume(name), read(it, name, "next")
    it.listen(0.2)
    it.publish(name, "b")
    it.until(lambda: silent.messages and told.messages)
    equal((silent.bodies, told.bodies), (["b"], ["b"]))


@feature
def the_last_of_a_stream_ends_with_the_newest(it):
    name = stream(it, "a", "b", "c")
    consumer = read(it, name, "last")
    it.until(lambda: consumer.messages)
    it.listen(0.2)
    equal(consumer.bodies[-1], "c")


@feature
def a_reader_has_as_much_as_its_prefetch(it):
    name = stream(it, *"abcde")
    it.channel.basic_qos(prefetch_count=2)
    consumer = it.consume(name, ack=False, arguments={"x-stream-offset": "first"})
    it.until(lambda: len(consumer.messages) == 2)
    it.listen(0.2)
    equal(consumer.bodies, ["a", "b"])
    it.channel.basic_ack(consumer.messages[1].tag, multiple=True)
    it.until(lambda: len(consumer.messages) == 4)
    equal(consumer.bodies, ["a", "b", "c", "d"])


@feature
def what_a_reader_gives_back_does_not_come_again(it):
    it.peer.needs("way to give back what a stream delivered")
    name = stream(it, "a", "b")
    consumer = it.consume(name, ack=False, arguments={"x-stream-offset": "first"})
    it.until(lambda: len(consumer.messages) == 2)
    it.channel.basic_nack(consumer.messages[0].tag, requeue=True)
    it.channel.basic_reject(consumer.messages[1].tag, requeue=True)
    it.publish(name, "c")
    it.until(lambda: len(consumer.messages) == 3)
    equal(consumer.bodies, ["a", "b", "c"])


@feature
def properties_of_a_stream_stay_as_they_were(it):
    name = stream(it)
    it.publish(name, "a", content_type="text/plain", headers={"x": 1}, correlation_id="c", app_id="me")
    consumer = read(it, name, "first")
    it.until(lambda: consumer.messages)
    headers = consumer.messages[0].headers
    equal((headers["x"], headers["x-stream-offset"]), (1, 0))


@feature
def a_stream_is_bound_like_any_queue(it):
    name, other = stream(it), it.queue()
    exchange = it.exchange("topic")
    it.bind(name, exchange, "orders.#")
    it.bind(other, exchange, "#.new")
    it.publish("orders.eu.new", "a", exchange)
    it.publish("orders.eu.old", "b", exchange)
    consumer = read(it, name, "first")
    it.until(lambda: len(consumer.messages) == 2)
    equal((consumer.bodies, it.drain(other)), (["a", "b"], ["a"]))


@feature
def a_reader_hears_that_its_stream_is_gone(it):
    name = stream(it, "a")
    cancelled = []
    it.channel.add_on_cancel_callback(lambda method: cancelled.append(method.method.consumer_tag))
    consumer = read(it, name, "next")
    it.channel.queue_delete(name)
    it.until(lambda: cancelled)
    equal(cancelled, [consumer.tag])


def refuses(code, function, expected=ChannelClosedByBroker):
    try:
        function()
    except expected as error:
        equal(error.reply_code, code)
        return
    raise AssertionError(f"not refused with {code}")


@feature
def a_reader_needs_a_prefetch_count(it):
    name = stream(it)
    it.channel.basic_qos(prefetch_count=0)
    refuses(406, lambda: read(it, name, "first"))
    it.open_channel()


@feature
def a_position_has_to_make_sense(it):
    it.peer.needs("refusal of such a position but the end of the connection")
    name = stream(it)
    refuses(406, lambda: read(it, name, "yesterday"))
    it.open_channel()


@feature
def a_stream_lasts(it):
    for flags in [{"durable": False}, {"durable": True, "exclusive": True}, {"durable": True, "auto_delete": True}]:
        declare = lambda: it.queue({"x-queue-type": "stream"}, **({"exclusive": False} | flags))  # noqa: B023, E731
        refuses(406, declare)
        it.open_channel()


@feature
def a_stream_has_no_time_to_live(it):
    declare = lambda: stream(it, **{"x-message-ttl": 1000})  # noqa: E731
    refuses(406, declare)
    it.open_channel()


@feature
def a_stream_is_not_fetched_from(it):
    name = stream(it, "a")
    host, port = it.peer.host_and_port()
    other = pika.BlockingConnection(pika.ConnectionParameters(host, port, heartbeat=0))
    refuses(540, lambda: other.channel().basic_get(name), ConnectionClosedByBroker)
