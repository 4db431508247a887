"""Apache Kafka itself, from the Java registry, as one node on free ports; and the recorder that asks both."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid

from harness import maven

HERE = os.path.dirname(os.path.abspath(__file__))
# The broker itself, and its command-line tools.
ARTIFACTS = ("org.apache.kafka:kafka_2.13:4.4.0", "org.apache.kafka:kafka-tools:4.4.0", "org.slf4j:slf4j-nop:2.0.17")
START_SECONDS, RECORD_SECONDS = 60, 900


def missing():
    """Why this cannot run here; nothing when it can."""
    return maven.missing()


def jars():
    """The folder with the broker, its command-line tools and all they need."""
    return maven.jars("kafka", *ARTIFACTS)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Kafka:
    """One node of Apache Kafka, broker and controller in one process."""

    def __init__(self):
        self.classpath = os.path.join(jars(), "*")
        self.folder = tempfile.mkdtemp(prefix="forebay-differ-kafka-")
        self.process = None
        self.address = None

    def __enter__(self):
        broker, controller = free_ports(2)
        self.address = f"127.0.0.1:{broker}"
        settings = os.path.join(self.folder, "server.properties")
        with open(settings, "w", encoding="utf-8") as file:
            file.write(_settings(broker, controller, os.path.join(self.folder, "data")))
        cluster = uuid.uuid4().hex[:22]
        self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", settings)
        with open(os.path.join(self.folder, "log"), "wb") as log:
            self.process = subprocess.Popen(
                ["java", "-Xmx512m", "-cp", self.classpath, "kafka.Kafka", settings],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        self._await(broker)
        return self

    def _java(self, *command):
        subprocess.run(["java", "-cp", self.classpath, *command], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=START_SECONDS)

    def _await(self, port):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"Apache Kafka did not start; see {self.folder}/log")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _settings(broker, controller, data):
    return f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
"""


def record(address):
    """Everything the broker at this address answered, line by line."""
    done = subprocess.run(
        ["java", "-Xmx256m", "-cp", os.path.join(jars(), "*"), os.path.join(HERE, "kafka", "Recorder.java"), address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=RECORD_SECONDS,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the recorder failed: {done.stderr[-2000:]}")
    return done.stdout.splitlines()


real = Kafka
SETTINGS = {}
