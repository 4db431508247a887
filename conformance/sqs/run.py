"""Other people's SQS clients and suites against our broker: one line per suite, and one for all of them."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from harness.suites import Suite, environment_beside, main  # noqa: E402

SUITES = [
    Suite("boto3", "with_boto3.py"),
    Suite("boto3-2022", "with_boto3.py", interpreter=environment_beside("2022")),
]

# Suites mostly wait for times to pass.
AT_ONCE = 3

if __name__ == "__main__":
    sys.exit(main(HERE, "sqs", SUITES, AT_ONCE))
