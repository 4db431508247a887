"""A pytest plugin for the suites of py-amqp and kombu, which take the broker's address from the environment.

Their marks are declared in files that their distributions leave out.
"""

import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "env(name): where a case runs")
    config.addinivalue_line("markers", "flaky(reruns, reruns_delay): how often a case may fail")


def pytest_collection_modifyitems(items):
    for item in items:
        if "tls" in item.name:
            item.add_marker(pytest.mark.skip(reason="needs TLS"))
