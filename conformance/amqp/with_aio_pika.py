"""aio-pika's own suite, from its source distribution, against our broker; without the files that need none."""

import sys

from harness import their_suite
from harness.cases import arguments
from harness.sources import source

PACKAGE = "aio-pika"
FILES = (
    "test_amqp.py",
    "test_amqp_robust.py",
    "test_amqp_robust_proxy.py",
    "test_close_notification.py",
    "test_connect.py",
    "test_consumer_cancel_recovery.py",
    "test_consumer_publish_errors.py",
    "test_json_rpc.py",
    "test_master.py",
    "test_robust_binding_identity.py",
    "test_robust_recovery.py",
    "test_rpc.py",
)
# Without minutes of what the client does when its connection is slow, and of one more mixture of its connections.
FULL = "not stairway and not TestCaseNoRobust"
# One of the ways to connect.
QUICK = "test_amqp.py and connect and not connect_robust"


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
