"""Other people's SQS clients and suites against our broker: one line per suite, and one for all of them."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from harness.suites import Suite, environment_beside, main  # noqa: E402

# moto's cases name the account and the address that its own server has, and wait as the service does.
MOTO = {
    "FOREBAY__SQS__ACCOUNT": "123456789012",
    "FOREBAY__SQS__PUBLIC_URL": "http://localhost:5000",
    "FOREBAY__SQS__PURGE_DELAY": "true",
}
SIGNED = {
    "FOREBAY__SQS__SIGNATURES": "verify",
    "FOREBAY__SQS__CREDENTIALS_FILE": os.path.join(HERE, "credentials"),
}

SUITES = [
    Suite("boto3", "with_boto3.py"),
    Suite("boto3-2022", "with_boto3.py", interpreter=environment_beside("2022")),
    Suite("moto", "with_moto.py", ours=False, settings=MOTO),
    Suite("signatures", "with_signatures.py", settings=SIGNED),
    Suite("http", "with_http.py"),
    Suite("aws-sdk-js", "with_aws_sdk.js", interpreter="node"),
    Suite("aws-cli", "with_aws_cli.py"),
    Suite("celery", "with_celery.py"),
    Suite("go", "with_go.py", full_only=True),
    Suite("java", "with_java.py", full_only=True),
    Suite("aws-sdk-js-2", "with_aws_sdk_2.js", interpreter="node", full_only=True),
    Suite("readme", "with_readme.py"),
]

# Suites mostly wait for times to pass.
AT_ONCE = 3

if __name__ == "__main__":
    sys.exit(main(HERE, "sqs", SUITES, AT_ONCE))
