"""The suites of py-amqp and of kombu, which is Celery's messaging, from their source distributions."""

import sys

from harness import their_suite
from harness.cases import arguments
from harness.sources import source

TARGETS = {
    "amqp": ("t/integration/test_rmq.py", "t/integration/test_integration.py"),
    "kombu": ("t/integration/test_py_amqp.py",),
}
# Without seconds of waiting.
QUICK = "not TimeToLive and not failed and not direct_routing_keys"


def main():
    options = arguments()
    host, _, port = options.address.rpartition(":")
    codes = [
        their_suite.run(
            source(package),
            "host_and_port_plugin",
            targets,
            only=options.only or (QUICK if options.quick else None),
            environment={"RABBITMQ_HOST": host, "RABBITMQ_5672_TCP": port},
        )
        for package, targets in TARGETS.items()
    ]
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
