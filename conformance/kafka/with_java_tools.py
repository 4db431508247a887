"""Kafka's own command-line tools, from the Java registry: the classes behind kafka-topics.sh and its neighbours."""

import functools
import os
import re
import subprocess
import sys

from harness import maven
from harness.cases import arguments, case, equal, fresh, main

JARS = ("org.apache.kafka:kafka_2.13:4.4.0", "org.apache.kafka:kafka-tools:4.4.0", "org.slf4j:slf4j-nop:2.0.17")
TOOL_SECONDS = 60
CONFIGS = "ConfigCommand"
CONSOLE_CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer"
GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
REASSIGN = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"


class Tools:
    def __init__(self, address):
        self.address = address
        self.path = os.path.join(maven.jars("kafka", *JARS), "*")

    def run(self, tool, *options, given=None, fails=False, server_last=False):
        """What the tool printed, without the logging library's greeting."""
        name = tool if "." in tool else f"org.apache.kafka.tools.{tool}"
        server = ("--bootstrap-server", self.address)
        line = (*options, *server) if server_last else (*server, *options)
        done = subprocess.run(
            ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-cp", self.path, name, *line],
            input=given, capture_output=True, text=True, timeout=TOOL_SECONDS,
        )
        said = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("SLF4J"))
        equal((done.returncode != 0, said if (done.returncode != 0) != fails else ""), (fails, ""))
        return said

    def topic(self, *options):
        name = fresh("topic")
        equal(self.run("TopicCommand", "--create", "--topic", name, *options), f"Created topic {name}.")
        return name


tools_at = functools.cache(Tools)


@case
def topics_are_created_listed_described_and_deleted(it):
    name = it.topic("--partitions", "3", "--config", "retention.ms=3600000")
    assert name in it.run("TopicCommand", "--list").splitlines()
    said = it.run("TopicCommand", "--describe", "--topic", name)
    assert re.search(rf"Topic: {name}\s.*PartitionCount: 3\s+ReplicationFactor: 1\s+Configs: .*retention.ms=3600000", said), said
    equal(len(re.findall(r"Partition: \d\s+Leader: 1\s+Replicas: 1\s+Isr: 1\s+Elr:\s+LastKnownElr:", said)), 3)
    it.run("TopicCommand", "--delete", "--topic", name)
    assert name not in it.run("TopicCommand", "--list").splitlines()


@case
def a_topic_is_made_once(it):
    name = it.topic()
    assert f"Topic '{name}' already exists." in it.run("TopicCommand", "--create", "--topic", name, fails=True)
    it.run("TopicCommand", "--create", "--if-not-exists", "--topic", name)


@case
def partitions_are_added(it):
    name = it.topic()
    it.run("TopicCommand", "--alter", "--topic", name, "--partitions", "4")
    assert "PartitionCount: 4" in it.run("TopicCommand", "--describe", "--topic", name)


@case
def topic_configs_are_altered(it):
    name = it.topic()
    entity = ("--entity-type", "topics", "--entity-name", name)
    it.run(CONFIGS, *entity, "--alter", "--add-config", "max.message.bytes=2000,cleanup.policy=[compact,delete]")
    said = it.run(CONFIGS, *entity, "--describe")
    assert "max.message.bytes=2000" in said and "cleanup.policy=compact,delete" in said, said
    it.run(CONFIGS, *entity, "--alter", "--delete-config", "max.message.bytes")
    assert "max.message.bytes" not in it.run(CONFIGS, *entity, "--describe")


@case(full_only=True)
def broker_and_group_configs_are_described(it):
    said = it.run(CONFIGS, "--entity-type", "brokers", "--entity-name", "1", "--describe", "--all")
    assert "num.partitions=1" in said, said
    it.run(CONFIGS, "--entity-type", "brokers", "--entity-default", "--describe")
    it.run(CONFIGS, "--entity-type", "groups", "--entity-name", "some", "--describe")


@case
def console_producer_to_console_consumer(it):
    name = it.topic()
    it.run("ConsoleProducer", "--topic", name, "--reader-property", "parse.key=true", "--reader-property", "key.separator=:",
           given="a:one\nb:two\n")
    said = it.run(CONSOLE_CONSUMER, "--topic", name, "--from-beginning", "--max-messages", "2", "--formatter-property", "print.key=true")
    assert "a\tone" in said and "b\ttwo" in said and "Processed a total of 2 messages" in said, said


@case
def groups_are_described_reset_and_deleted(it):
    name, group = it.topic("--partitions", "2"), fresh("group")
    it.run("ConsoleProducer", "--topic", name, given="1\n2\n3\n")
    it.run(CONSOLE_CONSUMER, "--topic", name, "--group", group, "--from-beginning", "--max-messages", "3")
    assert group in it.run(GROUPS, "--list").splitlines()
    said = it.run(GROUPS, "--describe", "--group", group)
    assert re.search(rf"{group}\s+{name}\s+\d\s+\d\s+\d\s+0\s", said), said
    assert re.search(r"\sEmpty\s+0", it.run(GROUPS, "--describe", "--group", group, "--state"))
    said = it.run(GROUPS, "--group", group, "--topic", name, "--reset-offsets", "--to-earliest", "--execute")
    equal(len(re.findall(rf"{group}\s+{name}\s+\d\s+0", said)), 2)
    it.run(GROUPS, "--delete", "--group", group)
    assert group not in it.run(GROUPS, "--list").splitlines()


@case
def offsets_are_asked_for(it):
    name = it.topic()
    it.run("ConsoleProducer", "--topic", name, given="1\n2\n3\n")
    for time, offset in (("-1", "3"), ("earliest", "0"), ("max-timestamp", None)):
        said = it.run("GetOffsetShell", "--topic", name, "--time", time)
        assert said.startswith(f"{name}:0:"), said
        assert offset is None or said == f"{name}:0:{offset}", said


@case(full_only=True)
def records_are_deleted(it):
    name = it.topic()
    it.run("ConsoleProducer", "--topic", name, given="1\n2\n3\n")
    wanted = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"{name}.json")
    with open(wanted, "w", encoding="utf-8") as file:
        file.write(f'{{"partitions": [{{"topic": "{name}", "partition": 0, "offset": 2}}], "version": 1}}')
    try:
        assert "low_watermark: 2" in it.run("DeleteRecordsCommand", "--offset-json-file", wanted)
    finally:
        os.remove(wanted)
    equal(it.run("GetOffsetShell", "--topic", name, "--time", "-2"), f"{name}:0:2")


@case(full_only=True)
def log_dirs_and_leaders(it):
    name = it.topic()
    said = it.run("LogDirsCommand", "--describe", "--topic-list", name)
    assert f'"partition":"{name}-0"' in said, said
    said = it.run("LeaderElectionCommand", "--election-type", "preferred", "--topic", name, "--partition", "0")
    assert "Valid replica already elected for partitions" in said, said


@case(full_only=True)
def reassignments_are_listed_and_refused(it):
    assert "No partition reassignments found." in it.run(REASSIGN, "--list")


@case(full_only=True)
def cluster_versions_and_features(it):
    assert it.run("ClusterTool", "cluster-id", server_last=True).startswith("Cluster ID: ")
    said = it.run("BrokerApiVersionsCommand")
    assert "Produce(0): 0 to" in said and "ERROR" not in said, said
    it.run("FeatureCommand", "describe")


@case(full_only=True)
def producers_and_transactions_are_listed(it):
    name = it.topic()
    it.run("ConsoleProducer", "--topic", name, given="1\n")
    said = it.run("TransactionsCommand", "describe-producers", "--topic", name, "--partition", "0")
    assert "ProducerId" in said, said


@case(full_only=True)
def performance_tools_count_every_record(it):
    name = it.topic("--partitions", "2")
    said = it.run("ProducerPerformance", "--topic", name, "--num-records", "20000", "--record-size", "200", "--throughput", "-1",
                  "--command-property", "compression.type=lz4")
    assert "20000 records sent" in said, said
    said = it.run("ConsumerPerformance", "--topic", name, "--num-records", "20000", "--timeout", "20000")
    assert re.search(r", 20000, ", said), said


@case(full_only=True)
def verifiable_producer_and_consumer(it):
    name = it.topic("--partitions", "3")
    said = it.run("VerifiableProducer", "--topic", name, "--max-messages", "500", "--throughput", "-1")
    assert '"acked":500' in said, said
    said = it.run("VerifiableConsumer", "--topic", name, "--group-id", fresh("group"), "--max-messages", "500",
                  "--reset-policy", "earliest")
    assert '"count":' in said, said


if __name__ == "__main__":
    if why := maven.missing():
        print(f"skip all: {why}")
        sys.exit(0)
    arguments()
    main(lambda function, address: function(tools_at(address)), at_once=2)
