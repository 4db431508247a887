"""The root README's SQS examples, word for word, except for the address."""

import sys

from harness.cases import case, equal, main
from harness.readme import example, run

ADDRESS = "127.0.0.1:9324"


@case
def the_python_example(address):
    equal(run([sys.executable, "-"], example("python", "boto3"), ADDRESS, address), "one omelette\n")


@case
def the_shell_example(address):
    shown = run(["sh", "-e"], example("sh", "sqs send-message"), ADDRESS, address)
    equal(shown.splitlines()[-1], "one soup")


if __name__ == "__main__":
    main()
