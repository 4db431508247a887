"""A broker that checks signatures: all that boto3 does still works, and nothing that is signed wrongly does."""

import botocore
from botocore.config import Config
from client import ACCESS_KEY, SECRET_KEY, Sqs, refused
from harness.cases import case, equal, main
from plain import Plain
from signing import Signer
from with_boto3 import AT_ONCE

LIST = b"Action=ListQueues"
MINUTES = 60


def post(sqs, signer, body=LIST, sent=None, **more):
    headers = signer.headers(sqs.address, body, **more)
    return Plain(sqs.address).send("POST", "/", body if sent is None else sent, headers)


@case
def the_wrong_secret_is_noticed(sqs):
    text = (
        "The request signature we calculated does not match the signature you provided. "
        "Check your AWS Secret Access Key and signing method."
    )
    wrong = Sqs(sqs.address, aws_secret_access_key=SECRET_KEY + "x")
    error = refused("SignatureDoesNotMatch", wrong.list_queues, text=text)
    equal(error["ResponseMetadata"]["HTTPStatusCode"], 403)


@case
def an_unknown_key_is_noticed(sqs):
    unknown = Sqs(sqs.address, aws_access_key_id=ACCESS_KEY + "x")
    text = "The security token included in the request is invalid."
    refused("InvalidClientTokenId", unknown.list_queues, text=text)


@case
def an_unsigned_request_is_noticed(sqs):
    session = botocore.session.get_session()
    config = Config(signature_version=botocore.UNSIGNED, retries={"total_max_attempts": 1})
    unsigned = session.create_client("sqs", "us-east-1", endpoint_url=sqs.endpoint, config=config)
    refused("MissingAuthenticationToken", unsigned.list_queues)
    equal(Plain(sqs.address).form("ListQueues").element("Code"), "MissingAuthenticationToken")


@case
def any_region_can_be_signed_for(sqs):
    equal(post(sqs, Signer(region="eu-west-1")).status, 200)
    elsewhere = Sqs(sqs.address, region_name="eu-west-1")
    url = elsewhere.queue()
    assert elsewhere.arn(url).startswith("arn:aws:sqs:eu-west-1:"), elsewhere.arn(url)


@case
def what_was_changed_on_the_way_is_noticed(sqs):
    equal(post(sqs, Signer()).status, 200)
    answer = post(sqs, Signer(), sent=b"Action=ListQueues&QueueNamePrefix=x")
    equal((answer.status, answer.element("Code")), (403, "SignatureDoesNotMatch"))
    headers = Signer().headers(sqs.address, b"{}", **{"x-amz-target": "AmazonSQS.ListQueues"})
    answer = Plain(sqs.address).send("POST", "/", b"{}", headers | {"x-amz-target": "AmazonSQS.PurgeQueue"})
    equal((answer.status, answer.headers["x-amzn-query-error"]), (400, "SignatureDoesNotMatch;Sender"))


@case
def headers_may_have_blanks(sqs):
    body = LIST
    signer = Signer()
    headers = signer.headers(sqs.address, body, **{"x-amz-meta": "a b"})
    equal(Plain(sqs.address).send("POST", "/", body, headers | {"x-amz-meta": "  a   b "}).status, 200)


@case
def a_clock_may_be_wrong_by_a_quarter_of_an_hour(sqs):
    for skew in (-14 * MINUTES, 14 * MINUTES):
        equal(post(sqs, Signer(skew=skew)).status, 200)
    for skew in (-16 * MINUTES, 16 * MINUTES):
        answer = post(sqs, Signer(skew=skew))
        equal((answer.status, answer.element("Code")), (400, "RequestExpired"))


@case
def an_address_can_be_signed_for_a_while(sqs):
    url = sqs.queue()
    path = url.removeprefix(sqs.endpoint)
    plain = Plain(sqs.address)

    def get(signer=None, life=60, change=lambda path: path, **parameters):
        signed = (signer or Signer()).presigned(sqs.address, path, parameters, life)
        answer = plain.send("GET", change(signed))
        return answer.status, answer

    send = {"Action": "SendMessage", "MessageBody": "a b+c/d=é&~*"}
    equal(get(**send)[0], 200)
    equal(sqs.receive_one(url)["Body"], send["MessageBody"])
    status, answer = get(change=lambda path: path.replace("SendMessage", "PurgeQueue"), **send)
    equal((status, answer.element("Code")), (403, "SignatureDoesNotMatch"))
    equal(get(Signer(skew=-30 * MINUTES), life=3600, **send)[0], 200)
    status, answer = get(Signer(skew=-30 * MINUTES), **send)
    equal((status, answer.element("Code")), (400, "RequestExpired"))
    status, answer = get(Signer(secret_key="wrong"), **send)
    equal((status, answer.element("Code")), (403, "SignatureDoesNotMatch"))
    status, answer = get(life=8 * 24 * 3600, **send)
    equal((status, answer.element("Code")), (400, "IncompleteSignature"))


@case
def half_a_signature_is_none(sqs):
    headers = Signer().headers(sqs.address, LIST)
    plain = Plain(sqs.address)
    for broken in (
        headers | {"authorization": "AWS4-HMAC-SHA256 nonsense"},
        headers | {"authorization": headers["authorization"].replace("host;", "")},
        headers | {"authorization": headers["authorization"].replace("/aws4_request", "")},
        {name: value for name, value in headers.items() if name != "x-amz-date"},
    ):
        answer = plain.send("POST", "/", LIST, broken)
        equal((answer.status, answer.element("Code")), (400, "IncompleteSignature"))


@case
def the_sender_is_told(sqs):
    url = sqs.queue()
    sqs.send(url)
    equal(sqs.receive_one(url, AttributeNames=["SenderId"])["Attributes"], {"SenderId": ACCESS_KEY})


if __name__ == "__main__":
    main(lambda function, address: function(Sqs(address)), at_once=AT_ONCE)
