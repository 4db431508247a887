"""Dead letters: where they go, who may send them there, and how they come back."""

import base64
import json

from client import invalid, redrive, refused
from harness.cases import case, equal, eventually

SOURCE = ["ApproximateReceiveCount", "DeadLetterQueueSourceArn"]


def fail(sqs, url, times):
    """Receives and gives back what is there, so many times."""
    for _ in range(times):
        for message in sqs.receive(url):
            sqs.hide(url, message, 0)


def count(sqs, url):
    return int(sqs.attributes(url)["ApproximateNumberOfMessages"])


def bury(sqs, url, dead, *bodies, **more):
    """Makes dead letters of messages, in a queue that lets each be received once."""
    sqs.send_all(url, *bodies, **more)
    fail(sqs, url, 1)
    # They leave when they would be received once more, and in a group one after the other.
    eventually(lambda: sqs.receive(url) == [] and count(sqs, dead) == len(bodies))


@case
def what_fails_too_often_moves_aside(sqs):
    url, dead = sqs.with_dead_letters(2)
    attribute = {"a": {"DataType": "Number", "StringValue": "1"}}
    sent = sqs.send(url, "bad", MessageAttributes=attribute)
    fail(sqs, url, 2)
    equal(sqs.receive(url), [])
    message = sqs.receive_one(dead, AttributeNames=["All"], MessageAttributeNames=["All"])
    equal((message["MessageId"], message["Body"], message["MessageAttributes"]), (sent["MessageId"], "bad", attribute))
    equal({name: message["Attributes"][name] for name in SOURCE}, dict(zip(SOURCE, ["3", sqs.arn(url)])))


@case
def a_group_moves_aside_in_order(sqs):
    url, dead = sqs.with_dead_letters(1, sqs.fifo)
    bury(sqs, url, dead, "1", "2", "3", MessageGroupId="g")
    messages = sqs.receive(dead, AttributeNames=["All"])
    equal([message["Body"] for message in messages], ["1", "2", "3"])
    equal({message["Attributes"]["MessageGroupId"] for message in messages}, {"g"})


@case
def a_redrive_policy_is_checked(sqs):
    url, dead, fifo = sqs.queue(), sqs.queue(), sqs.fifo()
    arn = sqs.arn(dead)

    def refuse(policy, reason=None):
        text = reason and invalid("RedrivePolicy", policy, reason)
        given = {"RedrivePolicy": policy}
        refused("InvalidParameterValue", sqs.set_queue_attributes, QueueUrl=url, Attributes=given, text=text)

    refuse("nonsense", "Redrive policy is not a valid JSON map.")
    missing = "Redrive policy does not contain mandatory attribute: "
    refuse(json.dumps({"deadLetterTargetArn": arn}), f"{missing}maxReceiveCount.")
    refuse(json.dumps({"maxReceiveCount": 1}), f"{missing}deadLetterTargetArn.")
    for wrong in (0, 1001):
        refuse(
            redrive(arn, wrong),
            f"Invalid value for maxReceiveCount: {wrong}, valid values are from 1 to 1000 both inclusive.",
        )
    refuse(redrive(f"{arn}-none", 1), "Dead letter target does not exist.")
    refuse(redrive(sqs.arn(fifo), 1))
    for attempts in ("5", '"5"'):
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": redrive(arn, attempts)})
        shown = json.loads(sqs.attributes(url, "RedrivePolicy")["RedrivePolicy"])
        equal(shown, {"deadLetterTargetArn": arn, "maxReceiveCount": 5})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": ""})
    equal(sqs.attributes(url, "RedrivePolicy"), {})


@case
def a_dead_letter_queue_chooses_its_sources(sqs):
    url, other, dead = sqs.queue(), sqs.queue(), sqs.queue()

    def allow(**policy):
        sqs.set_queue_attributes(QueueUrl=dead, Attributes={"RedriveAllowPolicy": json.dumps(policy)})

    def use(source):
        policy = {"RedrivePolicy": redrive(sqs.arn(dead), 1)}
        return sqs.set_queue_attributes(QueueUrl=source, Attributes=policy)

    allow(redrivePermission="denyAll")
    refused("InvalidParameterValue", use, url)
    allow(redrivePermission="byQueue", sourceQueueArns=[sqs.arn(url)])
    use(url)
    refused("InvalidParameterValue", use, other)
    allow(redrivePermission="allowAll")
    use(other)
    for wrong in ({"redrivePermission": "byQueue"}, {"redrivePermission": "some"}, {}):
        refused("InvalidParameterValue", allow, **wrong)


@case
def sources_of_a_dead_letter_queue_are_listed(sqs):
    dead = sqs.queue()
    equal(sqs.list_dead_letter_source_queues(QueueUrl=dead).get("queueUrls", []), [])
    made = sorted(sqs.queue(RedrivePolicy=redrive(sqs.arn(dead), 1)) for _ in range(3))
    equal(sorted(sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"]), made)
    first = sqs.list_dead_letter_source_queues(QueueUrl=dead, MaxResults=2)
    rest = sqs.list_dead_letter_source_queues(QueueUrl=dead, MaxResults=2, NextToken=first["NextToken"])
    equal(sorted(first["queueUrls"] + rest["queueUrls"]), made)
    assert "NextToken" not in rest, rest


def finished(sqs, arn):
    def done():
        (task,) = sqs.list_message_move_tasks(SourceArn=arn)["Results"]
        return task if task["Status"] != "RUNNING" else None

    return eventually(done)


@case
def dead_letters_go_back_to_where_they_failed(sqs):
    url, dead = sqs.with_dead_letters(1)
    arn = sqs.arn(dead)
    start = sqs.start_message_move_task
    bury(sqs, url, dead, "a", "b", "c")
    assert start(SourceArn=arn)["TaskHandle"]
    task = finished(sqs, arn)
    equal(
        {name: task[name] for name in task if name != "StartedTimestamp"},
        {
            "Status": "COMPLETED",
            "SourceArn": arn,
            "ApproximateNumberOfMessagesMoved": 3,
            "ApproximateNumberOfMessagesToMove": 3,
        },
    )
    assert task["StartedTimestamp"] > 1_600_000_000_000, task
    equal(count(sqs, dead), 0)
    # They begin anew.
    messages = sqs.receive(url, AttributeNames=SOURCE[:1])
    equal(sorted(message["Body"] for message in messages), ["a", "b", "c"])
    equal({message["Attributes"]["ApproximateReceiveCount"] for message in messages}, {"1"})


@case
def dead_letters_go_where_they_are_told(sqs):
    url, dead = sqs.with_dead_letters(1)
    elsewhere = sqs.queue()
    start = sqs.start_message_move_task
    bury(sqs, url, dead, "a", "b")
    start(SourceArn=sqs.arn(dead), DestinationArn=sqs.arn(elsewhere), MaxNumberOfMessagesPerSecond=500)
    task = finished(sqs, sqs.arn(dead))
    equal((task["Status"], task["DestinationArn"]), ("COMPLETED", sqs.arn(elsewhere)))
    equal(task["MaxNumberOfMessagesPerSecond"], 500)
    equal((count(sqs, url), count(sqs, elsewhere)), (0, 2))


@case
def a_move_can_be_stopped(sqs):
    url, dead = sqs.with_dead_letters(1)
    arn = sqs.arn(dead)
    start, cancel = sqs.start_message_move_task, sqs.cancel_message_move_task
    bury(sqs, url, dead, *"abcdefgh")
    handle = start(SourceArn=arn, MaxNumberOfMessagesPerSecond=1)["TaskHandle"]
    (task,) = sqs.list_message_move_tasks(SourceArn=arn)["Results"]
    equal((task["Status"], task["TaskHandle"]), ("RUNNING", handle))
    busy = "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
    refused("InvalidParameterValue", start, SourceArn=arn, text=busy)
    moved = cancel(TaskHandle=handle)["ApproximateNumberOfMessagesMoved"]

    def stopped():
        (task,) = sqs.list_message_move_tasks(SourceArn=arn)["Results"]
        return task if task["Status"] == "CANCELLED" else None

    task = eventually(stopped)
    assert moved <= task["ApproximateNumberOfMessagesMoved"] < 8, task
    assert "TaskHandle" not in task, task
    equal(count(sqs, dead) + count(sqs, url), 8)


@case
def moves_have_rules(sqs):
    url, dead = sqs.with_dead_letters(1)
    plain, fifo = sqs.queue(), sqs.fifo()
    arn = sqs.arn(dead)
    start, cancel, tasks = sqs.start_message_move_task, sqs.cancel_message_move_task, sqs.list_message_move_tasks
    needed = "Source queue must be configured as a Dead Letter Queue."
    refused("InvalidParameterValue", start, SourceArn=sqs.arn(plain), text=needed)

    def missing(parameter):
        return f"The resource that you specified for the {parameter} parameter doesn't exist."

    refused("ResourceNotFoundException", start, SourceArn=f"{arn}-none", text=missing("SourceArn"))
    none = {"SourceArn": arn, "DestinationArn": f"{arn}-none"}
    refused("ResourceNotFoundException", start, text=missing("DestinationArn"), **none)
    refused("InvalidParameterValue", start, SourceArn=arn, DestinationArn=sqs.arn(fifo))
    refused("InvalidParameterValue", start, SourceArn=arn, MaxNumberOfMessagesPerSecond=501)
    refused("ResourceNotFoundException", tasks, SourceArn=f"{arn}-none", text=missing("SourceArn"))
    refused("InvalidParameterValue", tasks, SourceArn=arn, MaxResults=11)
    equal(tasks(SourceArn=arn, MaxResults=10).get("Results", []), [])

    def handle(source):
        task = {"taskId": "10a65ef2-8d0e-4ac8-93b4-3d4d3b4b3b4b", "sourceArn": source}
        return base64.b64encode(json.dumps(task).encode()).decode()

    refused("InvalidParameterValue", cancel, TaskHandle="nonsense", text="Value for parameter TaskHandle is invalid.")
    refused("ResourceNotFoundException", cancel, TaskHandle=handle(f"{arn}-none"), text=missing("SourceArn"))
    refused("ResourceNotFoundException", cancel, TaskHandle=handle(arn), text="Task does not exist.")
