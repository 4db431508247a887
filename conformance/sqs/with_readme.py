"""The SQS examples of the README and the guide, word for word, except for the address."""

import sys

from harness.cases import case, equal, main
from harness.readme import example, examples, run

ADDRESS = "127.0.0.1:9324"


@case
def the_python_example(address):
    equal(run([sys.executable, "-"], example("python", "boto3"), ADDRESS, address), "one omelette\n")


@case
def the_shell_example(address):
    shown = run(["sh", "-e"], example("sh", "sqs send-message"), ADDRESS, address)
    equal(shown.splitlines()[-1], "one soup")


@case
def the_guide(address):
    first, fifo = examples("python", "docs/guides/sqs-first-ten-minutes.md")
    equal(run([sys.executable, "-"], first, ADDRESS, address), "one omelette\n")
    equal(run([sys.executable, "-"], fifo, ADDRESS, address), "charge\n")


if __name__ == "__main__":
    main()
