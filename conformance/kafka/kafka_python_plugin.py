"""A pytest plugin that points kafka-python's integration suite at a broker that already runs."""

import os
import sys
import types

import pytest
from kafka import KafkaConsumer


def provide_test_package():
    """The suite imports its helpers from `test`, which the distribution leaves without an `__init__`.

    Without this, Python's own `test` package would be found instead. `test.service` starts brokers as child
    processes; the distribution leaves it out, and with a running broker nothing of it is called.
    """
    package = types.ModuleType("test")
    package.__path__ = [os.path.join(os.environ["PROJECT_ROOT"], "test")]
    service = types.ModuleType("test.service")
    service.ExternalService = ExternalService
    service.SpawnedService = SpawnedService
    sys.modules["test"] = package
    sys.modules["test.service"] = service


class ExternalService:
    """A broker that somebody else starts and stops."""

    def __init__(self, host, port):
        self.host = host
        self.port = port

    def dump_logs(self):
        """The broker's log is shown by the runner."""


class SpawnedService:
    """A broker with other settings than ours, which the suite would start from a Kafka distribution."""

    def __init__(self, *_, **__):
        pytest.skip("needs a Kafka distribution")


def ask_for_metadata_often():
    """A consumer that subscribes while its first metadata request is under way forgets to ask for its topics.

    The client then sleeps until its metadata is too old, five minutes by default: longer than a case waits. No answer
    of a broker can prevent it, as none is asked for, so the client's own setting is made shorter.
    """
    KafkaConsumer.DEFAULT_CONFIG["metadata_max_age_ms"] = 500


provide_test_package()
ask_for_metadata_often()
