"""What a queue can do here beyond the service, each asked for by an attribute of its own."""

import time

from client import refused, text_attribute
from harness.cases import case, equal


@case
def extensions_are_shown_where_they_are_set(sqs):
    wanted = {"Forebay.RetryBackoff": "base=1s,max=10m,jitter=none", "Forebay.Priorities": "10"}
    url = sqs.queue(**wanted)
    equal(sqs.attributes(url, *wanted), wanted)
    shown = sqs.attributes(url)
    equal({name: shown[name] for name in shown if name.startswith("Forebay.")}, wanted)
    refused("InvalidAttributeName", sqs.set_queue_attributes, QueueUrl=url, Attributes={"Forebay.Nonsense": "1"})
    refused("InvalidAttributeValue", sqs.set_queue_attributes, QueueUrl=url, Attributes={"Forebay.Priorities": "5"})
    refused(
        "InvalidAttributeValue", sqs.set_queue_attributes, QueueUrl=url, Attributes={"Forebay.RetryBackoff": "soon"}
    )


@case
def larger_messages(sqs):
    url = sqs.queue(**{"Forebay.MaximumMessageSize": 3 << 20})
    body = "x" * (3 << 20)
    sqs.send(url, body)
    equal(sqs.receive_one(url)["Body"], body)
    refused("InvalidParameterValue", sqs.send, url, body + "x")


@case
def longer_delays(sqs):
    url = sqs.queue(**{"Forebay.MaximumDelaySeconds": 86400})
    sqs.send(url, "tomorrow", DelaySeconds=86400)
    equal(sqs.attributes(url)["ApproximateNumberOfMessagesDelayed"], "1")
    refused("InvalidParameterValue", sqs.send, url, DelaySeconds=86401)


@case
def greater_priorities_come_first(sqs):
    url = sqs.queue(**{"Forebay.Priorities": 10})
    for priority in ("0", "9", "5"):
        sqs.send(url, priority, MessageAttributes={"Forebay.Priority": text_attribute(priority, "Number")})
    equal(sqs.bodies(url), ["9", "5", "0"])


@case
def failures_wait_before_they_come_again(sqs):
    url = sqs.queue(**{"Forebay.RetryBackoff": "base=2s,max=2s,jitter=none"})
    sqs.send(url)
    message = sqs.receive_one(url)
    began = time.monotonic()
    sqs.hide(url, message, 0)
    equal(sqs.receive(url), [])
    sqs.receive_one(url)
    assert time.monotonic() - began > 1.9


@case
def repeats_are_known_for_as_long_as_wanted(sqs):
    url = sqs.fifo(**{"Forebay.DeduplicationWindow": 10})
    equal(sqs.attributes(url, "Forebay.DeduplicationWindow"), {"Forebay.DeduplicationWindow": "10"})
    for _ in range(2):
        sqs.send(url, "same", MessageGroupId="g")
    equal(sqs.bodies(url), ["same"])
