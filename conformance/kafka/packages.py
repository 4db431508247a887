"""Real records through crashes: this machine's installed packages, a broker killed five times, every record once.

Every paragraph of dpkg's status file is produced (idempotent, acknowledged by all), keyed by its package, while the
broker is killed and started again on the same data and ports. A group of three reads along; a fourth member joins
and one leaves midway. In the end each record must be at exactly one offset, byte by byte what was produced, and each
key's records in the order they were produced.
"""

import argparse
import collections
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from harness import cases
from harness.broker import Broker

STATUS = "/var/lib/dpkg/status"
RECORDS_MIN = 6000
PARTITIONS = 12
KILLS = 5
PRODUCING_SECONDS = 8
SECONDS_MAX = 150
HEADER = "round"


def paragraphs():
    """(package, paragraph) for every package of the machine."""
    with open(STATUS, "rb") as status:
        found = [paragraph for paragraph in status.read().split(b"\n\n") if paragraph.strip()]
    packages = []
    for paragraph in found:
        fields = dict(line.split(b": ", 1) for line in paragraph.split(b"\n") if b": " in line[:40])
        packages.append((fields[b"Package"], paragraph))
    return packages


def records():
    """(key, value, round): a small machine's packages are produced several times, told apart by a header."""
    packages = paragraphs()
    rounds = -(-RECORDS_MIN // len(packages))
    return [(key, value, b"%d" % number) for number in range(rounds) for key, value in packages]


class Members:
    """A group of consumers, each with its own thread; what they read is kept by partition and offset."""

    def __init__(self, bootstrap, group, topic):
        self.bootstrap = bootstrap
        self.group = group
        self.topic = topic
        self.lock = threading.Lock()
        self.seen = {}
        self.deliveries = 0
        self.rebalances = 0
        self.faults = []
        self.running = []

    def join(self):
        leave = threading.Event()
        thread = threading.Thread(target=self._consume, args=(leave,), daemon=True)
        self.running.append((thread, leave))
        thread.start()

    def leave(self):
        """The member that has been there longest goes."""
        thread, leave = self.running.pop(0)
        leave.set()
        thread.join(30)

    def _consume(self, leave):
        consumer = Consumer({
            "bootstrap.servers": self.bootstrap,
            "group.id": self.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            "reconnect.backoff.max.ms": 500,
            "partition.assignment.strategy": "cooperative-sticky",
        })
        consumer.subscribe([self.topic], on_assign=self._rebalanced, on_revoke=self._rebalanced)
        while not leave.is_set():
            messages = [message for message in consumer.consume(200, timeout=0.2) if not message.error()]
            self._keep(messages)
            if messages:
                try:
                    consumer.commit(asynchronous=True)
                except KafkaException:
                    # The broker is away: what is not committed is delivered again, and counted as such.
                    pass
        consumer.close()

    def _rebalanced(self, _, partitions):
        with self.lock:
            self.rebalances += 1

    def _keep(self, messages):
        with self.lock:
            for message in messages:
                place = (message.partition(), message.offset())
                record = (message.key(), message.value(), dict(message.headers())[HEADER])
                self.deliveries += 1
                if self.seen.setdefault(place, record) != record:
                    self.faults.append(f"two different records at {place}")


class Production:
    """Produces everything at an even pace and remembers what was acknowledged where."""

    def __init__(self, bootstrap, topic, wanted):
        self.topic = topic
        self.wanted = wanted
        self.acknowledged = {}
        self.faults = []
        self.producer = Producer({
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "compression.type": "lz4",
            "reconnect.backoff.max.ms": 500,
            "message.timeout.ms": SECONDS_MAX * 1000,
        })
        self.thread = threading.Thread(target=self._produce, daemon=True)

    def _produce(self):
        for number, (key, value, in_round) in enumerate(self.wanted):
            self.producer.produce(
                self.topic, value, key, headers=[(HEADER, in_round)], on_delivery=self._reporter(number)
            )
            if number % 50 == 49:
                self.producer.poll(0)
                time.sleep(PRODUCING_SECONDS * 50 / len(self.wanted))
        if self.producer.flush(SECONDS_MAX):
            self.faults.append("not everything was acknowledged in time")

    def _reporter(self, number):
        def report(error, message):
            if error:
                self.faults.append(f"record {number}: {error}")
            else:
                self.acknowledged[number] = (message.partition(), message.offset())

        return report


def faults_of(wanted, acknowledged, seen):
    """What is wrong with the records read, compared with those produced."""
    faults = []
    for number, record in enumerate(wanted):
        place = acknowledged.get(number)
        if seen.get(place) != record:
            faults.append(f"record {number} ({record[0]!r}) is not where it was acknowledged: {place}")
    copies = collections.Counter(seen.values())
    produced = collections.Counter(wanted)
    wrong = [record for record in copies if copies[record] != produced[record]]
    faults += [f"{record[0]!r} is at {copies[record]} offsets" for record in wrong]
    for partition in range(PARTITIONS):
        offsets = sorted(offset for at, offset in seen if at == partition)
        if offsets != list(range(len(offsets))):
            faults.append(f"partition {partition} has gaps")
    orders = collections.defaultdict(list), collections.defaultdict(list)
    for record in wanted:
        orders[0][record[0]].append(record)
    for place in sorted(seen):
        orders[1][seen[place][0]].append(seen[place])
    faults += [f"{key!r} is out of order" for key in orders[0] if orders[0][key] != orders[1][key]]
    return faults


def run(broker):
    """Says what was done; returns what went wrong."""
    wanted, topic, group = records(), cases.fresh("packages"), cases.fresh("group")
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
    began = time.monotonic()
    members = Members(broker.bootstrap, group, topic)
    for _ in range(3):
        members.join()
    production = Production(broker.bootstrap, topic, wanted)
    production.thread.start()
    for kill in range(1, KILLS + 1):
        # Spread over the production, so that every kill meets requests in flight and a broker that has served some.
        while len(production.acknowledged) < len(wanted) * kill // (KILLS + 1) and production.thread.is_alive():
            time.sleep(0.005)
        broker.restart()
        if kill == 2:
            members.join()
        if kill == 4:
            members.leave()
    production.thread.join(SECONDS_MAX)
    deadline = time.monotonic() + 60
    while len(members.seen) < len(wanted) and time.monotonic() < deadline:
        time.sleep(0.1)
    # Long enough for a record too many to show up.
    time.sleep(1)
    while members.running:
        members.leave()
    faults = production.faults + members.faults + faults_of(wanted, production.acknowledged, members.seen)
    print(
        f"# {len(wanted)} records of {len({key for key, _, _ in wanted})} packages, {KILLS} kills,"
        f" {members.rebalances} assignments and revocations, {members.deliveries - len(members.seen)} delivered again,"
        f" {len(members.seen)} offsets, {time.monotonic() - began:.1f} s: {'wrong' if faults else 'right'}",
        flush=True,
    )
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    with Broker(parser.parse_args().binary) as broker:
        faults = run(broker)
        if broker.stop() != 0:
            faults.append("the broker did not exit with 0")
        faults += broker.alarms()
        if faults:
            print(broker.log())
    for fault in faults[:20]:
        print(f"# {fault}")
    name = "every_package_once_through_five_kills"
    print(f"not ok {name}: {len(faults)} faults, first: {faults[0]}" if faults else f"ok {name}", flush=True)


if __name__ == "__main__":
    main()
