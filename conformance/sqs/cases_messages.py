"""Messages of standard queues: sent, received, hidden, deleted, alone and in batches."""

import concurrent.futures
import socket
import threading
import time

from client import (
    check_message,
    invalid,
    md5,
    md5_of_attributes,
    only_json,
    refused,
    seconds_for,
    text_attribute,
    unchecked,
)
from harness.cases import case, equal, eventually

BATCH = "AWS.SimpleQueueService."
ATTRIBUTES = {
    "a.text": text_attribute("wörd"),
    "a.number": text_attribute("-12.50e3", "Number.float"),
    "b.bytes": {"DataType": "Binary.gif", "BinaryValue": b"\x00\xff\x01"},
    "b.custom": text_attribute("x", "String.custom"),
}
ALL_SYSTEM = {"AttributeNames": ["All"]}


def entries(*bodies, **more):
    return [{"Id": f"id-{i}", "MessageBody": body} | more for i, body in enumerate(bodies)]


@case
def a_message_comes_back_unchanged(sqs):
    url = sqs.queue()
    for body in (
        "plain",
        "wörd ☕ 𝄞",
        "tab\tfeed\nreturn\r\nend\r",
        '"quotes" & <tags> \\ \'',
        " blanks ",
        "%2B+&=",
        "x" * 200_000,
    ):
        sent = sqs.send(url, body)
        equal(sent["MD5OfMessageBody"], md5(body))
        assert "MD5OfMessageAttributes" not in sent and "SequenceNumber" not in sent, sent
        message = sqs.receive_one(url)
        equal(message["Body"], body)
        equal(message["MessageId"], sent["MessageId"])
        check_message(message)
        assert "Attributes" not in message, message
        sqs.delete(url, message)


@case
def attributes_travel_with_their_checksum(sqs):
    url = sqs.queue()
    sent = sqs.send(url, MessageAttributes=ATTRIBUTES)
    equal(sent["MD5OfMessageAttributes"], md5_of_attributes(ATTRIBUTES))
    for wanted, expected in {
        "All": set(ATTRIBUTES),
        ".*": set(ATTRIBUTES),
        "a.*": {"a.text", "a.number"},
        "b.bytes": {"b.bytes"},
        "c": set(),
    }.items():
        message = sqs.receive_one(url, MessageAttributeNames=[wanted], VisibilityTimeout=0)
        equal(message.get("MessageAttributes", {}), {name: ATTRIBUTES[name] for name in expected})
        # It covers only what is returned.
        check_message(message)
    assert "MessageAttributes" not in sqs.receive_one(url)


@case
def attributes_have_rules(sqs):
    url = sqs.queue()

    def refuse(name, value, text=None, code="InvalidParameterValue"):
        refused(code, sqs.send, url, MessageAttributes={name: value}, text=text)

    for name in ("AWS.x", "amazon.x", ".x", "x.", "x..y", "a b", "n" * 257):
        refuse(name, text_attribute("x"))
    refuse("e", text_attribute(""), "Message (user) attribute 'e' must contain a non-empty value of type 'String'.")
    refuse("e", text_attribute("", "Number"))
    refuse("e", {"DataType": "Binary", "BinaryValue": b""})
    for kind in ("Text", "", "string"):
        refuse("t", text_attribute("x", kind))
    refuse("n", text_attribute("one", "Number"))
    eleven = {f"a{i}": text_attribute("x") for i in range(11)}
    refused("InvalidParameterValue", sqs.send, url, MessageAttributes=eleven)
    eleven.pop("a0")
    sqs.send(url, MessageAttributes=eleven)


@case
def system_attributes_are_told_when_asked_for(sqs):
    url = sqs.queue()
    before = time.time() * 1000
    trace = {"AWSTraceHeader": text_attribute("Root=1-5759e988-bd862e3fe1be46a994272793")}
    sent = sqs.send(url, MessageSystemAttributes=trace)
    equal(sent["MD5OfMessageSystemAttributes"], md5_of_attributes(trace))
    assert "MD5OfMessageAttributes" not in sent, sent
    for count in ("1", "2"):
        told = sqs.receive_one(url, VisibilityTimeout=0, **ALL_SYSTEM)["Attributes"]
        equal(
            set(told),
            {
                "SenderId",
                "SentTimestamp",
                "ApproximateReceiveCount",
                "ApproximateFirstReceiveTimestamp",
                "AWSTraceHeader",
            },
        )
        equal(told["ApproximateReceiveCount"], count)
        equal(told["AWSTraceHeader"], trace["AWSTraceHeader"]["StringValue"])
        assert before - 1000 < int(told["SentTimestamp"]) <= int(told["ApproximateFirstReceiveTimestamp"]), told
    only = sqs.receive_one(url, AttributeNames=["SentTimestamp"])["Attributes"]
    equal(only, {"SentTimestamp": told["SentTimestamp"]})
    refused("InvalidAttributeName", sqs.receive, url, AttributeNames=["Nonsense"])
    refused(
        "InvalidParameterValue",
        unchecked(sqs).send_message,
        QueueUrl=url,
        MessageBody="x",
        MessageSystemAttributes={"Other": text_attribute("x")},
    )


@case
def system_attributes_have_a_newer_name_too(sqs):
    only_json(sqs)
    url = sqs.queue()
    sqs.send(url)
    told = sqs.receive_one(url, MessageSystemAttributeNames=["ApproximateReceiveCount"])["Attributes"]
    equal(told, {"ApproximateReceiveCount": "1"})


@case
def bodies_have_rules(sqs):
    url = sqs.queue()
    missing = "The request must contain the parameter MessageBody."
    refused("MissingParameter", sqs.send, url, "", text=missing)
    for bad in ("\x00", "a\x0bb", "\ufffe", "\uffff"):
        refused("InvalidMessageContents", sqs.send, url, bad)
    for good in ("\t\n\r ", "\ud7ff\ue000\ufffd", "\U00010000\U0010ffff"):
        sqs.send(url, good)
        message = sqs.receive_one(url)
        equal(message["Body"], good)
        sqs.delete(url, message)


@case
def a_message_has_at_most_a_mebibyte(sqs):
    url = sqs.queue()
    most = 1 << 20
    text = f"One or more parameters are invalid. Reason: Message must be shorter than {most} bytes."
    refused("InvalidParameterValue", sqs.send, url, "x" * (most + 1), text=text)
    attribute = {"name": text_attribute("12345")}
    refused("InvalidParameterValue", sqs.send, url, "x" * (most - 14), MessageAttributes=attribute, text=text)
    sqs.send(url, '"' * (most - 15), MessageAttributes=attribute)
    equal(len(sqs.receive_one(url)["Body"]), most - 15)
    small = sqs.queue(MaximumMessageSize=1024)
    text = "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."
    refused("InvalidParameterValue", sqs.send, small, "ü" * 513, text=text)
    sqs.send(small, "ü" * 512)


@case
def a_batch_answers_for_each_entry(sqs):
    url = sqs.queue(MaximumMessageSize=1024)
    batch = entries("a", "b", "x" * 1025)
    batch[1]["MessageAttributes"] = ATTRIBUTES
    answer = sqs.send_message_batch(QueueUrl=url, Entries=batch)
    good = {entry["Id"]: entry for entry in answer["Successful"]}
    equal(set(good), {"id-0", "id-1"})
    equal(good["id-0"]["MD5OfMessageBody"], md5("a"))
    equal(good["id-1"]["MD5OfMessageAttributes"], md5_of_attributes(ATTRIBUTES))
    (bad,) = answer["Failed"]
    text = "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes."
    equal(bad, {"Id": "id-2", "SenderFault": True, "Code": "InvalidParameterValue", "Message": text})
    received = sqs.receive(url)
    equal(sorted(message["Body"] for message in received), ["a", "b"])
    handles = [{"Id": m["Body"], "ReceiptHandle": m["ReceiptHandle"]} for m in received]
    handles.append({"Id": "c", "ReceiptHandle": "nonsense"})
    hidden = [handle | {"VisibilityTimeout": 60} for handle in handles]
    answer = sqs.change_message_visibility_batch(QueueUrl=url, Entries=hidden)
    equal(sorted(entry["Id"] for entry in answer["Successful"]), ["a", "b"])
    equal([(e["Id"], e["Code"], e["SenderFault"]) for e in answer["Failed"]], [("c", "ReceiptHandleIsInvalid", True)])
    answer = sqs.delete_message_batch(QueueUrl=url, Entries=handles)
    equal(sorted(entry["Id"] for entry in answer["Successful"]), ["a", "b"])
    equal([entry["Id"] for entry in answer["Failed"]], ["c"])
    whole = sqs.send_message_batch(QueueUrl=url, Entries=entries("c"))
    assert "Failed" not in whole, whole


@case
def batches_have_rules(sqs):
    url = sqs.queue()
    client = unchecked(sqs)

    def for_all(code, make, text):
        """Every batch action refuses such a batch as a whole."""
        for call, more in (
            (client.send_message_batch, {"MessageBody": "x"}),
            (client.delete_message_batch, {"ReceiptHandle": "x"}),
            (client.change_message_visibility_batch, {"ReceiptHandle": "x", "VisibilityTimeout": 1}),
        ):
            ids = make()
            given = [{"Id": id} | more for id in ids]
            refused(BATCH + code, call, QueueUrl=url, Entries=given, text=text)

    eleven = "Maximum number of entries per request are 10. You have sent 11."
    for_all("TooManyEntriesInBatchRequest", lambda: [str(i) for i in range(11)], eleven)
    for_all("BatchEntryIdsNotDistinct", lambda: ["a", "b", "a"], "Id a repeated.")
    rule = (
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
        "It can be at most 80 letters long."
    )
    for bad in ("", "a:b", "a b", "i" * 81):
        for_all("InvalidBatchEntryId", lambda bad=bad: [bad], rule)
    empty = "There should be at least one SendMessageBatchRequestEntry in the request."
    refused(BATCH + "EmptyBatchRequest", client.send_message_batch, QueueUrl=url, Entries=[], text=empty)
    most = 1 << 20
    text = f"Batch requests cannot be longer than {most} bytes. You have sent {most + 1} bytes."
    large = entries("x" * (most // 2), "x" * (most // 2 + 1))
    refused(BATCH + "BatchRequestTooLong", client.send_message_batch, QueueUrl=url, Entries=large, text=text)
    large[1]["MessageBody"] = "x" * (most // 2)
    equal(len(sqs.send_message_batch(QueueUrl=url, Entries=large)["Successful"]), 2)


@case
def receives_have_rules(sqs):
    url = sqs.queue()
    client = unchecked(sqs)
    for name, wrong, reason in (
        ("MaxNumberOfMessages", (0, 11), "Must be between 1 and 10, if provided."),
        ("WaitTimeSeconds", (-1, 21), "Must be >= 0 and <= 20, if provided."),
        ("VisibilityTimeout", (-1, 43201), None),
    ):
        for value in wrong:
            text = reason and invalid(name, value, reason)
            refused("InvalidParameterValue", client.receive_message, QueueUrl=url, text=text, **{name: value})


@case
def one_message_is_the_default(sqs):
    url = sqs.queue()
    sqs.send_message_batch(QueueUrl=url, Entries=entries(*"abcde"))
    equal(len(sqs.receive_message(QueueUrl=url)["Messages"]), 1)
    equal(len(sqs.receive(url)), 4)
    equal(sqs.receive(url), [])


@case
def a_message_is_hidden_while_it_is_in_flight(sqs):
    url = sqs.queue(VisibilityTimeout=2)
    sqs.send(url, "x")
    first = sqs.receive_one(url)
    equal(sqs.receive(url), [])
    second = sqs.receive_one(url, VisibilityTimeout=30, **ALL_SYSTEM)
    equal((second["MessageId"], second["Attributes"]["ApproximateReceiveCount"]), (first["MessageId"], "2"))
    assert second["ReceiptHandle"] != first["ReceiptHandle"]
    sqs.hide(url, second, 0)
    third = sqs.receive_one(url, VisibilityTimeout=30)
    sqs.hide(url, third, 2)
    equal(sqs.receive(url), [])
    fourth = sqs.receive_one(url)
    # The change is not remembered: this time it is the queue's again, two seconds.
    equal(sqs.receive_one(url)["MessageId"], fourth["MessageId"])


@case
def only_what_is_in_flight_can_be_hidden(sqs):
    url = sqs.queue()
    sqs.send(url)
    message = sqs.receive_one(url)
    refused("InvalidParameterValue", sqs.hide, url, message, 43201)
    refused("InvalidParameterValue", sqs.hide, url, message, -1)
    refused("ReceiptHandleIsInvalid", sqs.hide, url, {"ReceiptHandle": "nonsense"}, 1)
    whole = invalid(
        "VisibilityTimeout",
        43200,
        "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
    )
    time.sleep(0.1)
    refused("InvalidParameterValue", sqs.hide, url, message, 43200, text=whole)
    sqs.hide(url, message, 1)
    eventually(lambda: sqs.attributes(url)["ApproximateNumberOfMessages"] == "1")
    # An expired handle of a standard queue answers success, and changes nothing.
    sqs.hide(url, message, 600)
    equal(sqs.attributes(url)["ApproximateNumberOfMessages"], "1")
    sqs.delete(url, sqs.receive_one(url))
    gone = invalid(
        "ReceiptHandle",
        message["ReceiptHandle"],
        "Message does not exist or is not available for visibility timeout change.",
    )
    refused("InvalidParameterValue", sqs.hide, url, message, 1, text=gone)


@case
def deleting_is_forgiving_in_a_standard_queue(sqs):
    url, other = sqs.queue(VisibilityTimeout=1), sqs.queue()
    sqs.send(url)
    first = sqs.receive_one(url)
    second = sqs.receive_one(url)
    # An old handle answers success whether or not it deletes.
    sqs.delete(url, first)
    sqs.delete(url, second)
    sqs.delete(url, second)
    equal(sqs.receive(url, WaitTimeSeconds=2), [])
    text = 'The input receipt handle "nonsense" is not a valid receipt handle.'
    refused("ReceiptHandleIsInvalid", sqs.delete, url, {"ReceiptHandle": "nonsense"}, text=text)
    refused("ReceiptHandleIsInvalid", sqs.delete, other, second)


@case
def a_message_that_is_given_back_goes_behind_the_others(sqs):
    url = sqs.queue()
    for body in ("bad", "a", "b"):
        sqs.send(url, body)
    seen = []
    for _ in range(6):
        message = sqs.receive_one(url)
        seen.append(message["Body"])
        sqs.hide(url, message, 0)
    equal(seen, ["bad", "a", "b"] * 2)


@case
def an_expired_handle_still_deletes(sqs):
    url = sqs.queue(VisibilityTimeout=1)
    sqs.send(url)
    message = sqs.receive_one(url)
    eventually(lambda: sqs.attributes(url)["ApproximateNumberOfMessages"] == "1")
    sqs.delete(url, message)
    equal(sqs.attributes(url)["ApproximateNumberOfMessages"], "0")


@case
def a_long_poll_ends_with_the_first_message(sqs):
    url = sqs.queue()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(seconds_for, lambda: sqs.receive(url, WaitTimeSeconds=20))
        time.sleep(0.5)
        sqs.send(url, "news")
        took, messages = waiting.result()
    equal([message["Body"] for message in messages], ["news"])
    assert 0.4 < took < 5, took


@case
def a_long_poll_waits_as_long_as_asked(sqs):
    url = sqs.queue(ReceiveMessageWaitTimeSeconds=3)
    took, messages = seconds_for(lambda: sqs.receive(url))
    assert messages == [] and 2.9 < took < 10, took
    # What the request says wins over the queue.
    took, messages = seconds_for(lambda: sqs.receive(url, WaitTimeSeconds=0))
    assert messages == [] and took < 2.5, took


@case(full_only=True)
def the_longest_poll_is_not_cut_off(sqs):
    url = sqs.queue()
    took, messages = seconds_for(lambda: sqs.receive(url, WaitTimeSeconds=20))
    assert messages == [] and 19.9 < took < 25, took


@case
def a_client_that_hangs_up_takes_nothing(sqs):
    url = sqs.queue(VisibilityTimeout=600)
    host, port = sqs.address.split(":")
    form = f"Action=ReceiveMessage&WaitTimeSeconds=20&QueueUrl={url}".encode()
    kind = b"Content-Type: application/x-www-form-urlencoded\r\n"
    head = b"POST / HTTP/1.1\r\nHost: " + sqs.address.encode() + b"\r\n" + kind
    for _ in range(3):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(form) + form)
            time.sleep(0.2)
        time.sleep(0.2)
    sqs.send(url, "still there")
    equal(sqs.receive_one(url)["Body"], "still there")


@case
def many_pollers_share_what_comes(sqs):
    url = sqs.queue()
    seen, lock = [], threading.Lock()
    bodies = [f"m{i}" for i in range(100)]

    def poll():
        while True:
            messages = sqs.receive(url, WaitTimeSeconds=1)
            if not messages:
                return
            handles = [{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages]
            assert "Failed" not in sqs.delete_message_batch(QueueUrl=url, Entries=handles)
            with lock:
                seen.extend(m["Body"] for m in messages)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        polling = [pool.submit(poll) for _ in range(8)]
        for start in range(0, len(bodies), 10):
            sqs.send_message_batch(QueueUrl=url, Entries=entries(*bodies[start : start + 10]))
        for poller in polling:
            poller.result()
    equal(sorted(seen), sorted(bodies))
    counts = sqs.attributes(url)
    equal((counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]), ("0", "0"))


@case
def a_delayed_message_comes_later(sqs):
    url = sqs.queue(DelaySeconds=2)
    began = time.monotonic()
    sqs.send(url, "queue's delay")
    sqs.send(url, "own delay", DelaySeconds=3)
    sqs.send(url, "none", DelaySeconds=0)
    equal(sqs.bodies(url), ["none"])
    equal(sqs.attributes(url)["ApproximateNumberOfMessagesDelayed"], "2")
    equal(sqs.receive_one(url)["Body"], "queue's delay")
    assert time.monotonic() - began > 1.9
    equal(sqs.receive_one(url)["Body"], "own delay")
    assert time.monotonic() - began > 2.9
    text = invalid("DelaySeconds", 901, "DelaySeconds must be >= 0 and <= 900.")
    refused("InvalidParameterValue", sqs.send, url, DelaySeconds=901, text=text)


@case
def a_standard_queue_has_no_deduplication(sqs):
    url = sqs.queue()
    reason = "The request include parameter that is not valid for this queue type."
    text = invalid("MessageDeduplicationId", "d", reason)
    refused("InvalidParameterValue", sqs.send, url, MessageDeduplicationId="d", text=text)
    sqs.send_all(url, "same", "same")
    equal(sqs.bodies(url), ["same", "same"])


@case
def a_tenant_does_not_starve_the_others(sqs):
    url = sqs.queue()
    for _ in range(5):
        batch = entries(*["loud"] * 10, MessageGroupId="loud")
        sqs.send_message_batch(QueueUrl=url, Entries=batch)
    sqs.send(url, "quiet", MessageGroupId="quiet")
    equal([sqs.bodies(url) for _ in range(3)], [["loud"] * 10] * 3)
    # Thirty in flight are too many: the others come first from now on.
    message = sqs.receive_one(url, AttributeNames=["MessageGroupId"])
    equal((message["Body"], message["Attributes"]), ("quiet", {"MessageGroupId": "quiet"}))
    equal(sqs.bodies(url), ["loud"] * 10)
    rule = "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length."
    text = invalid("MessageGroupId", "a b", rule)
    refused("InvalidParameterValue", sqs.send, url, MessageGroupId="a b", text=text)
    refused("InvalidParameterValue", sqs.send, url, MessageGroupId="g" * 129)
