"""kafka-go's own suite, as its module has it. It knows only the default port: this broker listens there."""

import os
import socket
import sys

from harness import golang
from harness.broker import Broker
from harness.suites import own_broker_arguments

HERE = os.path.dirname(os.path.abspath(__file__))
ADDRESS = ("127.0.0.1", 9092)
SECONDS = 400
VARIABLES = {"KAFKA_VERSION": "3.8.0", "KAFKA_SKIP_NETTEST": "1"}


def is_taken():
    with socket.socket() as probe:
        return probe.connect_ex(ADDRESS) == 0


def main():
    options = own_broker_arguments()
    why = golang.missing() or (f"port {ADDRESS[1]} is taken" if is_taken() else None)
    if why:
        print(f"skip all: {why}")
        return 0
    broker = Broker(options.binary)
    broker.listeners["kafka"] = "{}:{}".format(*ADDRESS)
    with broker:
        return golang.run_suite(os.path.join(HERE, "go"), "github.com/segmentio/kafka-go", variables=VARIABLES, seconds=SECONDS)


if __name__ == "__main__":
    sys.exit(main())
