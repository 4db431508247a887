"""What comes later: publishing with a delay, and trying again after a while."""

import time

from pika.exceptions import ChannelClosedByBroker

from harness.cases import equal
from session import feature

EARLY = 0.05
PATIENCE = 1.5


def took(began, seconds):
    elapsed = time.monotonic() - began
    assert seconds - EARLY <= elapsed <= seconds + PATIENCE, f"{elapsed:.2f} s instead of {seconds} s"


def delaying(it, kind="direct"):
    it.peer.needs("x-delayed-message without a plugin")
    return it.exchange("x-delayed-message", {"x-delayed-type": kind})


@feature
def a_message_is_published_later(it):
    exchange, queue = delaying(it), it.queue()
    it.bind(queue, exchange, "k")
    began = time.monotonic()
    it.publish("k", "later", exchange, headers={"x-delay": 500, "mine": "kept"})
    it.publish("k", "now", exchange)
    equal(it.wait(queue).body, "now")
    # What waits for its time is in its queue; the plugin keeps it elsewhere.
    equal(it.count(queue), 1)
    message = it.wait(queue)
    took(began, 0.5)
    equal((message.body, message.method.exchange, message.method.routing_key), ("later", exchange, "k"))
    # How long it was held is still to be seen; the plugin shows it negated.
    equal((message.headers["mine"], abs(message.headers["x-delay"])), ("kept", 500))


@feature
def delays_end_in_their_own_order(it):
    exchange, queue = delaying(it, "fanout"), it.queue()
    it.bind(queue, exchange)
    for delay in (600, 200, 400):
        it.publish("", f"{delay}", exchange, headers={"x-delay": delay})
    equal([it.wait(queue).body for _ in range(3)], ["200", "400", "600"])


@feature
def later_messages_are_routed_like_others(it):
    exchange, queue, other = delaying(it, "topic"), it.queue(), it.queue()
    it.bind(queue, exchange, "a.*")
    it.bind(other, exchange, "b.*")
    it.publish("a.b", "x", exchange, headers={"x-delay": 200})
    equal(it.wait(queue).body, "x")
    equal(it.get(other), None)


@feature
def a_delayed_exchange_says_how_it_routes(it):
    it.peer.needs("x-delayed-message without a plugin")
    try:
        it.exchange("x-delayed-message")
        raise AssertionError("it cannot know how to route")
    except ChannelClosedByBroker as error:
        equal(error.reply_code, 406)


def retrying(it, kind, **more):
    it.peer.needs("delayed retries")
    return it.quorum({"x-delayed-retry-type": kind, "x-delayed-retry-min": 300} | more)


@feature
def what_failed_is_tried_later(it):
    queue = retrying(it, "failed")
    it.publish(queue, "x")
    message = it.wait(queue, ack=False)
    began = time.monotonic()
    it.channel.basic_reject(message.tag)
    message = it.wait(queue)
    took(began, 0.3)
    equal(message.headers["x-delivery-count"], 1)


@feature
def what_is_tried_later_holds_up_nobody(it):
    queue = retrying(it, "all")
    for body in "ab":
        it.publish(queue, body)
    it.channel.basic_reject(it.wait(queue, ack=False).tag)
    equal(it.wait(queue).body, "b")
    equal(it.wait(queue).body, "a")


@feature
def every_failure_waits_longer_up_to_a_limit(it):
    queue = retrying(it, "all", **{"x-delayed-retry-max": 500})
    it.publish(queue, "x")
    message = it.wait(queue, ack=False)
    for delay in (0.3, 0.5, 0.5):
        began = time.monotonic()
        it.channel.basic_reject(message.tag)
        message = it.wait(queue, ack=False)
        took(began, delay)


@feature
def what_was_only_given_back_comes_at_once(it):
    queue = retrying(it, "failed", **{"x-delayed-retry-min": 5000})
    it.publish(queue, "x")
    began = time.monotonic()
    it.channel.basic_nack(it.wait(queue, ack=False).tag)
    it.wait(queue)
    took(began, 0)


@feature
def only_what_was_given_back_may_wait(it):
    queue = retrying(it, "returned")
    it.publish(queue, "x")
    message = it.wait(queue, ack=False)
    began = time.monotonic()
    it.channel.basic_nack(message.tag)
    message = it.wait(queue, ack=False)
    took(began, 0.3)
    it.channel.basic_reject(message.tag)
    began = time.monotonic()
    it.wait(queue)
    took(began, 0)


@feature
def retries_end_at_the_delivery_limit(it):
    it.peer.needs("delayed retries")
    dead = it.queue()
    limited = {"x-delivery-limit": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    queue = retrying(it, "all", **{"x-delayed-retry-min": 100} | limited)
    it.publish(queue, "x")
    for _ in range(2):
        it.channel.basic_reject(it.wait(queue, ack=False).tag)
    equal(it.wait(dead).deaths[0]["reason"], "delivery_limit")


@feature
def classic_queues_try_again_later_too(it):
    """Ours alone: other brokers have this only for quorum queues."""
    it.peer.needs("delayed retries")
    queue = it.queue({"x-delayed-retry-type": "all", "x-delayed-retry-min": 300})
    it.publish(queue, "x")
    message = it.wait(queue, ack=False)
    began = time.monotonic()
    it.channel.basic_reject(message.tag)
    it.wait(queue)
    took(began, 0.3)
