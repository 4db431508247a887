"""A boto3 client bound to one broker, what its cases use again and again, and the checksums of the service."""

import hashlib
import struct
import time

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError
from harness.cases import Skipped, equal, fresh

REGION = "us-east-1"
ACCOUNT = "000000000000"
# The broker knows these where it checks signatures, see `credentials`.
ACCESS_KEY = "conformance"
SECRET_KEY = "conformance/secret+key"


class Sqs:
    """The client, and shorter ways to say what cases say often."""

    def __init__(self, address, **given):
        self.address = address
        self.endpoint = f"http://{address}"
        keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "region_name": REGION} | given
        # A retry would hide what was answered first.
        config = Config(retries={"total_max_attempts": 1}, max_pool_connections=50)
        # A session for each: making clients from the default one is not safe in threads.
        session = boto3.session.Session()
        self.client = session.client("sqs", endpoint_url=self.endpoint, config=config, **keys)

    def __getattr__(self, name):
        try:
            return getattr(self.client, name)
        except AttributeError:
            raise Skipped(f"this client has no {name}") from None

    @property
    def speaks_query(self):
        return self.client.meta.service_model.metadata["protocol"] == "query"

    def queue(self, kind="queue", **attributes):
        name = fresh(kind)
        url = self.create_queue(QueueName=name, Attributes=texts(attributes))["QueueUrl"]
        equal(url, f"{self.endpoint}/{ACCOUNT}/{name}")
        return url

    def fifo(self, **attributes):
        attributes = texts({"FifoQueue": "true", "ContentBasedDeduplication": "true"} | attributes)
        return self.create_queue(QueueName=fresh("fifo") + ".fifo", Attributes=attributes)["QueueUrl"]

    def with_dead_letters(self, attempts, queue=None, **attributes):
        """A queue and the one its dead letters go to."""
        queue = queue or self.queue
        dead = queue()
        return queue(RedrivePolicy=redrive(self.arn(dead), attempts), **attributes), dead

    def attributes(self, url, *names):
        return self.get_queue_attributes(QueueUrl=url, AttributeNames=list(names or ["All"])).get("Attributes", {})

    def arn(self, url):
        return self.attributes(url, "QueueArn")["QueueArn"]

    def send(self, url, body="x", **more):
        return self.send_message(QueueUrl=url, MessageBody=body, **more)

    def send_all(self, url, *bodies, **more):
        for body in bodies:
            self.send(url, body, **more)

    def receive(self, url, most=10, **more):
        answer = self.receive_message(QueueUrl=url, MaxNumberOfMessages=most, **more)
        # The service leaves an empty list out.
        assert answer.get("Messages", ["any"]), answer
        return answer.get("Messages", [])

    def receive_one(self, url, **more):
        messages = self.receive(url, 1, **{"WaitTimeSeconds": 5} | more)
        assert len(messages) == 1, messages
        return messages[0]

    def bodies(self, url, most=10, **more):
        return [message["Body"] for message in self.receive(url, most, **more)]

    def delete(self, url, message):
        return self.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def hide(self, url, message, seconds):
        handle = message["ReceiptHandle"]
        return self.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=seconds)


def only_json(sqs):
    """Leaves a case out where the client is too old for what it is about."""
    if sqs.speaks_query:
        raise Skipped("this client speaks the older protocol")


def texts(attributes):
    return {name: str(value) for name, value in attributes.items()}


def redrive(arn, attempts):
    return f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": {attempts}}}'


def invalid(name, value, reason):
    """The service's words for a parameter it cannot take."""
    return f"Value {value} for parameter {name} is invalid. Reason: {reason}"


def refused(code, call, *given, text=None, **more):
    """Checks that a call is refused with this code, and with this text, and returns the error."""
    try:
        answer = call(*given, **more)
    except ClientError as error:
        found = error.response["Error"]
        equal(found["Code"], code)
        if text is not None:
            equal(found["Message"], text)
        return error.response
    raise AssertionError(f"not refused: {answer}")


def unchecked(sqs):
    """A client that sends what its model says is wrong, so that it is the broker that refuses."""
    config = Config(parameter_validation=False, retries={"total_max_attempts": 1})
    session = botocore.session.get_session()
    keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
    return session.create_client("sqs", REGION, endpoint_url=sqs.endpoint, config=config, **keys)


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def md5_of_attributes(attributes):
    """The checksum as the service's documentation describes it."""
    digest = hashlib.md5()
    for name, attribute in sorted(attributes.items()):
        kind = attribute["DataType"]
        binary = kind.startswith("Binary")
        value = attribute["BinaryValue"] if binary else attribute["StringValue"].encode()
        for part in (name.encode(), kind.encode()):
            digest.update(struct.pack("!I", len(part)) + part)
        digest.update(b"\x02" if binary else b"\x01")
        digest.update(struct.pack("!I", len(value)) + value)
    return digest.hexdigest()


def text_attribute(value, kind="String"):
    return {"DataType": kind, "StringValue": value}


def check_message(message):
    """What every received message has to be."""
    equal(message["MD5OfBody"], md5(message["Body"]))
    attributes = message.get("MessageAttributes")
    equal(message.get("MD5OfMessageAttributes"), md5_of_attributes(attributes) if attributes else None)


def seconds_for(call):
    began = time.monotonic()
    answer = call()
    return time.monotonic() - began, answer
