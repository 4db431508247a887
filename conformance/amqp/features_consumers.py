"""Who gets what, and when: prefetch, order, sharing, exclusivity, cancellation, and what happens to queues after."""

import pika
from pika.exceptions import ChannelClosedByBroker

from harness.cases import equal, eventually, fresh
from session import SECONDS, Message, Session, feature


@feature
def consumers_take_turns(it):
    queue = it.queue()
    one, other = it.consume(queue), it.consume(queue)
    for number in range(10):
        it.publish(queue, f"{number}")
    it.until(lambda: len(one.messages) + len(other.messages) == 10)
    equal((len(one.messages), len(other.messages)), (5, 5))
    equal(sorted(one.bodies + other.bodies), [f"{number}" for number in range(10)])


@feature
def work_goes_to_who_is_free(it):
    queue = it.queue()
    it.channel.basic_qos(prefetch_count=1)
    busy, free = it.consume(queue, ack=False), it.consume(queue)
    for number in range(5):
        it.publish(queue, f"{number}")
    it.until(lambda: len(busy.messages) + len(free.messages) == 5)
    equal(len(busy.messages), 1)


@feature
def prefetch_is_of_the_consumers_that_follow(it):
    queue = it.queue()
    for number in range(6):
        it.publish(queue, f"{number}")
    it.channel.basic_qos(prefetch_count=2)
    first = it.consume(queue, ack=False)
    it.until(lambda: len(first.messages) == 2)
    it.channel.basic_qos(prefetch_count=3)
    second = it.consume(queue, ack=False)
    it.until(lambda: len(second.messages) == 3)
    it.listen(0.2)
    equal((len(first.messages), len(second.messages), it.count(queue)), (2, 3, 1))


@feature
def no_prefetch_is_no_limit(it):
    queue = it.queue()
    for number in range(300):
        it.publish(queue, f"{number}")
    consumer = it.consume(queue, ack=False)
    it.until(lambda: len(consumer.messages) == 300)
    equal(consumer.bodies, [f"{number}" for number in range(300)])


@feature
def without_acknowledgement_it_is_gone(it):
    queue = it.queue()
    it.channel.basic_qos(prefetch_count=1)
    consumer = it.consume(queue, ack=None)
    for number in range(5):
        it.publish(queue, f"{number}")
    it.until(lambda: len(consumer.messages) == 5)
    it.channel.basic_recover(requeue=True)
    it.listen(0.2)
    equal((len(consumer.messages), it.count(queue)), (5, 0))


@feature
def a_rejected_message_comes_again_at_once(it):
    queue = it.queue()
    consumer = it.consume(queue, ack=False)
    it.publish(queue, "x")
    it.until(lambda: len(consumer.messages) == 1)
    it.channel.basic_reject(consumer.messages[0].tag)
    it.until(lambda: len(consumer.messages) == 2)
    again = consumer.messages[1]
    equal((again.body, again.method.redelivered), ("x", True))


@feature
def what_a_connection_held_comes_first_again(it):
    queue = it.lasting_queue()
    for body in "abcd":
        it.publish(queue, body)
    other = Session(it.peer)
    for _ in range(3):
        other.wait(queue, ack=False)
    other.connection.close()
    it.settled(queue, 4)
    found = [it.wait(queue) for _ in range(4)]
    equal([message.body for message in found], list("abcd"))
    equal([message.method.redelivered for message in found], [True, True, True, False])


@feature
def one_of_many_is_active(it):
    queue = it.queue({"x-single-active-consumer": True})
    first, second = it.consume(queue), it.consume(queue)
    for body in "abc":
        it.publish(queue, body)
    it.until(lambda: len(first.messages) == 3)
    equal(second.bodies, [])
    first.cancel()
    for body in "def":
        it.publish(queue, body)
    it.until(lambda: len(second.messages) == 3)
    equal((first.bodies, second.bodies), (list("abc"), list("def")))


@feature
def the_next_is_active_when_a_connection_ends(it):
    queue = it.lasting_queue({"x-single-active-consumer": True})
    other = Session(it.peer)
    active = other.consume(queue, ack=False)
    it.publish(queue, "x")
    other.until(lambda: len(active.messages) == 1)
    waiting = it.consume(queue)
    it.listen(0.2)
    equal(waiting.bodies, [])
    other.connection.close()
    it.until(lambda: waiting.bodies == ["x"])
    equal(waiting.messages[0].method.redelivered, True)


@feature
def the_important_consumer_is_served_first(it):
    queue = it.queue()
    it.channel.basic_qos(prefetch_count=3)
    low, high = it.consume(queue, ack=False), it.consume(queue, ack=False, arguments={"x-priority": 10})
    for number in range(3):
        it.publish(queue, f"{number}")
    it.until(lambda: len(high.messages) == 3)
    equal(low.bodies, [])
    # It has all it can take.
    it.publish(queue, "next")
    it.until(lambda: low.bodies == ["next"])


@feature
def an_unimportant_consumer_waits(it):
    queue = it.queue()
    usual, low = it.consume(queue), it.consume(queue, arguments={"x-priority": -5})
    for number in range(4):
        it.publish(queue, f"{number}")
    it.until(lambda: len(usual.messages) == 4)
    equal(low.bodies, [])
    usual.cancel()
    it.publish(queue, "x")
    it.until(lambda: low.bodies == ["x"])


@feature
def an_exclusive_consumer_is_alone(it):
    queue = it.queue()
    alone = it.consume(queue, exclusive=True)
    channel = it.connection.channel()
    try:
        channel.basic_consume(queue, lambda *_: None)
        raise AssertionError("there are two of them")
    except ChannelClosedByBroker as error:
        equal(error.reply_code, 403)
    alone.cancel()
    it.connection.channel().basic_consume(queue, lambda *_: None, exclusive=True)


@feature
def a_queue_may_go_with_its_last_consumer(it):
    queue = it.queue(exclusive=False, auto_delete=True, durable=True)
    it.publish(queue, "x")
    # Nobody has consumed yet.
    assert it.exists(queue)
    one, other = it.consume(queue), it.consume(queue)
    one.cancel()
    assert it.exists(queue)
    other.cancel()
    eventually(lambda: not it.exists(queue), SECONDS)


@feature
def a_queue_may_go_with_its_last_connection(it):
    queue = it.queue(exclusive=False, auto_delete=True, durable=True)
    other = Session(it.peer)
    other.consume(queue)
    other.connection.close()
    eventually(lambda: not it.exists(queue), SECONDS)


@feature
def consumers_are_told_that_their_queue_is_gone(it):
    queue, told = it.queue(), []
    it.channel.add_on_cancel_callback(told.append)
    consumer = it.consume(queue)
    it.connection.channel().queue_delete(queue)
    it.until(lambda: told)
    equal(told[0].method.consumer_tag, consumer.tag)
    # The channel goes on.
    equal(it.count(it.queue()), 0)


@feature
def consumers_are_told_that_their_queue_has_expired(it):
    """A queue with consumers is in use; what ends it is somebody else."""
    queue, told = it.lasting_queue(), []
    it.channel.add_on_cancel_callback(told.append)
    it.consume(queue)
    other = Session(it.peer)
    other.channel.queue_delete(queue)
    other.close()
    it.until(lambda: told)


@feature
def cancelled_consumers_get_nothing_more(it):
    queue = it.queue()
    consumer = it.consume(queue, ack=False)
    it.publish(queue, "a")
    it.until(lambda: consumer.bodies == ["a"])
    consumer.cancel()
    it.publish(queue, "b")
    it.listen(0.2)
    equal((consumer.bodies, it.count(queue)), (["a"], 1))


@feature
def several_are_acknowledged_at_once(it):
    queue = it.queue()
    consumer = it.consume(queue, ack=False)
    for number in range(5):
        it.publish(queue, f"{number}")
    it.until(lambda: len(consumer.messages) == 5)
    it.channel.basic_ack(consumer.messages[2].tag, multiple=True)
    it.channel.basic_recover(requeue=True)
    it.until(lambda: len(consumer.messages) == 7)
    equal(consumer.bodies[5:], ["3", "4"])


@feature
def acknowledging_out_of_order(it):
    queue = it.queue()
    consumer = it.consume(queue, ack=False)
    for number in range(4):
        it.publish(queue, f"{number}")
    it.until(lambda: len(consumer.messages) == 4)
    for index in (3, 1):
        it.channel.basic_ack(consumer.messages[index].tag)
    it.channel.close()
    it.open_channel()
    it.settled(queue, 2)
    equal(it.drain(queue), ["0", "2"])


@feature
def answers_come_back_directly(it):
    """A question and its answer, as the tutorial has it."""
    questions, answers = it.queue(), []
    alias = "amq.rabbitmq.reply-to"

    def keep(_channel, method, properties, body):
        answers.append(Message(method, properties, body))

    it.channel.basic_consume(alias, keep, auto_ack=True)
    server = Session(it.peer)
    serving = it.lasting_queue()
    for number in range(3):
        it.publish(serving, f"{number}", reply_to=alias, correlation_id=f"c{number}")
    for _ in range(3):
        question = server.wait(serving)
        properties = question.properties
        assert properties.reply_to.startswith(f"{alias}."), properties
        server.publish(properties.reply_to, question.body * 2, correlation_id=properties.correlation_id)
    it.until(lambda: len(answers) == 3)
    equal([(a.body, a.properties.correlation_id) for a in answers], [("00", "c0"), ("11", "c1"), ("22", "c2")])
    equal(it.count(questions), 0)
    # Who asked has left.
    address = properties.reply_to
    it.channel.close()
    eventually(lambda: server.unroutable(address, "late"), SECONDS)
    server.close()
    it.open_channel()


@feature
def confirms_come_for_many_at_once(it):
    """Thousands without waiting, counted by a connection that only listens to confirms."""
    queue, confirmed = it.queue(), set()
    host, port = it.peer.host_and_port()
    parameters = pika.ConnectionParameters(host, port, heartbeat=0)

    def count(frame):
        method = frame.method
        first = max(confirmed, default=0) + 1 if method.multiple else method.delivery_tag
        confirmed.update(range(min(first, method.delivery_tag), method.delivery_tag + 1))
        if len(confirmed) == 2000:
            connection.close()

    def publish(channel):
        channel.confirm_delivery(count)
        for _ in range(2000):
            channel.basic_publish("", fresh("nowhere"), b"x")

    connection = pika.SelectConnection(
        parameters,
        on_open_callback=lambda connection: connection.channel(on_open_callback=publish),
        on_close_callback=lambda connection, _: connection.ioloop.stop(),
    )
    connection.ioloop.start()
    equal(confirmed, set(range(1, 2001)))
    equal(it.count(queue), 0)
