"""kafka-python's administrator: the requests that its own suite and the other clients leave out."""

from harness.cases import case, equal, eventually, fresh, main
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, MemberToRemove, OffsetSpec


class Cluster:
    """One administrator, and whatever else a case needs."""

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def topic(self, records=10):
        name = fresh("topic")
        self.admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1}})
        with KafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            for number in range(records):
                producer.send(name, b"%d" % number)
        return name

    def member(self, topic, group, **config):
        """A consumer that has joined and read something."""
        config = {"auto_offset_reset": "earliest", "enable_auto_commit": False} | config
        consumer = KafkaConsumer(topic, bootstrap_servers=self.bootstrap, group_id=group, **config)
        next(consumer)
        return consumer


@case
def offsets_of_an_empty_group_are_deleted(cluster):
    topic, group = cluster.topic(), fresh("group")
    partition = TopicPartition(topic, 0)
    cluster.admin.alter_group_offsets(group, {partition: OffsetAndMetadata(3, "note", -1)})
    listed = cluster.admin.list_group_offsets(group)[group][partition]
    equal((listed.offset, listed.metadata), (3, "note"))
    cluster.admin.delete_group_offsets(group, [partition])
    equal(partition in cluster.admin.list_group_offsets(group).get(group, {}), False)


@case
def offsets_that_members_use_are_not_deleted(cluster):
    topic, group = cluster.topic(), fresh("group")
    member = cluster.member(topic, group)
    member.commit()
    answer = cluster.admin.delete_group_offsets(group, [TopicPartition(topic, 0)])
    equal(answer[TopicPartition(topic, 0)].__name__, "GroupSubscribedToTopicError")
    member.close()


@case
def offsets_are_reset_by_specification(cluster):
    topic, group = cluster.topic(), fresh("group")
    partition = TopicPartition(topic, 0)
    for specification, offset in ((OffsetSpec.LATEST, 10), (OffsetSpec.EARLIEST, 0)):
        cluster.admin.reset_group_offsets(group, {partition: specification})
        equal(cluster.admin.list_group_offsets(group)[group][partition].offset, offset)


@case
def a_static_member_is_removed_by_its_administrator(cluster):
    topic, group = cluster.topic(), fresh("group")
    member = cluster.member(topic, group, group_instance_id="one")
    member.close()
    described = cluster.admin.describe_groups([group])[group]
    equal([found["group_instance_id"] for found in described["members"]], ["one"])
    cluster.admin.remove_group_members(group, [MemberToRemove(group_instance_id="one")])
    eventually(lambda: not cluster.admin.describe_groups([group])[group]["members"])


@case
def settings_are_changed_one_by_one(cluster):
    topic = cluster.topic(0)
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"retention.ms": "5000"})
    cluster.admin.alter_configs([resource], incremental=True)
    described = cluster.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    equal(described["topic"][topic]["retention.ms"]["value"], "5000")


@case
def the_cluster_is_described(cluster):
    described = cluster.admin.describe_cluster()
    equal([broker["broker_id"] for broker in described["brokers"]], [described["controller_id"]])


def call(function, bootstrap):
    cluster = Cluster(bootstrap)
    try:
        function(cluster)
    finally:
        cluster.admin.close()


if __name__ == "__main__":
    main(call)
