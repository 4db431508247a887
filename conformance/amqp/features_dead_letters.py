"""Dead letters: where they go, what they say of their past, and which go round in circles."""

import datetime
import time

from harness.cases import equal, fresh
from session import feature

ENTRY = {"count", "reason", "queue", "time", "exchange", "routing-keys"}


def source(it, target="", key=None, **more):
    """A queue whose dead letters go to an exchange, with another key when one is given."""
    arguments = {"x-dead-letter-exchange": target} | more
    if key is not None:
        arguments["x-dead-letter-routing-key"] = key
    return it.queue(arguments)


def reject(it, queue):
    it.channel.basic_reject(it.wait(queue, ack=False).tag, requeue=False)


@feature
def a_rejected_message_says_why(it):
    dead = it.queue()
    queue = source(it, key=dead)
    before = datetime.datetime.utcnow().replace(microsecond=0) - datetime.timedelta(seconds=1)
    properties = {"message_id": "m", "content_type": "text/plain", "delivery_mode": 2, "headers": {"mine": "kept"}}
    it.publish(queue, "x", **properties)
    reject(it, queue)
    message = it.wait(dead)
    (death,) = message.deaths
    equal(set(death), ENTRY)
    equal(
        {name: death[name] for name in ENTRY - {"time"}},
        {
            "count": 1,
            "reason": "rejected",
            "queue": queue,
            "exchange": "",
            "routing-keys": [queue],
        },
    )
    assert before <= death["time"].replace(tzinfo=None) <= before + datetime.timedelta(seconds=30), death
    equal(message.headers["mine"], "kept")
    first = {
        f"x-first-death-{name}": value for name, value in (("queue", queue), ("reason", "rejected"), ("exchange", ""))
    }
    equal({name: message.headers.get(name) for name in first}, first)
    last = {name.replace("first", "last"): value for name, value in first.items()}
    equal({name: message.headers.get(name) for name in last}, dict.fromkeys(last) if it.peer.old else last)
    equal((message.properties.message_id, message.properties.content_type), ("m", "text/plain"))
    equal((message.method.exchange, message.method.routing_key, message.body), ("", dead, "x"))


@feature
def nack_without_requeue_is_a_rejection(it):
    dead = it.queue()
    queue = source(it, key=dead)
    for body in "abc":
        it.publish(queue, body)
    for _ in "abc":
        message = it.wait(queue, ack=False)
    it.channel.basic_nack(message.tag, multiple=True, requeue=False)
    found = [it.wait(dead) for _ in "abc"]
    equal([(message.body, message.deaths[0]["reason"]) for message in found], [(body, "rejected") for body in "abc"])


@feature
def an_expired_message_says_why(it):
    dead = it.queue()
    queue = source(it, key=dead, **{"x-message-ttl": 100})
    it.publish(queue, "x")
    (death,) = it.wait(dead).deaths
    equal((death["reason"], death["count"], set(death)), ("expired", 1, ENTRY))


@feature
def an_expired_message_does_not_expire_again(it):
    dead = it.queue()
    queue = source(it, key=dead)
    it.publish(queue, "x", expiration="100")
    message = it.wait(dead)
    equal(message.properties.expiration, None)
    (death,) = message.deaths
    equal((death["original-expiration"], set(death)), ("100", ENTRY | {"original-expiration"}))


@feature
def dead_letters_keep_their_key(it):
    dead, exchange = it.queue(), it.exchange("topic")
    it.bind(dead, exchange, "#")
    queue = source(it, exchange)
    it.bind(queue, "amq.direct", f"{queue}.key")
    it.publish(f"{queue}.key", "x", "amq.direct")
    reject(it, queue)
    message = it.wait(dead)
    equal((message.method.exchange, message.method.routing_key), (exchange, f"{queue}.key"))
    equal((message.deaths[0]["exchange"], message.deaths[0]["routing-keys"]), ("amq.direct", [f"{queue}.key"]))
    equal(message.headers["x-first-death-exchange"], "amq.direct")


@feature
def dead_letters_go_to_every_queue_bound(it):
    exchange, queues = it.exchange("fanout"), [it.queue() for _ in range(3)]
    for queue in queues:
        it.bind(queue, exchange)
    queue = source(it, exchange)
    it.publish(queue, "x")
    reject(it, queue)
    equal([it.wait(dead).body for dead in queues], ["x"] * 3)


@feature
def without_a_place_to_go_they_are_dropped(it):
    queue = source(it, fresh("nowhere"))
    it.publish(queue, "x")
    reject(it, queue)
    queue = it.queue()
    it.publish(queue, "x")
    reject(it, queue)
    it.settled(queue, 0)


@feature
def the_exchange_may_come_later(it):
    exchange, dead = fresh("exchange"), it.queue()
    queue = source(it, exchange)
    it.channel.exchange_declare(exchange, "fanout", auto_delete=True)
    it.bind(dead, exchange)
    it.publish(queue, "x")
    reject(it, queue)
    equal(it.wait(dead).body, "x")


@feature
def deaths_are_counted_and_the_last_comes_first(it):
    """There and back again: work expires into waiting, which is how people wait before they try again."""
    work = fresh("work")
    waiting = it.queue({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": work, "x-message-ttl": 50})
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": waiting}
    it.channel.queue_declare(work, exclusive=True, arguments=arguments)
    it.publish(work, "x")
    for round_ in range(1, 4):
        reject(it, work)
        message = it.wait(work, ack=False)
        it.channel.basic_nack(message.tag)
        expected = [("expired", waiting, round_), ("rejected", work, round_)]
        equal([(death["reason"], death["queue"], death["count"]) for death in message.deaths], expected)
        equal(message.headers["x-first-death-reason"], "rejected")
        equal(message.headers["x-first-death-queue"], work)
        if not it.peer.old:
            equal(message.headers["x-last-death-reason"], "expired")
            equal(message.headers["x-last-death-queue"], waiting)


@feature
def what_nobody_rejected_does_not_go_round(it):
    queue = fresh("queue")
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue, "x-message-ttl": 100}
    it.channel.queue_declare(queue, exclusive=True, arguments=arguments)
    it.publish(queue, "x")
    equal(it.count(queue), 1)
    time.sleep(0.5)
    equal(it.get(queue), None)
    # Two queues make a circle too.
    one, other = fresh("queue"), fresh("queue")
    for name, target in ((one, other), (other, one)):
        arguments["x-dead-letter-routing-key"] = target
        it.channel.queue_declare(name, exclusive=True, arguments=arguments)
    it.publish(one, "x")
    time.sleep(0.8)
    equal((it.get(one), it.get(other)), (None, None))


@feature
def what_was_rejected_may_go_round(it):
    queue = fresh("queue")
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
    it.channel.queue_declare(queue, exclusive=True, arguments=arguments)
    it.publish(queue, "x")
    for count in range(3):
        message = it.wait(queue, ack=False)
        equal([death["count"] for death in message.deaths], [count] if count else [])
        it.channel.basic_reject(message.tag, requeue=False)


@feature
def other_reasons_and_queues_have_entries_of_their_own(it):
    dead = it.queue()
    second = it.queue({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, "x-message-ttl": 50})
    first = source(it, key=second)
    it.publish(first, "x")
    reject(it, first)
    message = it.wait(dead)
    expected = [("expired", second, [second]), ("rejected", first, [first])]
    equal([(death["reason"], death["queue"], death["routing-keys"]) for death in message.deaths], expected)


@feature
def keys_of_copies_are_remembered(it):
    dead, queue, other = it.queue(), fresh("queue"), it.queue()
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    it.channel.queue_declare(queue, exclusive=True, arguments=arguments)
    it.publish(queue, "x", headers={"CC": [other], "BCC": [fresh("hidden")]})
    reject(it, queue)
    message = it.wait(dead)
    equal(message.deaths[0]["routing-keys"], [queue, other])
    # Another key was given: the copies' keys are not used again.
    equal(it.drain(other), ["x"])
    assert "BCC" not in message.headers, message.headers


@feature
def purging_and_deleting_are_no_deaths(it):
    dead = it.queue()
    queue = source(it, key=dead)
    it.publish(queue, "x")
    it.channel.queue_purge(queue)
    it.publish(queue, "x")
    it.channel.queue_delete(queue)
    it.listen(0.2)
    equal(it.get(dead), None)


@feature
def quorum_queues_dead_letter_alike(it):
    dead = it.queue()
    queue = it.quorum({"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})
    it.publish(queue, "x", headers={"mine": 1})
    it.channel.basic_reject(it.wait(queue, ack=False).tag, requeue=False)
    message = it.wait(dead)
    (death,) = message.deaths
    equal((set(death), death["reason"], death["queue"], message.headers["mine"]), (ENTRY, "rejected", queue, 1))


@feature
def none_is_lost_when_asked(it):
    dead = it.lasting_queue()
    queue = it.quorum(
        {
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
            "x-message-ttl": 100,
        }
    )
    for body in "abc":
        it.publish(queue, body)
    equal([it.wait(dead).body for _ in "abc"], ["a", "b", "c"])
