"""confluent-kafka (librdkafka): what a producer, a consumer, a group and an administrator rely on."""

import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)
from harness.cases import case, equal, eventually, fresh, main

SECONDS = 30


class Cluster:
    """Clients of one broker, closed when the case ends."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.consumers = []
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def topic(self, partitions=1, **config):
        # Cases write records that look years old; retention must not take them away while they are read.
        config = {"retention_ms": "-1"} | config
        name = fresh("topic")
        done(self.admin.create_topics([NewTopic(name, partitions, 1, config=dotted(config))]))
        return name

    def producer(self, **config):
        return Producer({"bootstrap.servers": self.bootstrap} | dotted(config))

    def consumer(self, group=None, **config):
        defaults = {
            "bootstrap.servers": self.bootstrap,
            "group.id": group or fresh("group"),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "session.timeout.ms": 6000,
            "heartbeat.interval.ms": 500,
            # A fetch that waits keeps a consumer from closing.
            "fetch.wait.max.ms": 50,
        }
        consumer = Consumer(defaults | dotted(config))
        self.consumers.append(consumer)
        return consumer

    def fill(self, topic, count, partition=0, **config):
        """Produces `count` numbered records and returns them."""
        values = [b"%d" % number for number in range(count)]
        send(self.producer(**config), [(topic, partition, None, value) for value in values])
        return values

    def close(self):
        for consumer in self.consumers:
            consumer.close()


def dotted(config):
    """Settings have dots in their names, callbacks have not."""
    return {key if callable(value) else key.replace("_", "."): value for key, value in config.items()}


def done(futures):
    """Waits for an administrator's futures; returns their results by key."""
    return {key: future.result(SECONDS) for key, future in futures.items()}


def refused(code, call):
    """The call must fail, and with this error."""
    try:
        call()
    except KafkaException as error:
        equal(error.args[0].name(), KafkaError(code).name())
    else:
        raise AssertionError(f"not refused with {KafkaError(code).name()}")


def send(producer, records):
    """Produces (topic, partition, key, value) and returns the acknowledged messages."""
    acknowledged, errors = [], []

    def report(error, message):
        errors.append(error) if error else acknowledged.append(message)

    for topic, partition, key, value in records:
        producer.produce(topic, value, key, partition, on_delivery=report)
    equal(producer.flush(SECONDS), 0)
    if errors:
        raise KafkaException(errors[0])
    return acknowledged


def read(consumer, count, seconds=SECONDS):
    """Exactly `count` records, or fewer when they do not come in time."""
    messages, deadline = [], time.monotonic() + seconds
    while len(messages) < count and time.monotonic() < deadline:
        for message in consumer.consume(count - len(messages), timeout=0.5):
            if message.error():
                raise KafkaException(message.error())
            messages.append(message)
    return messages


def values(messages):
    return [message.value() for message in messages]


def assigned(consumer, seconds=SECONDS):
    """Polls until the consumer has partitions; what it reads on the way is given back by a seek."""
    deadline = time.monotonic() + seconds
    while not consumer.assignment():
        assert time.monotonic() < deadline, "no assignment"
        message = consumer.poll(0.1)
        if message and not message.error():
            consumer.seek(TopicPartition(message.topic(), message.partition(), message.offset()))
    return consumer.assignment()


def partitions_of(consumer):
    return {partition.partition for partition in consumer.assignment()}


def await_spread(consumers, count):
    """Polls all of them until they own `count` partitions without overlap, each at least one."""

    def spread():
        for consumer in consumers:
            consumer.poll(0.05)
        owned = [partitions_of(consumer) for consumer in consumers]
        return all(owned) and sum(map(len, owned)) == count == len(set().union(*owned))

    eventually(spread, seconds=SECONDS, pause=0)


# Producing.


@case
def produce_and_consume_with_key_headers_and_timestamp(cluster):
    topic, producer = cluster.topic(), cluster.producer()
    headers = [("trace", b"\x00\xff"), ("empty", b""), ("none", None), ("trace", b"again")]
    producer.produce(topic, b"value", b"key", timestamp=1_700_000_000_123, headers=headers)
    producer.produce(topic, None, b"tombstone")
    equal(producer.flush(SECONDS), 0)
    consumer = cluster.consumer()
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    first, second = read(consumer, 2)
    equal((first.key(), first.value(), first.headers()), (b"key", b"value", headers))
    equal(first.timestamp()[1], 1_700_000_000_123)
    equal((second.key(), second.value()), (b"tombstone", None))


@case
def every_codec_idempotent_and_acknowledged_by_all(cluster):
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = cluster.topic()
        expected = cluster.fill(topic, 1000, compression_type=codec, enable_idempotence=True, acks="all")
        consumer = cluster.consumer()
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        messages = read(consumer, 1000)
        equal(values(messages), expected)
        equal([message.offset() for message in messages], list(range(1000)))


@case(full_only=True)
def every_acknowledgement_level(cluster):
    topic = cluster.topic()
    for acks in ("0", "1", "all"):
        cluster.fill(topic, 10, acks=acks)
    consumer = cluster.consumer()
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    equal(len(read(consumer, 30)), 30)


@case
def an_idempotent_producer_with_many_small_batches_keeps_its_order(cluster):
    topic = cluster.topic(4)
    producer = cluster.producer(enable_idempotence=True, batch_num_messages=3, linger_ms=0)
    records = [(topic, number % 4, None, b"%d" % number) for number in range(2000)]
    acknowledged = send(producer, records)
    for partition in range(4):
        offsets = [message.offset() for message in acknowledged if message.partition() == partition]
        equal(offsets, list(range(500)))


@case
def large_messages_up_to_the_limit_and_not_beyond(cluster):
    topic, small = cluster.topic(max_message_bytes="4000000"), cluster.topic()
    large = bytes(range(256)) * 15_000
    producer = cluster.producer(message_max_bytes=10_000_000)
    send(producer, [(topic, 0, None, large)])
    consumer = cluster.consumer(fetch_message_max_bytes=100_000)
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    equal(values(read(consumer, 1)), [large])
    refused(KafkaError.MSG_SIZE_TOO_LARGE, lambda: send(producer, [(small, 0, None, large)]))


@case
def log_append_time_is_the_brokers(cluster):
    topic = cluster.topic(message_timestamp_type="LogAppendTime")
    producer = cluster.producer()
    producer.produce(topic, b"x", timestamp=1000)
    equal(producer.flush(SECONDS), 0)
    consumer = cluster.consumer()
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    kind, stamp = read(consumer, 1)[0].timestamp()
    equal(kind, 2)
    assert abs(stamp / 1000 - time.time()) < 60, stamp


@case
def topics_are_made_when_first_named(cluster):
    topic = fresh("made")
    cluster.fill(topic, 3, partition=0)
    consumer = cluster.consumer()
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    equal(len(read(consumer, 3)), 3)


@case
def transactions_are_refused_and_not_pretended(cluster):
    producer = cluster.producer(transactional_id=fresh("transaction"), transaction_timeout_ms=5000)
    refused(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, lambda: producer.init_transactions(SECONDS))


# Reading by offset.


@case
def assign_seek_and_watermarks(cluster):
    topic = cluster.topic()
    expected = cluster.fill(topic, 100)
    consumer = cluster.consumer()
    partition = TopicPartition(topic, 0)
    equal(consumer.get_watermark_offsets(partition, SECONDS), (0, 100))
    consumer.assign([TopicPartition(topic, 0, 90)])
    equal(values(read(consumer, 10)), expected[90:])
    consumer.seek(TopicPartition(topic, 0, 5))
    equal(values(read(consumer, 5)), expected[5:10])
    equal(consumer.position([partition])[0].offset, 10)
    consumer.seek(TopicPartition(topic, 0, OFFSET_END))
    equal(read(consumer, 1, seconds=1), [])
    equal(consumer.get_watermark_offsets(partition, SECONDS, cached=True)[1], 100)


@case
def offsets_for_times(cluster):
    topic, producer = cluster.topic(), cluster.producer()
    for number in range(10):
        producer.produce(topic, b"x", timestamp=1_700_000_000_000 + number * 1000)
        producer.flush(SECONDS)
    consumer = cluster.consumer()

    def at(stamp):
        return consumer.offsets_for_times([TopicPartition(topic, 0, stamp)], SECONDS)[0].offset

    equal(at(0), 0)
    equal(at(1_700_000_004_000), 4)
    equal(at(1_700_000_004_001), 5)
    equal(at(1_700_000_099_000), OFFSET_END)


@case
def an_offset_out_of_range_is_reported_or_reset(cluster):
    topic = cluster.topic()
    cluster.fill(topic, 10)
    strict = cluster.consumer(auto_offset_reset="error")
    strict.assign([TopicPartition(topic, 0, 1000)])
    refused(KafkaError._AUTO_OFFSET_RESET, lambda: read(strict, 1))
    lenient = cluster.consumer()
    lenient.assign([TopicPartition(topic, 0, 1000)])
    equal(len(read(lenient, 10)), 10)


@case
def a_waiting_fetch_wakes_up_when_a_record_arrives(cluster):
    topic = cluster.topic()
    consumer = cluster.consumer(fetch_wait_max_ms=20_000, fetch_min_bytes=1)
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    equal(read(consumer, 1, seconds=1), [])
    began = time.monotonic()
    cluster.fill(topic, 1)
    equal(len(read(consumer, 1)), 1)
    assert time.monotonic() - began < 5, "the fetch slept on"


@case
def read_committed_reads_everything_that_is_no_transaction(cluster):
    topic = cluster.topic()
    expected = cluster.fill(topic, 10)
    consumer = cluster.consumer(isolation_level="read_committed")
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    equal(values(read(consumer, 10)), expected)


@case(full_only=True)
def pause_and_resume(cluster):
    topic = cluster.topic(2)
    cluster.fill(topic, 10, partition=0)
    cluster.fill(topic, 10, partition=1)
    consumer = cluster.consumer()
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in (0, 1)])
    consumer.pause([TopicPartition(topic, 0)])
    equal({message.partition() for message in read(consumer, 20, seconds=2)}, {1})
    consumer.resume([TopicPartition(topic, 0)])
    equal({message.partition() for message in read(consumer, 10)}, {0})


@case
def two_hundred_partitions_at_once(cluster):
    topic = cluster.topic(200)
    send(cluster.producer(), [(topic, number % 200, None, b"%d" % number) for number in range(2000)])
    consumer = cluster.consumer()
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(200)])
    equal(sorted(int(value) for value in values(read(consumer, 2000))), list(range(2000)))


@case
def a_consumer_is_told_that_its_topic_is_gone(cluster):
    topic, consumer = cluster.topic(), cluster.consumer(topic_metadata_refresh_interval_ms=300)
    cluster.fill(topic, 3)
    consumer.subscribe([topic])
    equal(len(read(consumer, 3)), 3)
    done(cluster.admin.delete_topics([topic]))

    def told():
        message = consumer.poll(0.1)
        return message and message.error() and message.error().code() == KafkaError.UNKNOWN_TOPIC_OR_PART

    eventually(told, pause=0)
    done(cluster.admin.create_topics([NewTopic(topic, 1, 1)]))
    expected = cluster.fill(topic, 5)
    consumer.close()
    cluster.consumers.remove(consumer)
    again = cluster.consumer()
    again.subscribe([topic])
    equal(values(read(again, 5)), expected)


@case
def an_idempotent_producer_outlives_its_topic(cluster):
    topic, producer = cluster.topic(), cluster.producer(enable_idempotence=True, topic_metadata_refresh_interval_ms=300)
    send(producer, [(topic, 0, None, b"old")] * 3)
    done(cluster.admin.delete_topics([topic]))
    # The topic comes back when the producer asks for it, with the same name and nothing of the old one.
    eventually(lambda: topic in cluster.admin.list_topics(timeout=SECONDS).topics or producer.poll(0.1))
    equal([message.offset() for message in send(producer, [(topic, 0, None, b"new")] * 3)], [0, 1, 2])


# Groups.


@case
def a_group_resumes_after_its_synchronous_commit(cluster):
    topic, group = cluster.topic(), fresh("group")
    expected = cluster.fill(topic, 20)
    first = cluster.consumer(group)
    first.subscribe([topic])
    messages = read(first, 12)
    equal(first.commit(message=messages[-1], asynchronous=False)[0].offset, 12)
    first.close()
    second = cluster.consumer(group)
    second.subscribe([topic])
    equal(values(read(second, 8)), expected[12:])
    equal(second.committed([TopicPartition(topic, 0)], SECONDS)[0].offset, 12)


@case
def asynchronous_commits_report_and_carry_metadata(cluster):
    topic, group, reports = cluster.topic(), fresh("group"), []
    cluster.fill(topic, 5)
    consumer = cluster.consumer(group, on_commit=lambda *report: reports.append(report))
    consumer.subscribe([topic])
    read(consumer, 5)
    consumer.commit(offsets=[TopicPartition(topic, 0, 3, metadata="half way")], asynchronous=True)

    def reported():
        consumer.poll(0.1)
        return reports

    error, offsets = eventually(reported)[0]
    equal((error, offsets[0].offset, offsets[0].error), (None, 3, None))
    committed = consumer.committed([TopicPartition(topic, 0)], SECONDS)[0]
    equal((committed.offset, committed.metadata), (3, "half way"))


@case
def stored_offsets_are_committed_automatically(cluster):
    topic, group = cluster.topic(), fresh("group")
    cluster.fill(topic, 10)
    consumer = cluster.consumer(
        group, enable_auto_commit=True, enable_auto_offset_store=False, auto_commit_interval_ms=200
    )
    consumer.subscribe([topic])
    messages = read(consumer, 10)
    consumer.store_offsets(message=messages[6])

    def committed():
        consumer.poll(0.1)
        return consumer.committed([TopicPartition(topic, 0)], SECONDS)[0].offset == 7

    eventually(committed)


def spread_and_shrink(cluster, strategy):
    topic, group = cluster.topic(6), fresh("group")
    config = {"partition_assignment_strategy": strategy}
    first = cluster.consumer(group, **config)
    first.subscribe([topic])
    await_spread([first], 6)
    second, third = cluster.consumer(group, **config), cluster.consumer(group, **config)
    second.subscribe([topic])
    third.subscribe([topic])
    await_spread([first, second, third], 6)
    equal(sorted(len(partitions_of(consumer)) for consumer in (first, second, third)), [2, 2, 2])
    second.close()
    cluster.consumers.remove(second)
    await_spread([first, third], 6)


@case
def eager_rebalance_spreads_and_shrinks(cluster):
    for strategy in ("range", "roundrobin"):
        spread_and_shrink(cluster, strategy)


@case
def cooperative_rebalance_spreads_and_shrinks(cluster):
    spread_and_shrink(cluster, "cooperative-sticky")


@case(full_only=True)
def cooperative_rebalance_keeps_what_need_not_move(cluster):
    topic, group, revoked = cluster.topic(6), fresh("group"), []
    config = {"partition_assignment_strategy": "cooperative-sticky"}
    first = cluster.consumer(group, **config)
    first.subscribe([topic], on_revoke=lambda _, partitions: revoked.extend(partitions))
    await_spread([first], 6)
    second = cluster.consumer(group, **config)
    second.subscribe([topic])
    await_spread([first, second], 6)
    equal(len(revoked), 3)


@case
def a_static_member_comes_back_without_a_rebalance(cluster):
    topic, group, moves = cluster.topic(4), fresh("group"), []
    config = {"session_timeout_ms": 20_000}
    stays = cluster.consumer(group, group_instance_id="stays", **config)
    stays.subscribe([topic], on_assign=lambda _, partitions: moves.append(partitions))
    leaves = cluster.consumer(group, group_instance_id="leaves", **config)
    leaves.subscribe([topic])
    await_spread([stays, leaves], 4)
    before, moves_before = partitions_of(leaves), len(moves)
    leaves.close()
    cluster.consumers.remove(leaves)
    back = cluster.consumer(group, group_instance_id="leaves", **config)
    back.subscribe([topic])
    await_spread([stays, back], 4)
    equal(partitions_of(back), before)
    equal(len(moves), moves_before)


@case
def a_second_holder_of_a_static_name_fences_the_first(cluster):
    topic, group = cluster.topic(), fresh("group")
    first = cluster.consumer(group, group_instance_id="only")
    first.subscribe([topic])
    assigned(first)
    second = cluster.consumer(group, group_instance_id="only")
    second.subscribe([topic])
    assigned(second)

    def fenced():
        message = first.poll(0.1)
        code = message.error().code() if message and message.error() else None
        return code in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID)

    eventually(fenced)


@case(full_only=True)
def a_silent_member_is_missed_after_its_session(cluster):
    topic, group = cluster.topic(2), fresh("group")
    silent = cluster.consumer(group, max_poll_interval_ms=6000)
    silent.subscribe([topic])
    assigned(silent)
    # It goes on sending heartbeats, but never polls again: its own limit makes it leave.
    present = cluster.consumer(group)
    present.subscribe([topic])
    await_spread([present], 2)


@case
def a_pattern_subscription_finds_topics_made_later(cluster):
    prefix = fresh("pattern")
    done(cluster.admin.create_topics([NewTopic(f"{prefix}-a", 1, 1)]))
    consumer = cluster.consumer(topic_metadata_refresh_interval_ms=300)
    consumer.subscribe([f"^{prefix}-.*"])
    assigned(consumer)
    done(cluster.admin.create_topics([NewTopic(f"{prefix}-b", 1, 1)]))

    def both():
        consumer.poll(0.1)
        return {partition.topic for partition in consumer.assignment()} == {f"{prefix}-a", f"{prefix}-b"}

    eventually(both)


@case
def a_group_takes_over_added_partitions(cluster):
    topic = cluster.topic(2)
    consumer = cluster.consumer(topic_metadata_refresh_interval_ms=300)
    consumer.subscribe([topic])
    await_spread([consumer], 2)
    done(cluster.admin.create_partitions([NewPartitions(topic, 5)]))
    await_spread([consumer], 5)
    cluster.fill(topic, 1, partition=4)
    equal(read(consumer, 1)[0].partition(), 4)


@case
def an_outsider_must_not_move_a_groups_offsets(cluster):
    topic, group = cluster.topic(2), fresh("group")
    cluster.fill(topic, 1)
    member = cluster.consumer(group)
    member.subscribe([topic])
    assigned(member)
    outsider = cluster.consumer(group)
    offsets = [TopicPartition(topic, 0, 1)]
    refused(KafkaError.UNKNOWN_MEMBER_ID, lambda: outsider.commit(offsets=offsets, asynchronous=False))


# Administration.


@case
def create_describe_and_delete_topics(cluster):
    topic, admin = cluster.topic(3), cluster.admin
    described = done(admin.describe_topics(TopicCollection([topic])))[topic]
    equal((described.name, len(described.partitions), described.is_internal), (topic, 3, False))
    equal([node.id for node in described.partitions[0].replicas], [described.partitions[0].leader.id])
    assert str(described.topic_id), "no topic id"
    refused(KafkaError.TOPIC_ALREADY_EXISTS, lambda: done(admin.create_topics([NewTopic(topic, 1, 1)])))
    done(admin.delete_topics([topic]))
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, lambda: done(admin.delete_topics([topic])))
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, lambda: done(admin.describe_topics(TopicCollection([topic]))))
    assert topic not in admin.list_topics(timeout=SECONDS).topics


@case
def what_cannot_be_created_is_refused(cluster):
    def create(name, partitions=1, replicas=1, **more):
        return lambda: done(cluster.admin.create_topics([NewTopic(name, partitions, replicas, **more)]))

    refused(KafkaError.TOPIC_EXCEPTION, create("no spaces"))
    refused(KafkaError.TOPIC_EXCEPTION, create("x" * 250))
    refused(KafkaError.INVALID_REPLICATION_FACTOR, create(fresh("topic"), replicas=2))
    refused(KafkaError.INVALID_PARTITIONS, create(fresh("topic"), partitions=0))
    refused(KafkaError.INVALID_CONFIG, create(fresh("topic"), config={"retention.ms": "soon"}))
    refused(KafkaError.INVALID_CONFIG, create(fresh("topic"), config={"no.such.setting": "1"}))


@case
def a_topic_may_be_asked_for_without_being_made(cluster):
    name = fresh("topic")
    done(cluster.admin.create_topics([NewTopic(name, 1, 1)], validate_only=True))
    assert name not in cluster.admin.list_topics(timeout=SECONDS).topics


@case
def a_deleted_topic_comes_back_empty(cluster):
    topic = cluster.topic()
    cluster.fill(topic, 10)
    done(cluster.admin.delete_topics([topic]))
    done(cluster.admin.create_topics([NewTopic(topic, 1, 1)]))
    consumer = cluster.consumer()
    equal(consumer.get_watermark_offsets(TopicPartition(topic, 0), SECONDS), (0, 0))
    cluster.fill(topic, 1)
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    equal(read(consumer, 1)[0].offset(), 0)


@case
def partitions_can_be_added_but_not_removed(cluster):
    topic, admin = cluster.topic(2), cluster.admin
    done(admin.create_partitions([NewPartitions(topic, 5)]))
    equal(len(admin.list_topics(topic, SECONDS).topics[topic].partitions), 5)
    cluster.fill(topic, 3, partition=4)
    refused(KafkaError.INVALID_PARTITIONS, lambda: done(admin.create_partitions([NewPartitions(topic, 3)])))


def config_of(cluster, topic):
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    return done(cluster.admin.describe_configs([resource]))[resource]


@case
def topic_configs_are_described_and_altered(cluster):
    topic, admin = cluster.topic(retention_ms="100000"), cluster.admin
    config = config_of(cluster, topic)
    equal((config["retention.ms"].value, config["retention.ms"].is_default), ("100000", False))
    equal(config["cleanup.policy"].value, "delete")

    def entry(name, value, operation):
        return ConfigEntry(name, value, incremental_operation=operation)

    change = ConfigResource(
        ConfigResource.Type.TOPIC,
        topic,
        incremental_configs=[
            entry("retention.ms", None, AlterConfigOpType.DELETE),
            entry("max.message.bytes", "2000000", AlterConfigOpType.SET),
        ],
    )
    done(admin.incremental_alter_configs([change]))
    config = config_of(cluster, topic)
    equal((config["retention.ms"].is_default, config["max.message.bytes"].value), (True, "2000000"))
    # The older call replaces everything that was set.
    done(admin.alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, {"retention.ms": "7000"})]))
    config = config_of(cluster, topic)
    equal((config["retention.ms"].value, config["max.message.bytes"].value), ("7000", "1048588"))
    wrong = ConfigResource(ConfigResource.Type.TOPIC, topic, {"retention.ms": "soon"})
    refused(KafkaError.INVALID_CONFIG, lambda: done(admin.alter_configs([wrong])))
    missing = ConfigResource(ConfigResource.Type.TOPIC, fresh("topic"))
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, lambda: done(admin.describe_configs([missing])))


@case
def broker_configs_are_described(cluster):
    metadata = cluster.admin.list_topics(timeout=SECONDS)
    resource = ConfigResource(ConfigResource.Type.BROKER, str(metadata.controller_id))
    assert done(cluster.admin.describe_configs([resource]))[resource], "no broker settings"


@case
def the_cluster_is_described(cluster):
    described = cluster.admin.describe_cluster().result(SECONDS)
    host, port = cluster.bootstrap.split(":")
    equal([(node.host, node.port) for node in described.nodes], [(host, int(port))])
    equal(described.controller.id, described.nodes[0].id)
    equal(described.cluster_id, cluster.admin.list_topics(timeout=SECONDS).cluster_id)


@case
def groups_are_listed_described_and_deleted(cluster):
    topic, group, admin = cluster.topic(2), fresh("group"), cluster.admin
    cluster.fill(topic, 1)
    consumer = cluster.consumer(group, client_id="reader")
    consumer.subscribe([topic])
    read(consumer, 1)
    listed = {item.group_id: item for item in admin.list_consumer_groups().result(SECONDS).valid}
    equal(listed[group].state.name, "STABLE")
    described = done(admin.describe_consumer_groups([group]))[group]
    equal((described.state.name, len(described.members)), ("STABLE", 1))
    member = described.members[0]
    equal((member.client_id, len(member.assignment.topic_partitions)), ("reader", 2))
    refused(KafkaError.NON_EMPTY_GROUP, lambda: done(admin.delete_consumer_groups([group])))
    consumer.commit(asynchronous=False)
    consumer.close()
    cluster.consumers.remove(consumer)
    equal(done(admin.describe_consumer_groups([group]))[group].state.name, "EMPTY")
    done(admin.delete_consumer_groups([group]))
    refused(KafkaError.GROUP_ID_NOT_FOUND, lambda: done(admin.delete_consumer_groups([group])))
    # Asked about a group that is not there, a broker says that it is dead or not found, by the request's version.
    try:
        equal(done(admin.describe_consumer_groups([group]))[group].state.name, "DEAD")
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError.GROUP_ID_NOT_FOUND)


@case
def group_offsets_are_listed_and_altered(cluster):
    topic, group, admin = cluster.topic(2), fresh("group"), cluster.admin
    wanted = [TopicPartition(topic, 0, 5), TopicPartition(topic, 1, 7)]
    done(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)]))
    listed = done(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))[group]
    equal({item.partition: item.offset for item in listed.topic_partitions}, {0: 5, 1: 7})
    cluster.fill(topic, 10)
    consumer = cluster.consumer(group)
    consumer.subscribe([topic])
    equal(read(consumer, 1)[0].offset(), 5)
    # While the group has members, its offsets are theirs.
    altered = done(admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, wanted)]))[group]
    equal({item.error.code() for item in altered.topic_partitions}, {KafkaError.UNKNOWN_MEMBER_ID})


@case
def offsets_are_listed_by_specification(cluster):
    topic, producer = cluster.topic(), cluster.producer()
    for stamp in (3000, 9000, 6000):
        producer.produce(topic, b"x", timestamp=stamp)
        producer.flush(SECONDS)

    def at(specification, **more):
        partition = TopicPartition(topic, 0)
        return done(cluster.admin.list_offsets({partition: specification}, **more))[partition]

    equal(at(OffsetSpec.earliest()).offset, 0)
    equal(at(OffsetSpec.latest()).offset, 3)
    equal(at(OffsetSpec.latest(), isolation_level=IsolationLevel.READ_COMMITTED).offset, 3)
    equal((at(OffsetSpec.max_timestamp()).offset, at(OffsetSpec.max_timestamp()).timestamp), (1, 9000))
    equal(at(OffsetSpec.for_timestamp(4000)).offset, 1)
    equal(at(OffsetSpec.for_timestamp(10_000)).offset, -1)


@case
def deleted_records_are_gone(cluster):
    topic, partition = cluster.topic(), None
    cluster.fill(topic, 10)
    partition = TopicPartition(topic, 0, 4)
    equal(done(cluster.admin.delete_records([partition]))[partition].low_watermark, 4)
    consumer = cluster.consumer()
    equal(consumer.get_watermark_offsets(TopicPartition(topic, 0), SECONDS), (4, 10))
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    equal([message.offset() for message in read(consumer, 6)], list(range(4, 10)))
    beyond = TopicPartition(topic, 0, 100)
    refused(KafkaError.OFFSET_OUT_OF_RANGE, lambda: done(cluster.admin.delete_records([beyond])))
    everything = TopicPartition(topic, 0, OFFSET_END)
    equal(done(cluster.admin.delete_records([everything]))[everything].low_watermark, 10)


def call(function, bootstrap):
    cluster = Cluster(bootstrap)
    try:
        function(cluster)
    finally:
        cluster.close()


if __name__ == "__main__":
    main(call)
