"""A pytest plugin for suites that start a broker in a container: they get the broker that already runs.

What such a suite knows of containers is in its `tests.docker_client`, which is ours here.
"""

import os
import sys
import types

import pytest
from yarl import URL

HOST, _, PORT = os.environ["AMQP_ADDRESS"].rpartition(":")
# Where nothing answers; what would use it is skipped below.
NO_TLS = 1


class ContainerInfo:
    id = "none"
    host = HOST
    ports = {"5672/tcp": int(PORT), "5671/tcp": NO_TLS}


class DockerClient:
    def __init__(self, *_):
        pass

    def run(self, image, ports, environment=None):
        if image != "mosquito/aiormq-rabbitmq":
            pytest.skip("starts and stops a broker of its own")
        return ContainerInfo()

    def kill(self, container):
        """The broker outlives the suite."""

    remove = kill


def provide():
    module = types.ModuleType("tests.docker_client")
    module.ContainerInfo = ContainerInfo
    module.DockerClient = DockerClient
    module.DockerHostInfo = object
    module.DockerNotAvailableError = OSError
    module.check_docker_available = lambda: None
    sys.modules["tests.docker_client"] = module


def pytest_collection_modifyitems(items):
    for item in items:
        if "amqps" in item.nodeid or "ssl" in item.name:
            item.add_marker(pytest.mark.skip(reason="needs TLS"))
        if any(word in item.name for word in ("stop_app", "kill", "broker_restart")):
            item.add_marker(pytest.mark.skip(reason="restarts its broker"))


# A distribution that leaves these out needs them from here.
@pytest.fixture(scope="session")
def rabbitmq_container():
    return ContainerInfo()


@pytest.fixture(scope="session")
def amqp_direct_url(rabbitmq_container):
    return URL.build(
        scheme="amqp", user="guest", password="guest", path="//", host=HOST, port=rabbitmq_container.ports["5672/tcp"]
    )


provide()
