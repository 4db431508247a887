"""FIFO queues: order within a group, locked groups, repeats that are dropped."""

import time

from client import invalid, refused
from harness.cases import case, equal, eventually

GROUP = {"MessageGroupId": "g"}
DEDUP_NEEDED = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)
GROUP_NEEDED = "The request must contain the parameter MessageGroupId."
NOT_FOR_TYPE = "The request include parameter that is not valid for this queue type."


@case
def a_group_is_received_in_order(sqs):
    url = sqs.fifo()
    bodies = [f"m{i:02}" for i in range(25)]
    for start in range(0, 25, 10):
        batch = [{"Id": body, "MessageBody": body} | GROUP for body in bodies[start : start + 10]]
        numbers = [e["SequenceNumber"] for e in sqs.send_message_batch(QueueUrl=url, Entries=batch)["Successful"]]
        assert numbers == sorted(numbers) and all(len(number) == 20 for number in numbers), numbers
    seen = []
    while messages := sqs.receive(url, AttributeNames=["All"]):
        numbers = [message["Attributes"]["SequenceNumber"] for message in messages]
        equal(numbers, sorted(numbers))
        for message in messages:
            equal(message["Attributes"]["MessageGroupId"], "g")
            assert message["Attributes"]["MessageDeduplicationId"], message
            seen.append(message["Body"])
            sqs.delete(url, message)
    equal(seen, bodies)


@case
def a_group_that_is_given_back_goes_behind_the_others(sqs):
    url = sqs.fifo()
    for body in ("a1", "a2", "b1", "c1"):
        sqs.send(url, body, MessageGroupId=body[0])
    seen = []
    for _ in range(4):
        message = sqs.receive_one(url)
        seen.append(message["Body"])
        sqs.hide(url, message, 0)
    equal(seen, ["a1", "b1", "c1", "a1"])


@case
def a_group_is_locked_while_it_is_in_flight(sqs):
    url = sqs.fifo()
    for body in ("a1", "a2", "b1"):
        sqs.send(url, body, MessageGroupId=body[0])
    first = sqs.receive_one(url)
    equal(first["Body"], "a1")
    # The other group is free.
    equal(sqs.bodies(url), ["b1"])
    equal(sqs.receive(url), [])
    sqs.delete(url, first)
    equal(sqs.bodies(url), ["a2"])


@case
def one_receive_fills_from_one_group_first(sqs):
    url = sqs.fifo()
    for body in ("a1", "b1", "a2", "b2", "a3"):
        sqs.send(url, body, MessageGroupId=body[0])
    taken = sqs.receive(url, 4)
    equal([message["Body"] for message in taken], ["a1", "a2", "a3", "b1"])
    # A group stays locked until the last of its messages is done.
    for message in taken[:2]:
        sqs.delete(url, message)
    equal(sqs.receive(url), [])
    sqs.delete(url, taken[3])
    equal(sqs.bodies(url), ["b2"])


@case
def what_comes_back_comes_before_the_rest(sqs):
    url = sqs.fifo()
    sqs.send_all(url, "1", "2", "3", **GROUP)
    first, second = sqs.receive(url, 2)
    sqs.delete(url, first)
    sqs.hide(url, second, 0)
    equal(sqs.bodies(url), ["2", "3"])


@case
def what_is_hidden_longer_hides_what_is_behind_it(sqs):
    url = sqs.fifo(VisibilityTimeout=2)
    sqs.send_all(url, "1", "2", "3", **GROUP)
    taken = sqs.receive(url)
    equal(len(taken), 3)
    sqs.hide(url, taken[1], 60)
    equal(sqs.bodies(url, WaitTimeSeconds=5), ["1"])


@case
def a_glance_leaves_the_group_free(sqs):
    url = sqs.fifo()
    sqs.send_all(url, "1", "2", **GROUP)
    equal(sqs.bodies(url, 1, VisibilityTimeout=0), ["1"])
    equal(sqs.bodies(url), ["1", "2"])


@case
def an_expired_handle_does_not_delete(sqs):
    url = sqs.fifo(VisibilityTimeout=1)
    sqs.send(url, **GROUP)
    message = sqs.receive_one(url)
    eventually(lambda: sqs.attributes(url)["ApproximateNumberOfMessages"] == "1")
    expired = invalid("ReceiptHandle", message["ReceiptHandle"], "The receipt handle has expired.")
    refused("InvalidParameterValue", sqs.delete, url, message, text=expired)
    again = sqs.receive_one(url, VisibilityTimeout=30)
    refused("InvalidParameterValue", sqs.delete, url, message, text=expired)
    sqs.delete(url, again)
    sqs.delete(url, again)


@case
def a_repeat_is_answered_and_dropped(sqs):
    url = sqs.fifo()
    first = sqs.send(url, "same", **GROUP)
    again = sqs.send(url, "same", **GROUP)
    equal((again["MessageId"], again["SequenceNumber"]), (first["MessageId"], first["SequenceNumber"]))
    # The body decides, not the attributes; another group is no difference either.
    sqs.send(url, "same", MessageGroupId="other", MessageAttributes={"a": {"DataType": "String", "StringValue": "x"}})
    sqs.send(url, "other", MessageDeduplicationId="mine", **GROUP)
    sqs.send(url, "third", MessageDeduplicationId="mine", **GROUP)
    messages = sqs.receive(url, AttributeNames=["MessageDeduplicationId"])
    equal([message["Body"] for message in messages], ["same", "other"])
    equal(messages[1]["Attributes"], {"MessageDeduplicationId": "mine"})
    for message in messages:
        sqs.delete(url, message)
    # It is remembered beyond the message.
    equal(sqs.send(url, "same", **GROUP)["MessageId"], first["MessageId"])
    equal(sqs.receive(url), [])


@case
def repeats_can_be_told_apart_by_group(sqs):
    url = sqs.fifo(DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    for group in ("a", "b", "a"):
        sqs.send(url, "same", MessageGroupId=group)
    equal(sqs.bodies(url), ["same", "same"])


@case
def a_batch_drops_repeats_too(sqs):
    url = sqs.fifo()
    batch = [{"Id": id, "MessageBody": "same"} | GROUP for id in "ab"]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=batch)
    equal(len({entry["MessageId"] for entry in answer["Successful"]}), 1)
    equal(sqs.bodies(url), ["same"])


@case
def ids_are_needed_and_have_rules(sqs):
    url = sqs.fifo(ContentBasedDeduplication="false")
    refused("MissingParameter", sqs.send, url, text=GROUP_NEEDED)
    refused("InvalidParameterValue", sqs.send, url, text=DEDUP_NEEDED, **GROUP)
    sqs.send(url, MessageDeduplicationId="!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", **GROUP)
    for bad in ("d" * 129, "a b", "ü"):
        rule = "MessageDeduplicationId can only include alphanumeric and punctuation characters. 1 to 128 in length."
        text = invalid("MessageDeduplicationId", bad, rule)
        refused("InvalidParameterValue", sqs.send, url, MessageDeduplicationId=bad, text=text, **GROUP)
    delayed = invalid("DelaySeconds", 2, NOT_FOR_TYPE)
    refused("InvalidParameterValue", sqs.send, url, DelaySeconds=2, MessageDeduplicationId="x", text=delayed, **GROUP)
    sqs.send(url, DelaySeconds=0, MessageDeduplicationId="y", **GROUP)


@case
def a_batch_without_ids_is_refused_as_a_whole(sqs):
    url = sqs.fifo(ContentBasedDeduplication="false")
    good = {"Id": "1", "MessageBody": "x", "MessageDeduplicationId": "1"} | GROUP

    def refuse(bad, text):
        refused("InvalidParameterValue", sqs.send_message_batch, QueueUrl=url, Entries=[good, bad], text=text)

    refuse({"Id": "2", "MessageBody": "x", "MessageDeduplicationId": "2"}, GROUP_NEEDED)
    refuse({"Id": "2", "MessageBody": "x"} | GROUP, DEDUP_NEEDED)
    equal(sqs.receive(url), [])


@case
def an_attempt_can_be_repeated(sqs):
    url = sqs.fifo()
    sqs.send_all(url, "1", "2", "3", **GROUP)
    first = sqs.receive(url, 2, ReceiveRequestAttemptId="once")
    again = sqs.receive(url, 2, ReceiveRequestAttemptId="once")
    handles = [[(m["Body"], m["ReceiptHandle"]) for m in messages] for messages in (first, again)]
    equal(handles[0], handles[1])
    equal(sqs.receive(url, 2, ReceiveRequestAttemptId="twice"), [])
    sqs.delete(url, first[0])
    # No longer the same set, and the group is still locked.
    equal(sqs.receive(url, 2, ReceiveRequestAttemptId="once"), [])


@case
def a_queue_s_delay_holds_for_all(sqs):
    url = sqs.fifo(DelaySeconds=2)
    began = time.monotonic()
    sqs.send_all(url, "1", "2", **GROUP)
    equal(sqs.receive(url), [])
    equal(sqs.bodies(url, 1, WaitTimeSeconds=5), ["1"])
    assert time.monotonic() - began > 1.9


@case
def the_throughput_limit_needs_its_scope(sqs):
    url = sqs.fifo()
    given = {"FifoThroughputLimit": "perMessageGroupId"}
    refused("InvalidParameterValue", sqs.set_queue_attributes, QueueUrl=url, Attributes=given)
    given["DeduplicationScope"] = "messageGroup"
    sqs.set_queue_attributes(QueueUrl=url, Attributes=given)
    equal(sqs.attributes(url, *given), given)
