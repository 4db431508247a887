"""Requests as they are on the wire, in both protocols: what clients other than boto3 rely on."""

import json
import socket

from client import ACCOUNT
from harness.cases import case, equal, fresh, main
from plain import FORM, JSON, Plain

QUERY_MODE = {"x-amzn-query-mode": "true"}


def queue(plain, kind="queue", **members):
    """A new queue's path and address."""
    name = fresh(kind)
    answer = plain.json("CreateQueue", {"QueueName": name} | members)
    url = answer.json()["QueueUrl"]
    equal(url, f"http://{plain.address}/{ACCOUNT}/{name}")
    return f"/{ACCOUNT}/{name}", url


@case
def addresses_begin_with_the_host_that_was_asked(plain):
    name = fresh("queue")
    host = {"Host": "queues.example:1234"}
    url = f"http://queues.example:1234/{ACCOUNT}/{name}"
    equal(plain.json("CreateQueue", {"QueueName": name}, headers=host).json(), {"QueueUrl": url})
    equal(plain.form("GetQueueUrl", headers=host, QueueName=name).element("QueueUrl"), url)


@case
def json_may_be_posted_to_the_queue(plain):
    path, _ = queue(plain)
    equal(plain.json("SendMessage", {"MessageBody": "x"}, path).status, 200)
    messages = plain.json("ReceiveMessage", {}, path).json()["Messages"]
    equal([message["Body"] for message in messages], ["x"])


@case
def a_browser_can_send_and_receive(plain):
    path, _ = queue(plain)
    sent = plain.get(path, Action="SendMessage", MessageBody="over easy")
    equal((sent.status, sent.headers["content-type"]), (200, "text/xml"))
    root = '<?xml version="1.0"?><SendMessageResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/">'
    assert sent.text.startswith(root), sent.text
    equal(sent.element("RequestId"), sent.headers["x-amzn-requestid"])
    equal(plain.get(path, Action="ReceiveMessage").element("Body"), "over easy")


@case
def text_survives_the_parser(plain):
    path, url = queue(plain)
    plain.json("SendMessage", {"QueueUrl": url, "MessageBody": "\"a\" <b> & \r\n'c'"})
    equal(plain.get(path, Action="ReceiveMessage").element("Body"), "&quot;a&quot; &lt;b&gt; &amp; &#xD;\n'c'")


@case
def empty_lists_are_left_out(plain):
    _, url = queue(plain)
    for action in ("ReceiveMessage", "GetQueueAttributes", "ListQueueTags"):
        answer = plain.json(action, {"QueueUrl": url})
        # Some clients cannot read an answer that is not an object.
        equal((answer.status, answer.headers["content-type"], answer.json()), (200, JSON, {}))
    equal(plain.json("ListQueues", {"QueueNamePrefix": fresh("never")}).json(), {})
    batch = {"QueueUrl": url, "Entries": [{"Id": "1", "MessageBody": "x"}]}
    equal(set(plain.json("SendMessageBatch", batch).json()), {"Successful"})
    batch["Entries"][0]["DelaySeconds"] = 901
    equal(set(plain.json("SendMessageBatch", batch).json()), {"Failed"})
    equal(plain.json("TagQueue", {"QueueUrl": url, "Tags": {"a": "b"}}).text, "")


@case
def errors_have_a_name_a_code_and_a_status(plain):
    _, url = queue(plain)
    bad = {"QueueUrl": url, "ReceiptHandle": "nonsense"}
    for headers, status in ((QUERY_MODE, 404), ({}, 400)):
        answer = plain.json("DeleteMessage", bad, headers=headers)
        equal(answer.status, status)
        equal(answer.headers["x-amzn-query-error"], "ReceiptHandleIsInvalid;Sender")
        equal(answer.json()["__type"], "com.amazonaws.sqs#ReceiptHandleIsInvalid")
    answer = plain.form("DeleteMessage", **bad)
    found = [answer.element(name) for name in ("Type", "Code", "Message")]
    text = "The input receipt handle &quot;nonsense&quot; is not a valid receipt handle."
    equal((answer.status, *found), (404, "Sender", "ReceiptHandleIsInvalid", text))
    answer = plain.json("SendMessage", {"QueueUrl": f"{url}-none", "MessageBody": "x"}, headers=QUERY_MODE)
    equal(answer.headers["x-amzn-query-error"], "AWS.SimpleQueueService.NonExistentQueue;Sender")
    equal(answer.json()["__type"], "com.amazonaws.sqs#QueueDoesNotExist")
    answer = plain.json("SendMessage", {"QueueUrl": url})
    equal(answer.headers["x-amzn-query-error"], "MissingParameter;Sender")
    equal(answer.json()["__type"], "com.amazon.coral.service#MissingRequiredParameterException")


@case
def what_is_no_request_is_refused(plain):
    path, url = queue(plain)
    answer = plain.json("Nonsense", {})
    equal((answer.status, answer.json()["__type"]), (400, "com.amazon.coral.service#UnknownOperationException"))
    answer = plain.form("Nonsense")
    equal((answer.status, answer.element("Code")), (400, "InvalidAction"))
    answer = plain.send("GET", path)
    equal((answer.status, answer.text.strip()), (404, "<UnknownOperationException/>"))
    for body in (b"{", b"[]", b'{"QueueUrl": 7}'):
        answer = plain.json("ReceiveMessage", body)
        equal((answer.status, answer.json()["__type"]), (400, "com.amazon.coral.service#SerializationException"))
    equal(plain.json("ReceiveMessage", {"QueueUrl": url, "Nonsense": 1}).status, 200)


@case
def lists_are_numbered_in_forms(plain):
    _, url = queue(plain)
    entries = {}
    for i in range(1, 11):
        entry = f"SendMessageBatchRequestEntry.{i}"
        entries |= {f"{entry}.Id": f"id{i}", f"{entry}.MessageBody": f"body {i}"}
        for j in range(1, 11):
            attribute = f"{entry}.MessageAttribute.{j}"
            entries |= {f"{attribute}.Name": f"a{j}", f"{attribute}.Value.DataType": "Number"}
            entries[f"{attribute}.Value.StringValue"] = str(j)
    answer = plain.form("SendMessageBatch", QueueUrl=url, **entries)
    equal((answer.status, answer.text.count("<SendMessageBatchResultEntry>")), (200, 10))
    names = {"MessageAttributeName.1": "a1", "MessageAttributeName.2": "a10"}
    answer = plain.form("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10, **names)
    equal(answer.text.count("<Message>"), 10)
    equal(answer.text.count("<Name>a10</Name>"), 10)


@case
def escapes_may_make_a_request_large(plain):
    _, url = queue(plain)
    body = json.dumps({"QueueUrl": url, "MessageBody": "é" * (1 << 19)}).encode()
    equal((len(body) > 3 << 20, plain.json("SendMessage", body).status), (True, 200))
    answer = plain.form("ReceiveMessage", QueueUrl=url)
    equal(answer.element("Body"), "é" * (1 << 19))


@case
def a_request_without_end_is_refused(plain):
    with socket.create_connection(plain.address.split(":"), timeout=20) as connection:
        head = f"POST / HTTP/1.1\r\nHost: {plain.address}\r\nContent-Type: {FORM}\r\n"
        connection.sendall(f"{head}Content-Length: {1 << 40}\r\n\r\nAction=ListQueues&x=".encode())
        answer = connection.recv(1 << 16).decode()
    assert answer.startswith("HTTP/1.1 413 "), answer


@case
def a_client_may_ask_before_it_sends(plain):
    form = b"Action=ListQueues"
    with socket.create_connection(plain.address.split(":"), timeout=20) as connection:
        head = f"POST / HTTP/1.1\r\nHost: {plain.address}\r\nContent-Type: {FORM}\r\nContent-Length: {len(form)}\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        answer = connection.recv(1 << 16).decode()
        assert answer.startswith("HTTP/1.1 100 "), answer
        connection.sendall(form)
        answer = connection.recv(1 << 16).decode()
    assert answer.startswith("HTTP/1.1 200 "), answer


@case
def tools_ask_who_they_are(plain):
    answer = plain.form("GetCallerIdentity", Version="2011-06-15")
    equal((answer.status, answer.element("Account")), (200, ACCOUNT))
    assert answer.element("Arn").startswith(f"arn:aws:iam::{ACCOUNT}:"), answer.text


if __name__ == "__main__":
    main(lambda function, address: function(Plain(address)))
