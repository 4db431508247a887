"""A pytest plugin for the suites of py-amqp and kombu, which take the broker's address from the environment.

Their marks are declared in files that their distributions leave out.
"""

import os

import amqp
import pytest

# A case of kombu's leaves its messages in here, and finds them again when the broker is not new.
LEFT_BEHIND = "priority_requeue_test"


def pytest_configure(config):
    config.addinivalue_line("markers", "env(name): where a case runs")
    config.addinivalue_line("markers", "flaky(reruns, reruns_delay): how often a case may fail")


def pytest_sessionstart():
    with amqp.Connection(f"{os.environ['RABBITMQ_HOST']}:{os.environ['RABBITMQ_5672_TCP']}") as connection:
        connection.channel().queue_delete(LEFT_BEHIND)


def pytest_collection_modifyitems(items):
    for item in items:
        if "tls" in item.name:
            item.add_marker(pytest.mark.skip(reason="needs TLS"))
