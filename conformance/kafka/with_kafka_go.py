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
# What the suite's own broker is started with.
SETTINGS = {
    "FOREBAY__KAFKA__ADVERTISED_ADDRESS": "localhost:9092",
    "FOREBAY__KAFKA__GROUP_MIN_SESSION_TIMEOUT": "6s",
}
# Their `getOffsets` calls a function that nobody has set, whatever the broker says: the whole suite would end there. And
# one case wants 12 messages from each of two readers of three partitions with 8 each, which is a matter of luck.
SKIPPED = (
    "-skip=TestReaderConsumerGroup/(verify_offset_committed|verify_offset_committed_when_using_interval_committer|"
    "consumer_group_commits_on_close|consumer_group_rebalance$)"
)


def is_taken():
    with socket.socket() as probe:
        return probe.connect_ex(ADDRESS) == 0


def main():
    options = own_broker_arguments()
    why = golang.missing() or (f"port {ADDRESS[1]} is taken" if is_taken() else None)
    if why:
        print(f"skip all: {why}")
        return 0
    broker = Broker(options.binary, SETTINGS)
    broker.listeners["kafka"] = "{}:{}".format(*ADDRESS)
    with broker:
        return golang.run_suite(os.path.join(HERE, "go"), "github.com/segmentio/kafka-go", variables=VARIABLES, seconds=SECONDS,
                                options=(SKIPPED,))


if __name__ == "__main__":
    sys.exit(main())
