"""The root README's AMQP example, word for word, except for the address."""

import sys

from harness.cases import case, equal, main
from harness.readme import example, run

ADDRESS = "127.0.0.1:5672"


@case
def the_python_example(address):
    equal(run([sys.executable, "-"], example("python", "import pika"), ADDRESS, address), "b'one for two'\n")


if __name__ == "__main__":
    main()
