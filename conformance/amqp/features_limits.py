"""How long and how many: time to live, queues that expire, maximal lengths, priorities, delivery limits."""

import time

from harness.cases import equal, eventually, fresh
from session import SECONDS, feature


@feature
def messages_of_a_queue_expire(it):
    queue = it.queue({"x-message-ttl": 200})
    it.publish(queue, "x")
    equal(it.count(queue), 1)
    it.settled(queue, 0)
    equal(it.get(queue), None)


@feature
def a_message_expires_when_it_says(it):
    queue = it.queue()
    it.publish(queue, "soon", expiration="200")
    it.publish(queue, "never")
    time.sleep(0.4)
    equal(it.drain(queue), ["never"])


@feature
def the_shorter_life_counts(it):
    dead = it.queue()
    arguments = {"x-message-ttl": 200, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    queue = it.queue(arguments)
    it.publish(queue, "queue", expiration="60000")
    equal(it.wait(dead).body, "queue")
    queue = it.queue(arguments | {"x-message-ttl": 60000})
    it.publish(queue, "message", expiration="200")
    equal(it.wait(dead).body, "message")


@feature
def a_life_of_nothing_is_for_who_waits(it):
    queue = it.queue({"x-message-ttl": 0})
    it.publish(queue, "nobody")
    equal(it.get(queue), None)
    consumer = it.consume(queue)
    it.publish(queue, "somebody")
    it.until(lambda: consumer.bodies == ["somebody"])


@feature
def what_was_delivered_does_not_expire(it):
    queue = it.queue({"x-message-ttl": 300})
    it.publish(queue, "x")
    message = it.wait(queue, ack=False)
    time.sleep(0.5)
    it.channel.basic_ack(message.tag)
    it.publish(queue, "y")
    message = it.wait(queue, ack=False)
    time.sleep(0.5)
    # Given back too late.
    it.channel.basic_nack(message.tag)
    it.settled(queue, 0)


@feature
def an_unused_queue_expires(it):
    queue = it.queue({"x-expires": 400})
    eventually(lambda: not it.exists(queue) or None, SECONDS, 1)


@feature
def a_used_queue_stays(it):
    queue = it.queue({"x-expires": 600})
    for _ in range(4):
        time.sleep(0.3)
        # Reading is use.
        it.get(queue)
    consumer = it.consume(queue)
    it.listen(1)
    assert it.exists(queue)
    consumer.cancel()
    eventually(lambda: not it.exists(queue) or None, SECONDS, 1)


@feature
def the_oldest_make_room(it):
    queue = it.queue({"x-max-length": 2})
    for body in "abcd":
        it.publish(queue, body)
    equal(it.drain(queue), ["c", "d"])


@feature
def what_is_being_worked_on_takes_no_room(it):
    queue = it.queue({"x-max-length": 1})
    it.publish(queue, "a")
    it.wait(queue, ack=False)
    it.publish(queue, "b")
    equal(it.drain(queue), ["b"])


@feature
def what_makes_room_is_dead_lettered(it):
    dead = it.queue()
    queue = it.queue({"x-max-length": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    for body in "abc":
        it.publish(queue, body)
    found = [it.wait(dead) for _ in range(2)]
    equal([message.body for message in found], ["a", "b"])
    equal({message.deaths[0]["reason"] for message in found}, {"maxlen"})


@feature
def bytes_are_counted_too(it):
    queue = it.queue({"x-max-length-bytes": 1000})
    for body in "abc":
        it.publish(queue, body * 400)
    equal([body[0] for body in it.drain(queue)], ["b", "c"])
    # The body alone is counted.
    it.publish(queue, "d" * 1000, headers={"much": "h" * 1000})
    equal(it.count(queue), 1)


@feature
def publishers_are_refused(it):
    queue = it.queue({"x-max-length": 1, "x-overflow": "reject-publish"})
    it.publish(queue, "a")
    assert it.refused(queue, "b")
    equal(it.drain(queue), ["a"])
    it.publish(queue, "c")
    equal(it.drain(queue), ["c"])


@feature
def publishers_are_refused_by_bytes(it):
    queue = it.queue({"x-max-length-bytes": 10, "x-overflow": "reject-publish"})
    it.publish(queue, "a" * 10)
    assert it.refused(queue, "b")
    equal(it.count(queue), 1)


@feature
def the_refused_are_dead_lettered_when_asked(it):
    dead = it.queue()
    to_dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    queue = it.queue({"x-max-length": 1, "x-overflow": "reject-publish"} | to_dead)
    it.publish(queue, "a")
    assert it.refused(queue, "b")
    equal(it.get(dead), None)
    queue = it.queue({"x-max-length": 1, "x-overflow": "reject-publish-dlx"} | to_dead)
    it.publish(queue, "c")
    assert it.refused(queue, "d")
    message = it.wait(dead)
    equal((message.body, message.deaths[0]["reason"], message.deaths[0]["queue"]), ("d", "maxlen", queue))


@feature
def a_refusal_of_one_queue_is_a_refusal(it):
    full, other, exchange = it.queue({"x-max-length": 0, "x-overflow": "reject-publish"}), it.queue(), fresh("exchange")
    it.channel.exchange_declare(exchange, "fanout", auto_delete=True)
    for queue in (full, other):
        it.bind(queue, exchange)
    assert it.refused("", "x", exchange)
    equal(it.drain(other), ["x"])


@feature
def the_important_come_first(it):
    queue = it.queue({"x-max-priority": 5})
    for priority in (0, 3, 5, 1, 3):
        it.publish(queue, f"{priority}", priority=priority)
    it.publish(queue, "none")
    # More than there is counts as the most there is, in its turn.
    it.publish(queue, "9", priority=9)
    equal(it.drain(queue), ["5", "9", "3", "3", "1", "0", "none"])


@feature
def priorities_mean_nothing_otherwise(it):
    queue = it.queue()
    for priority in (0, 9):
        it.publish(queue, f"{priority}", priority=priority)
    message = it.wait(queue)
    equal((message.body, message.properties.priority), ("0", 0))


@feature
def what_is_given_back_keeps_its_priority(it):
    queue = it.queue({"x-max-priority": 5})
    for priority in (1, 4):
        it.publish(queue, f"{priority}", priority=priority)
    message = it.wait(queue, ack=False)
    it.channel.basic_nack(message.tag)
    equal(it.drain(queue), ["4", "1"])


@feature
def quorum_queues_have_priorities(it):
    it.peer.needs("priorities in quorum queues")
    queue = it.quorum()
    for priority in (0, 9, 31, 1):
        it.publish(queue, f"{priority}", priority=priority)
    # Four is what a message has that says nothing.
    it.publish(queue, "none")
    equal(it.drain(queue), ["31", "9", "none", "1", "0"])


@feature
def deliveries_are_limited(it):
    dead = it.queue()
    limited = {"x-delivery-limit": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    queue = it.quorum(limited)
    it.publish(queue, "poison")
    for failed in range(3):
        message = it.wait(queue, ack=False)
        # The first time it may be left out.
        equal(message.headers.get("x-delivery-count", 0), failed)
        equal(message.method.redelivered, failed > 0)
        it.channel.basic_reject(message.tag)
    message = it.wait(dead)
    (death,) = message.deaths
    equal((death["reason"], death["queue"], death["count"]), ("delivery_limit", queue, 1))
    equal(it.get(queue), None)


@feature
def without_a_dead_letter_exchange_the_limit_drops(it):
    queue = it.quorum({"x-delivery-limit": 0})
    it.publish(queue, "poison")
    it.channel.basic_reject(it.wait(queue, ack=False).tag)
    it.settled(queue, 0)
    it.listen(0.2)
    equal(it.get(queue), None)


@feature
def a_dead_consumer_counts_as_a_failure(it):
    queue = it.quorum({"x-delivery-limit": 5})
    it.publish(queue, "x")
    message = it.wait(queue, ack=False)
    it.channel.close()
    it.open_channel()
    message = it.wait(queue)
    equal((message.headers["x-delivery-count"], message.method.redelivered), (1, True))


@feature
def the_limit_is_twenty_unless_said_otherwise(it):
    it.peer.needs("default delivery limit")
    dead = it.queue()
    queue = it.quorum({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    it.publish(queue, "poison")
    for _ in range(21):
        it.channel.basic_reject(it.wait(queue, ack=False).tag)
    equal(it.wait(dead).deaths[0]["reason"], "delivery_limit")


@feature
def the_limit_can_be_taken_off(it):
    it.peer.needs("default delivery limit")
    queue = it.quorum({"x-delivery-limit": -1})
    it.publish(queue, "patient")
    for _ in range(25):
        it.channel.basic_reject(it.wait(queue, ack=False).tag)
    equal(it.wait(queue).body, "patient")


@feature
def giving_back_is_no_failure(it):
    it.peer.needs("difference between nack and reject")
    queue = it.quorum({"x-delivery-limit": 1})
    it.publish(queue, "patient")
    for given_back in range(5):
        message = it.wait(queue, ack=False)
        equal(message.headers.get("x-acquired-count", 0), given_back)
        equal(message.headers.get("x-delivery-count", 0), 0)
        it.channel.basic_nack(message.tag)
    equal(it.wait(queue).body, "patient")


@feature
def quorum_queues_have_limits_too(it):
    queue = it.quorum({"x-max-length": 2, "x-message-ttl": 60000})
    for body in "abc":
        it.publish(queue, body)
    it.settled(queue, 2)
    equal(it.channel.queue_purge(queue).method.message_count, 2)
    equal(it.get(queue), None)
