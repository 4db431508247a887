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
# Without TLS, without minutes of waiting for what the client does when it hears nothing more, and without a message that
# is too large on channels without confirms: whether the case ends before it hears of that is chance.
FULL = "not amqps and not closing_waiter and not writer_closed and not (big_message and (channel2 or channel3))"
QUICK = "test_channel.py and amqp-named and not big"


def main():
    options = arguments()
    return their_suite.run(
        source(PACKAGE),
        "container_plugin",
        [f"tests/{file}" for file in FILES],
        only=options.only or (QUICK if options.quick else FULL),
        environment={"AMQP_ADDRESS": options.address},
        options=("-p", "no:asyncio"),
    )


if __name__ == "__main__":
    sys.exit(main())
