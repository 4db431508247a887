"""Other people's Kafka clients and suites against our broker: one line per suite, and one for all of them."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

from harness.suites import Suite, main  # noqa: E402

SUITES = [
    Suite("confluent-kafka", "with_confluent.py"),
    # Its cases write down node 0.
    Suite("kafka-python", "with_kafka_python.py", ours=False, settings={"FOREBAY__KAFKA__NODE_ID": "0"}),
    Suite("kafka-python-admin", "with_kafka_python_admin.py"),
    Suite("aiokafka", "with_aiokafka.py"),
    Suite("kafkajs", "with_kafkajs.js", interpreter="node"),
    Suite("kcat", "with_kcat.py"),
    Suite("go", "with_go.py"),
    Suite("franz-go", "with_franz_go.py", ours=False, full_only=True),
    Suite("java-tools", "with_java_tools.py", full_only=True),
    # Its topics have four partitions when nobody says how many.
    # It takes for granted that topics have four partitions when nobody says how many.
    Suite("librdkafka", "with_librdkafka.py", ours=False, full_only=True,
          settings={"FOREBAY__KAFKA__DEFAULT_PARTITIONS": "4"}),
    Suite("readme", "with_readme.py"),
    # Kills its broker, and therefore starts one itself.
    Suite("packages", "packages.py", own_broker=True),
    # Needs the default port, and therefore starts its broker itself.
    Suite("kafka-go", "with_kafka_go.py", own_broker=True, ours=False, full_only=True),
]

if __name__ == "__main__":
    sys.exit(main(HERE, "kafka", SUITES))
