"""The AWS command line: every action from the shell, with everything it has to know in its configuration file."""

import json
import os
import subprocess
import sys
import tempfile

from client import ACCESS_KEY, ACCOUNT, SECRET_KEY, redrive
from harness.cases import case, equal, eventually, fresh, main

# Beside the interpreter that runs this.
AWS = os.path.join(os.path.dirname(sys.executable), "aws")
SECONDS = 60
# In a region it knows, this command goes to that region's service whatever its configuration says, unless the address
# is on its command line.
CONFIGURATION = """\
[default]
region = here-1
output = json
services = here
aws_access_key_id = {access_key}
aws_secret_access_key = {secret_key}

[services here]
sqs =
  endpoint_url = http://{address}
"""
# It starts slowly, and mostly computes.
AT_ONCE = 2


class Cli:
    """The command, with a configuration file that leads to one broker."""

    def __init__(self, address):
        self.endpoint = f"http://{address}"
        self.folder = tempfile.TemporaryDirectory()
        self.configuration = os.path.join(self.folder.name, "config")
        with open(self.configuration, "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(address=address, access_key=ACCESS_KEY, secret_key=SECRET_KEY))

    def run(self, action, **options):
        command = [AWS, "sqs", action]
        for name, value in options.items():
            text = value if isinstance(value, str) else json.dumps(value)
            command += [f"--{name.replace('_', '-')}", text]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {"AWS_CONFIG_FILE": self.configuration, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)

    def __call__(self, action, **options):
        done = self.run(action, **options)
        assert done.returncode == 0, f"{action} exited with {done.returncode}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def queue(self, **attributes):
        return self("create-queue", queue_name=fresh("queue"), attributes=attributes)["QueueUrl"]


@case
def a_message_through_the_shell(aws):
    name = fresh("queue")
    url = aws("create-queue", queue_name=name)["QueueUrl"]
    equal(url, f"{aws.endpoint}/{ACCOUNT}/{name}")
    attributes = {"a": {"DataType": "String", "StringValue": "x"}}
    sent = aws("send-message", queue_url=url, message_body="wörd", message_attributes=attributes)
    wanted = {"message_attribute_names": "All", "wait_time_seconds": "5"}
    (message,) = aws("receive-message", queue_url=url, **wanted)["Messages"]
    equal((message["MessageId"], message["Body"]), (sent["MessageId"], "wörd"))
    equal((message["MessageAttributes"], message["MD5OfBody"]), (attributes, sent["MD5OfMessageBody"]))
    aws("delete-message", queue_url=url, receipt_handle=message["ReceiptHandle"])
    equal(aws("receive-message", queue_url=url), {})
    missing = aws.run("purge-queue", queue_url=f"{url}-none")
    assert "(AWS.SimpleQueueService.NonExistentQueue)" in missing.stderr, missing
    assert missing.returncode != 0


@case(full_only=True)
def the_address_on_the_command_line(aws):
    there = {"endpoint_url": aws.endpoint, "region": "us-east-1"}
    url = aws("create-queue", queue_name=fresh("queue"), **there)["QueueUrl"]
    shown = aws("get-queue-attributes", queue_url=url, attribute_names="QueueArn", **there)
    equal(shown["Attributes"]["QueueArn"], f"arn:aws:sqs:us-east-1:{ACCOUNT}:{url.split('/')[-1]}")


@case(full_only=True)
def queues_through_the_shell(aws):
    name = fresh("queue")
    url = aws("create-queue", queue_name=name, tags={"team": "shop"})["QueueUrl"]
    equal(aws("get-queue-url", queue_name=name), {"QueueUrl": url})
    equal(aws("list-queues", queue_name_prefix=name), {"QueueUrls": [url]})
    aws("tag-queue", queue_url=url, tags={"shop": "bar"})
    aws("untag-queue", queue_url=url, tag_keys="team")
    equal(aws("list-queue-tags", queue_url=url), {"Tags": {"shop": "bar"}})
    aws("set-queue-attributes", queue_url=url, attributes={"DelaySeconds": "5"})
    shown = aws("get-queue-attributes", queue_url=url, attribute_names="DelaySeconds")
    equal(shown, {"Attributes": {"DelaySeconds": "5"}})
    aws("add-permission", queue_url=url, label="one", aws_account_ids="111111111111", actions="SendMessage")
    aws("remove-permission", queue_url=url, label="one")
    aws("purge-queue", queue_url=url)
    aws("delete-queue", queue_url=url)
    equal(aws("list-queues", queue_name_prefix=name), {})


@case(full_only=True)
def batches_through_the_shell(aws):
    url = aws.queue()
    entries = [{"Id": body, "MessageBody": body} for body in "ab"]
    sent = aws("send-message-batch", queue_url=url, entries=entries)
    equal([entry["Id"] for entry in sent["Successful"]], ["a", "b"])
    messages = aws("receive-message", queue_url=url, max_number_of_messages="10")["Messages"]
    handles = [{"Id": m["Body"], "ReceiptHandle": m["ReceiptHandle"]} for m in messages]
    hidden = [handle | {"VisibilityTimeout": 60} for handle in handles]
    equal(len(aws("change-message-visibility-batch", queue_url=url, entries=hidden)["Successful"]), 2)
    one = messages[0]["ReceiptHandle"]
    aws("change-message-visibility", queue_url=url, receipt_handle=one, visibility_timeout="90")
    equal(len(aws("delete-message-batch", queue_url=url, entries=handles)["Successful"]), 2)


@case(full_only=True)
def dead_letters_through_the_shell(aws):
    dead = aws.queue()
    arn = aws("get-queue-attributes", queue_url=dead, attribute_names="QueueArn")["Attributes"]["QueueArn"]
    url = aws.queue(RedrivePolicy=redrive(arn, 1))
    equal(aws("list-dead-letter-source-queues", queue_url=dead), {"queueUrls": [url]})
    entries = [{"Id": body, "MessageBody": body} for body in "abc"]
    aws("send-message-batch", queue_url=url, entries=entries)
    everything = {"queue_url": url, "max_number_of_messages": "10", "visibility_timeout": "0"}

    def moved():
        aws("receive-message", **everything)
        shown = aws("get-queue-attributes", queue_url=dead, attribute_names="ApproximateNumberOfMessages")
        return shown["Attributes"]["ApproximateNumberOfMessages"] == "3"

    eventually(moved)
    handle = aws("start-message-move-task", source_arn=arn, max_number_of_messages_per_second="1")["TaskHandle"]
    (task,) = aws("list-message-move-tasks", source_arn=arn)["Results"]
    assert task["Status"] in ("RUNNING", "COMPLETED"), task
    if task["Status"] == "RUNNING":
        aws.run("cancel-message-move-task", task_handle=handle)


if __name__ == "__main__":
    main(lambda function, address: function(Cli(address)), at_once=AT_ONCE)
