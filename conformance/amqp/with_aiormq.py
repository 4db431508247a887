"""aiormq's own suite, from its source distribution, against our broker; without the files that need none."""

import sys

from harness import their_suite
from harness.cases import arguments
from harness.sources import source

PACKAGE = "aiormq"
FILES = (
    "test_channel.py",
    "test_channel_number.py",
    "test_connection.py",
    "test_consumer_cancel.py",
    "test_consumer_publish.py",
    "test_delivery_error.py",
    "test_late_confirms.py",
    "test_nowait.py",
    "test_protocol_errors.py",
)
# Each case runs with every way to connect; TLS is none yet.
FULL = "not amqps"
QUICK = "test_channel.py and amqp-named and not big"


def main():
    options = arguments()
    return their_suite.run(
        source(PACKAGE),
        "container_plugin",
        [f"tests/{file}" for file in FILES],
        only=options.only or (QUICK if options.quick else FULL),
        environment={"AMQP_ADDRESS": options.address},
        options=("-p", "no:asyncio", "--durations=12"),
    )


if __name__ == "__main__":
    sys.exit(main())
