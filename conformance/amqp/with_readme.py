"""The AMQP examples of the README and the guide, word for word, except for the address."""

import sys

from harness.cases import case, equal, main
from harness.readme import example, examples, run

ADDRESS = "127.0.0.1:5672"


@case
def the_python_example(address):
    equal(run([sys.executable, "-"], example("python", "import pika"), ADDRESS, address), "b'one for two'\n")


@case
def the_guide(address):
    consume, exchanges = examples("python", "docs/guides/amqp-first-ten-minutes.md")
    equal(run([sys.executable, "-"], consume, ADDRESS, address), "one for two False\n")
    shown = run([sys.executable, "-"], exchanges, ADDRESS, address)
    equal(shown, "sport mate in two\neverything mate in two\n")


if __name__ == "__main__":
    main()
