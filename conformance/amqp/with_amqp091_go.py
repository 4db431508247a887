"""amqp091-go's own suite, its integration tests included, as its module has them."""

import os
import sys

from harness import golang
from harness.cases import arguments

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = 300


def main():
    options = arguments()
    if why := golang.missing():
        print(f"skip all: {why}")
        return 0
    variables = {"AMQP_URL": f"amqp://guest:guest@{options.address}/", "GODEBUG": "netdns=go"}
    return golang.run_suite(os.path.join(HERE, "go"), "github.com/rabbitmq/amqp091-go", variables=variables, seconds=SECONDS,
                            options=("-tags=integration",))


if __name__ == "__main__":
    sys.exit(main())
