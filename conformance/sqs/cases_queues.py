"""Queues themselves: made, found, listed, set, tagged, shared, purged, removed."""

import json

from client import ACCOUNT, REGION, invalid, refused, texts, unchecked
from harness.cases import case, equal, fresh

DEFAULTS = {
    "ApproximateNumberOfMessages": "0",
    "ApproximateNumberOfMessagesNotVisible": "0",
    "ApproximateNumberOfMessagesDelayed": "0",
    "VisibilityTimeout": "30",
    "MaximumMessageSize": "1048576",
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
}
NAME_RULE = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
FIFO_NAME_RULE = (
    "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
    "must end with .fifo suffix and be 1 to 80 in length."
)


@case
def a_queue_is_made_found_and_removed(sqs):
    url = sqs.queue()
    name = url.split("/")[-1]
    equal(sqs.get_queue_url(QueueName=name)["QueueUrl"], url)
    equal(sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=ACCOUNT)["QueueUrl"], url)
    sqs.delete_queue(QueueUrl=url)
    missing = "AWS.SimpleQueueService.NonExistentQueue"
    refused(missing, sqs.get_queue_url, QueueName=name)
    refused(missing, sqs.send, url)
    refused(missing, sqs.delete_queue, QueueUrl=url)
    # The wait that the service asks for is a setting here, and off.
    equal(sqs.create_queue(QueueName=name)["QueueUrl"], url)
    equal(sqs.attributes(url, "ApproximateNumberOfMessages"), {"ApproximateNumberOfMessages": "0"})


@case
def names_have_rules(sqs):
    for name in ("a.b", "a b", "n" * 81, "ends.fifo", "ümlaut"):
        refused("InvalidParameterValue", sqs.create_queue, QueueName=name, text=NAME_RULE)
    fifo = {"FifoQueue": "true"}
    for name in ("plain", "n" * 76 + ".fifo"):
        refused("InvalidParameterValue", sqs.create_queue, QueueName=name, Attributes=fifo, text=FIFO_NAME_RULE)
    sqs.create_queue(QueueName=fresh("n").ljust(80, "n"))
    sqs.create_queue(QueueName=fresh("n").ljust(75, "n") + ".fifo", Attributes=fifo)


@case
def a_new_queue_has_the_documented_defaults(sqs):
    url = sqs.queue()
    shown = sqs.attributes(url)
    made = {name: shown.pop(name) for name in ("QueueArn", "CreatedTimestamp", "LastModifiedTimestamp")}
    equal(shown, DEFAULTS)
    equal(made["QueueArn"], f"arn:aws:sqs:{REGION}:{ACCOUNT}:{url.split('/')[-1]}")
    assert made["CreatedTimestamp"].isdigit() and made["CreatedTimestamp"] <= made["LastModifiedTimestamp"]
    fifo = sqs.create_queue(QueueName=fresh("q") + ".fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    more = {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "false",
        "DeduplicationScope": "queue",
        "FifoThroughputLimit": "perQueue",
    }
    shown = sqs.attributes(fifo)
    equal({name: value for name, value in shown.items() if name not in made}, DEFAULTS | more)


@case
def nothing_is_told_that_was_not_asked_for(sqs):
    url = sqs.queue(DelaySeconds=5)
    equal(sqs.get_queue_attributes(QueueUrl=url).get("Attributes", {}), {})
    equal(sqs.attributes(url, "DelaySeconds"), {"DelaySeconds": "5"})
    equal(sqs.attributes(url, "Policy"), {})
    equal(sqs.attributes(url, "FifoQueue"), {})
    refused("InvalidAttributeName", sqs.attributes, url, "Nonsense", text="Unknown Attribute Nonsense.")


@case
def attributes_are_set_and_kept(sqs):
    url = sqs.queue()
    wanted = {
        "VisibilityTimeout": "43200",
        "DelaySeconds": "900",
        "MessageRetentionPeriod": "1209600",
        "MaximumMessageSize": "1024",
        "ReceiveMessageWaitTimeSeconds": "20",
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes=wanted)
    equal(sqs.attributes(url, *wanted), wanted)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "0"})
    equal(sqs.attributes(url, *wanted), wanted | {"DelaySeconds": "0"})


@case
def values_out_of_range_are_refused(sqs):
    url = sqs.queue()
    for name, value in {
        "VisibilityTimeout": 43201,
        "DelaySeconds": 901,
        "MessageRetentionPeriod": 59,
        "MaximumMessageSize": 1023,
        "ReceiveMessageWaitTimeSeconds": 21,
        "KmsDataKeyReusePeriodSeconds": 59,
        "SqsManagedSseEnabled": "perhaps",
        "Policy": "no policy",
    }.items():
        given = texts({name: value})
        text = f"Invalid value for the parameter {name}."
        refused("InvalidAttributeValue", sqs.set_queue_attributes, QueueUrl=url, Attributes=given, text=text)
        refused("InvalidAttributeValue", sqs.create_queue, QueueName=fresh("q"), Attributes=given)
    unknown = {"Nonsense": "1"}
    refused("InvalidAttributeName", sqs.create_queue, QueueName=fresh("q"), Attributes=unknown)
    refused("InvalidAttributeName", sqs.set_queue_attributes, QueueUrl=url, Attributes=unknown)


@case
def a_queue_keeps_its_type(sqs):
    def refuse(code, url, value, text):
        given = {"FifoQueue": value}
        refused(code, sqs.set_queue_attributes, QueueUrl=url, Attributes=given, text=text)

    fifo, standard = sqs.fifo(), sqs.queue()
    sqs.set_queue_attributes(QueueUrl=fifo, Attributes={"FifoQueue": "true"})
    kept = "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."
    refuse("InvalidAttributeValue", fifo, "false", kept)
    refuse("InvalidAttributeName", standard, "true", "Unknown Attribute FifoQueue.")
    refuse("InvalidAttributeName", standard, "false", "Unknown Attribute FifoQueue.")


@case
def fifo_attributes_need_a_fifo_queue(sqs):
    for name, value, text in (
        ("FifoQueue", "false", "Unknown Attribute FifoQueue."),
        ("ContentBasedDeduplication", "true", "Unknown Attribute ContentBasedDeduplication."),
        (
            "DeduplicationScope",
            "queue",
            "You can specify the DeduplicationScope only when FifoQueue is set to true.",
        ),
        (
            "FifoThroughputLimit",
            "perQueue",
            "You can specify the FifoThroughputLimit only when FifoQueue is set to true.",
        ),
    ):
        given = {name: value}
        refused("InvalidAttributeName", sqs.create_queue, QueueName=fresh("q"), Attributes=given, text=text)


@case
def making_a_queue_again_compares_only_what_is_said(sqs):
    name = fresh("again")
    made = {"DelaySeconds": "5", "VisibilityTimeout": "60"}
    url = sqs.create_queue(QueueName=name, Attributes=made)["QueueUrl"]
    for same in ({}, {"DelaySeconds": "5"}, made):
        equal(sqs.create_queue(QueueName=name, Attributes=same)["QueueUrl"], url)
    text = "A queue already exists with the same name and a different value for attribute DelaySeconds"
    error = refused("QueueAlreadyExists", sqs.create_queue, QueueName=name, Attributes={"DelaySeconds": "6"}, text=text)
    if not sqs.speaks_query:
        equal(error["Error"]["QueryErrorCode"], "QueueNameExists")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "6"})
    equal(sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": "6"})["QueueUrl"], url)


@case
def queues_are_listed_in_pages(sqs):
    prefix = fresh("list")
    equal(sqs.list_queues(QueueNamePrefix=prefix).get("QueueUrls"), None)
    made = sorted(sqs.create_queue(QueueName=f"{prefix}-{i}")["QueueUrl"] for i in range(5))
    whole = sqs.list_queues(QueueNamePrefix=prefix)
    equal(sorted(whole["QueueUrls"]), made)
    assert "NextToken" not in whole
    pages, more = [], {}
    while True:
        page = sqs.list_queues(QueueNamePrefix=prefix, MaxResults=2, **more)
        pages.append(page["QueueUrls"])
        if "NextToken" not in page:
            break
        more = {"NextToken": page["NextToken"]}
    equal([len(page) for page in pages], [2, 2, 1])
    equal(sorted(sum(pages, [])), made)
    paginator = sqs.get_paginator("list_queues").paginate(QueueNamePrefix=prefix, PaginationConfig={"PageSize": 3})
    equal(sorted(url for page in paginator for url in page["QueueUrls"]), made)
    for wrong in (0, 1001):
        refused("InvalidParameterValue", sqs.list_queues, MaxResults=wrong)
    refused("InvalidParameterValue", sqs.list_queues, MaxResults=1, NextToken="nonsense")


@case
def tags_are_kept_apart_from_attributes(sqs):
    name = fresh("tagged")
    url = sqs.create_queue(QueueName=name, tags={"team": "shop", "Team": "Shop"})["QueueUrl"]
    equal(sqs.list_queue_tags(QueueUrl=url)["Tags"], {"team": "shop", "Team": "Shop"})
    sqs.tag_queue(QueueUrl=url, Tags={"team": "bar", "empty": ""})
    equal(sqs.list_queue_tags(QueueUrl=url)["Tags"], {"team": "bar", "Team": "Shop", "empty": ""})
    sqs.untag_queue(QueueUrl=url, TagKeys=["team", "never"])
    equal(sqs.list_queue_tags(QueueUrl=url)["Tags"], {"Team": "Shop", "empty": ""})
    sqs.untag_queue(QueueUrl=url, TagKeys=["Team", "empty"])
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=url)
    sqs.tag_queue(QueueUrl=url, Tags={f"k{i}": "v" for i in range(50)})
    refused("InvalidParameterValue", sqs.tag_queue, QueueUrl=url, Tags={"one": "more"})
    refused("InvalidParameterValue", sqs.tag_queue, QueueUrl=url, Tags={"k" * 129: "v"})
    refused("InvalidParameterValue", sqs.tag_queue, QueueUrl=url, Tags={"k0": "v" * 257})


@case
def permissions_are_statements_of_the_policy(sqs):
    url = sqs.queue()
    arn = sqs.arn(url)
    sqs.add_permission(QueueUrl=url, Label="one", AWSAccountIds=["111111111111"], Actions=["SendMessage"])
    policy = json.loads(sqs.attributes(url, "Policy")["Policy"])
    statement = {
        "Sid": "one",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
        "Action": "SQS:SendMessage",
        "Resource": arn,
    }
    equal(policy, {"Version": "2008-10-17", "Id": f"{arn}/SQSDefaultPolicy", "Statement": [statement]})
    accounts, actions = ["111111111111", "222222222222"], ["ReceiveMessage", "DeleteMessage"]
    sqs.add_permission(QueueUrl=url, Label="two", AWSAccountIds=accounts, Actions=actions)
    policy = json.loads(sqs.attributes(url, "Policy")["Policy"])
    equal(policy["Statement"][1]["Action"], ["SQS:ReceiveMessage", "SQS:DeleteMessage"])
    equal(policy["Statement"][1]["Principal"]["AWS"], [f"arn:aws:iam::{account}:root" for account in accounts])
    again = {"AWSAccountIds": ["333333333333"], "Actions": ["SendMessage"]}
    text = invalid("Label", "one", "Already exists.")
    refused("InvalidParameterValue", sqs.add_permission, QueueUrl=url, Label="one", text=text, **again)
    sqs.remove_permission(QueueUrl=url, Label="one")
    text = invalid("Label", "one", "can't find label.")
    refused("InvalidParameterValue", sqs.remove_permission, QueueUrl=url, Label="one", text=text)
    sqs.remove_permission(QueueUrl=url, Label="two")
    equal(sqs.attributes(url, "Policy"), {})


@case
def permissions_have_limits(sqs):
    url = sqs.queue()
    owner = {"AWSAccountIds": ["111111111111"]}
    reason = "Only the queue owner is allowed to invoke this action."
    text = invalid("ActionName", "SQS:CreateQueue", reason)
    refused(
        "InvalidParameterValue",
        sqs.add_permission,
        QueueUrl=url,
        Label="x",
        Actions=["CreateQueue"],
        text=text,
        **owner,
    )
    many = ["*", "SendMessage", "ReceiveMessage", "DeleteMessage", "GetQueueUrl", "PurgeQueue", "GetQueueAttributes"]
    sqs.add_permission(QueueUrl=url, Label="seven", Actions=many, **owner)
    many.append("ChangeMessageVisibility")
    text = "8 Actions were found, maximum allowed is 7."
    refused("OverLimit", sqs.add_permission, QueueUrl=url, Label="eight", Actions=many, text=text, **owner)


@case
def a_policy_is_kept_and_removed_as_text(sqs):
    url = sqs.queue()
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*"}]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    equal(json.loads(sqs.attributes(url)["Policy"]), json.loads(policy))
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
    assert "Policy" not in sqs.attributes(url)


@case
def keys_of_another_service_and_own_encryption_exclude_each_other(sqs):
    url = sqs.queue(KmsMasterKeyId="alias/x", KmsDataKeyReusePeriodSeconds=60)
    names = ("KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled")
    equal(
        sqs.attributes(url, *names),
        {"KmsMasterKeyId": "alias/x", "KmsDataKeyReusePeriodSeconds": "60", "SqsManagedSseEnabled": "false"},
    )
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"KmsMasterKeyId": "", "SqsManagedSseEnabled": "true"})
    shown = sqs.attributes(url)
    assert "KmsMasterKeyId" not in shown and shown["SqsManagedSseEnabled"] == "true", shown


@case
def a_purge_takes_everything(sqs):
    url = sqs.queue()
    sqs.send_all(url, "visible", "in flight")
    sqs.send(url, "delayed", DelaySeconds=900)
    held = sqs.receive_one(url)
    sqs.purge_queue(QueueUrl=url)
    names = [name for name in DEFAULTS if name.startswith("Approximate")]
    equal(sqs.attributes(url, *names), dict.fromkeys(names, "0"))
    equal(sqs.receive(url), [])
    sqs.delete(url, held)
    sqs.send(url, "later")
    equal(sqs.receive_one(url)["Body"], "later")


@case
def purging_forgets_what_was_sent_before(sqs):
    url = sqs.fifo()
    group = {"MessageGroupId": "g"}
    sqs.send(url, "once", **group)
    sqs.purge_queue(QueueUrl=url)
    sqs.send(url, "once", **group)
    equal(sqs.bodies(url, WaitTimeSeconds=5), ["once"])


@case
def counts_are_exact(sqs):
    url = sqs.queue()
    sqs.send_all(url, "a", "b", "c", "d")
    sqs.send(url, "later", DelaySeconds=900)
    sqs.receive(url, 3)
    counts = [
        "ApproximateNumberOfMessages",
        "ApproximateNumberOfMessagesNotVisible",
        "ApproximateNumberOfMessagesDelayed",
    ]
    equal(list(map(sqs.attributes(url, *counts).get, counts)), ["1", "3", "1"])


@case
def a_queue_that_is_not_there_is_said_so_by_every_action(sqs):
    url = f"{sqs.endpoint}/{ACCOUNT}/{fresh('never')}"
    handle = {"ReceiptHandle": "x"}
    for action, more in {
        "add_permission": {"Label": "l", "AWSAccountIds": ["1" * 12], "Actions": ["*"]},
        "change_message_visibility": handle | {"VisibilityTimeout": 0},
        "change_message_visibility_batch": {"Entries": [handle | {"Id": "1", "VisibilityTimeout": 0}]},
        "delete_message": handle,
        "delete_message_batch": {"Entries": [handle | {"Id": "1"}]},
        "delete_queue": {},
        "get_queue_attributes": {"AttributeNames": ["All"]},
        "list_dead_letter_source_queues": {},
        "list_queue_tags": {},
        "purge_queue": {},
        "receive_message": {},
        "remove_permission": {"Label": "l"},
        "send_message": {"MessageBody": "x"},
        "send_message_batch": {"Entries": [{"Id": "1", "MessageBody": "x"}]},
        "set_queue_attributes": {"Attributes": {"DelaySeconds": "1"}},
        "tag_queue": {"Tags": {"a": "b"}},
        "untag_queue": {"TagKeys": ["a"]},
    }.items():
        error = refused("AWS.SimpleQueueService.NonExistentQueue", getattr(sqs, action), QueueUrl=url, **more)
        wsdl = " for this wsdl version" if sqs.speaks_query else ""
        equal(error["Error"]["Message"], f"The specified queue does not exist{wsdl}.")
        equal(error["ResponseMetadata"]["HTTPStatusCode"], 400)


@case
def the_host_in_a_queue_url_does_not_matter(sqs):
    url = sqs.queue()
    name = url.split("/")[-1]
    sqs.send(url, "x")
    for other in (
        f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}",
        f"http://localhost:4566/queue/{name}",
        f"http://elsewhere:1/queue/{REGION}/{ACCOUNT}/{name}",
        name,
    ):
        # The client would follow the address, were it not told where to go.
        equal(unchecked(sqs).receive_message(QueueUrl=other, VisibilityTimeout=0)["Messages"][0]["Body"], "x")


@case
def the_region_and_the_account_in_a_queue_url_matter(sqs):
    name = sqs.queue().split("/")[-1]
    for other in (
        f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/{name}",
        f"https://sqs.{REGION}.amazonaws.com/123456789012/{name}",
        f"http://localhost:4566/queue/eu-west-1/{ACCOUNT}/{name}",
    ):
        refused("AWS.SimpleQueueService.NonExistentQueue", unchecked(sqs).receive_message, QueueUrl=other)


@case
def missing_parameters_are_named(sqs):
    client = unchecked(sqs)
    url = sqs.queue()
    for call, name, given in (
        (client.create_queue, "QueueName", {}),
        (client.send_message, "MessageBody", {"QueueUrl": url}),
        (client.delete_message, "ReceiptHandle", {"QueueUrl": url}),
        (client.receive_message, "QueueUrl", {}),
        (client.change_message_visibility, "VisibilityTimeout", {"QueueUrl": url, "ReceiptHandle": "x"}),
    ):
        text = f"The request must contain the parameter {name}."
        refused("MissingParameter", call, text=text, **given)
