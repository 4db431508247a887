"""aiokafka: the asyncio client, which sends the oldest versions of the requests we serve."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.structs import OffsetAndMetadata
from harness.cases import case, equal, fresh, main

SECONDS = 30


class Cluster:
    """Clients of one broker, stopped when the case ends."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.running = []

    async def _start(self, client):
        await client.start()
        self.running.append(client)
        return client

    async def producer(self, **config):
        return await self._start(AIOKafkaProducer(bootstrap_servers=self.bootstrap, **config))

    async def consumer(self, *topics, **config):
        defaults = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "heartbeat_interval_ms": 500}
        config = defaults | config
        return await self._start(AIOKafkaConsumer(*topics, bootstrap_servers=self.bootstrap, **config))

    async def admin(self):
        client = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await client.start()
        self.running.append(client)
        return client

    async def topic(self, partitions=1, **config):
        # Cases write records that look years old; retention must not take them away while they are read.
        config = {"retention.ms": "-1"} | config
        name = fresh("topic")
        await (await self.admin()).create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
        return name

    async def stop(self, client):
        self.running.remove(client)
        await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())

    async def stop_all(self):
        for client in reversed(list(self.running)):
            await self.stop(client)


async def fill(cluster, topic, count, partition=0, **config):
    producer = await cluster.producer(**config)
    sent = [await producer.send(topic, b"%d" % number, partition=partition) for number in range(count)]
    return [(await future).offset for future in sent]


async def read(consumer, count):
    async def collect():
        return [await consumer.getone() for _ in range(count)]

    return await asyncio.wait_for(collect(), SECONDS)


@case
async def idempotent_production_with_every_codec(cluster):
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        topic = await cluster.topic()
        config = {"enable_idempotence": True, "acks": "all", "compression_type": codec}
        equal(await fill(cluster, topic, 200, **config), list(range(200)))
        consumer = await cluster.consumer(topic)
        equal([message.value for message in await read(consumer, 200)], [b"%d" % number for number in range(200)])


@case
async def keys_headers_and_timestamps(cluster):
    topic, producer = await cluster.topic(), await cluster.producer()
    await producer.send_and_wait(topic, b"v", b"k", timestamp_ms=1_700_000_000_123, headers=[("h", b"\x00\xff")])
    (message,) = await read(await cluster.consumer(topic), 1)
    equal((message.key, message.value, message.headers), (b"k", b"v", (("h", b"\x00\xff"),)))
    equal(message.timestamp, 1_700_000_000_123)


@case
async def batches_are_kept_whole(cluster):
    topic, producer = await cluster.topic(), await cluster.producer()
    batch = producer.create_batch()
    for number in range(50):
        batch.append(key=None, value=b"%d" % number, timestamp=None)
    await (await producer.send_batch(batch, topic, partition=0))
    equal([message.offset for message in await read(await cluster.consumer(topic), 50)], list(range(50)))


@case
async def seek_and_offsets(cluster):
    topic = await cluster.topic()
    await fill(cluster, topic, 20)
    partition, consumer = TopicPartition(topic, 0), await cluster.consumer()
    consumer.assign([partition])
    consumer.seek(partition, 15)
    equal([message.offset for message in await read(consumer, 5)], list(range(15, 20)))
    await consumer.seek_to_beginning(partition)
    equal((await read(consumer, 1))[0].offset, 0)
    await consumer.seek_to_end(partition)
    equal(await consumer.position(partition), 20)
    equal(await consumer.beginning_offsets([partition]), {partition: 0})
    equal(await consumer.end_offsets([partition]), {partition: 20})
    found = await consumer.offsets_for_times({partition: int(time.time() * 1000) + 3_600_000})
    equal(found, {partition: None})


@case
async def a_group_commits_and_resumes(cluster):
    topic, group = await cluster.topic(), fresh("group")
    await fill(cluster, topic, 10)
    first = await cluster.consumer(topic, group_id=group)
    await read(first, 6)
    partition = TopicPartition(topic, 0)
    await first.commit({partition: OffsetAndMetadata(6, "note")})
    equal(await first.committed(partition), 6)
    await cluster.stop(first)
    second = await cluster.consumer(topic, group_id=group)
    equal((await read(second, 1))[0].offset, 6)


@case
async def a_group_commits_by_itself(cluster):
    topic, group = await cluster.topic(), fresh("group")
    await fill(cluster, topic, 10)
    first = await cluster.consumer(topic, group_id=group, enable_auto_commit=True, auto_commit_interval_ms=100)
    await read(first, 10)
    await cluster.stop(first)
    listed = await (await cluster.admin()).list_consumer_group_offsets(group)
    equal({partition: offset.offset for partition, offset in listed.items()}, {TopicPartition(topic, 0): 10})


@case
async def a_group_spreads_and_shrinks(cluster):
    topic, group = await cluster.topic(4), fresh("group")

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked):
            pass

        def on_partitions_assigned(self, assigned):
            pass

    async def spread(consumers):
        for _ in range(SECONDS * 10):
            for consumer in consumers:
                await consumer.getmany(timeout_ms=20)
            owned = [consumer.assignment() for consumer in consumers]
            if all(owned) and sum(map(len, owned)) == 4 == len(set().union(*owned)):
                return
        raise AssertionError(f"never spread: {owned}")

    first = await cluster.consumer(group_id=group)
    first.subscribe([topic], listener=Listener())
    second = await cluster.consumer(group_id=group)
    second.subscribe([topic], listener=Listener())
    await spread([first, second])
    await cluster.stop(first)
    await spread([second])


@case
async def topics_partitions_and_settings_are_administered(cluster):
    admin, topic = await cluster.admin(), await cluster.topic(1, **{"retention.ms": "100000"})
    again = await admin.create_topics([NewTopic(topic, 1, 1)])
    equal(for_code(again.topic_errors[0][1]), TopicAlreadyExistsError)
    await admin.create_partitions({topic: NewPartitions(3)})
    described = await admin.describe_topics([topic])
    equal(len(described[0]["partitions"]), 3)
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    settings = {entry[0]: entry[1] for entry in answers[0].resources[0][4]}
    equal(settings["retention.ms"], "100000")
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "5000"})])
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    settings = {entry[0]: entry[1] for entry in answers[0].resources[0][4]}
    equal(settings["retention.ms"], "5000")
    await admin.delete_topics([topic])
    assert topic not in await admin.list_topics()


@case
async def groups_and_the_cluster_are_described(cluster):
    topic, group, admin = await cluster.topic(), fresh("group"), await cluster.admin()
    await fill(cluster, topic, 1)
    await read(await cluster.consumer(topic, group_id=group), 1)
    assert (group, "consumer") in await admin.list_consumer_groups()
    described = await admin.describe_consumer_groups([group])
    equal([(found[1], found[2]) for found in described[0].groups], [(group, "Stable")])
    assert (await admin.describe_cluster())["cluster_id"], "no cluster id"


@case
async def deleted_records_are_gone(cluster):
    topic, admin = await cluster.topic(), await cluster.admin()
    await fill(cluster, topic, 10)
    partition = TopicPartition(topic, 0)
    equal(await admin.delete_records({partition: RecordsToDelete(before_offset=4)}), {partition: 4})
    equal((await read(await cluster.consumer(topic), 1))[0].offset, 4)


@case
async def transactions_are_refused_and_not_pretended(cluster):
    producer = AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, transactional_id=fresh("transaction"))
    try:
        await asyncio.wait_for(producer.start(), 5)
    except KafkaError:
        return
    finally:
        await producer.stop()
    raise AssertionError("transactions were accepted")


def call(function, bootstrap):
    async def run():
        cluster = Cluster(bootstrap)
        try:
            await function(cluster)
        finally:
            await cluster.stop_all()

    asyncio.run(run())


if __name__ == "__main__":
    main(call)
