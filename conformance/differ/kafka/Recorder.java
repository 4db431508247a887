// Asks a Kafka broker everything the administrator client can ask, and prints what it answered, one line per fact.
//
// The same program runs against Apache Kafka and against Forebay; `run.py` compares what they printed. A line is
// `step | fact`. What differs from run to run (ids, ports, times) is replaced by `run.py`, not here.

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public class Recorder {
    private static final int SECONDS = 20;
    private static final int BROKER = 1;
    private static final long SETTLE_MS = 150;
    private static final long STAMP = 1_700_000_000_000L;

    private final Admin admin;
    private final String address;
    private String step = "";

    private Recorder(String address) {
        this.address = address;
        this.admin = Admin.create(Map.of(
            "bootstrap.servers", address,
            "request.timeout.ms", "4000",
            "default.api.timeout.ms", "5000"));
    }

    public static void main(String[] arguments) throws Exception {
        Recorder recorder = new Recorder(arguments[0]);
        recorder.cluster();
        recorder.topics();
        recorder.topicConfigs();
        recorder.otherConfigs();
        recorder.partitions();
        recorder.produceAndOffsets();
        recorder.timestamps();
        recorder.groups();
        recorder.replicas();
        recorder.producers();
        recorder.securityAndQuotas();
        recorder.otherGroups();
        recorder.removal();
        recorder.admin.close(Duration.ofSeconds(2));
        System.out.flush();
        // Client threads that still retry must not keep the process.
        Runtime.getRuntime().halt(0);
    }

    // --- printing -------------------------------------------------------------------------------------------------

    private void fact(Object fact) {
        System.out.println(step + " | " + String.valueOf(fact).replace("\n", "\\n"));
    }

    /** Runs a step; an exception is a fact like any other. */
    private void ask(String name, Callable<Object> call) {
        step = name;
        try {
            show(call.call());
        } catch (Throwable thrown) {
            refused(thrown);
        }
    }

    private void refused(Throwable thrown) {
        Throwable cause = thrown instanceof ExecutionException ? thrown.getCause() : thrown;
        // A time-out says how far the client's own retries came.
        String text = cause instanceof TimeoutException ? "" : ": " + cause.getMessage();
        fact(cause.getClass().getSimpleName() + text);
    }

    private void show(Object found) throws Exception {
        if (found instanceof KafkaFuture<?> future) {
            show(future.get(SECONDS, TimeUnit.SECONDS));
        } else if (found instanceof Map<?, ?> map) {
            Map<String, Object> sorted = new TreeMap<>();
            map.forEach((key, value) -> sorted.put(String.valueOf(key), value));
            sorted.forEach(this::entry);
            if (map.isEmpty()) {
                fact("(none)");
            }
        } else if (found instanceof Collection<?> items) {
            items.stream().map(String::valueOf).sorted().forEach(this::fact);
            if (items.isEmpty()) {
                fact("(none)");
            }
        } else {
            fact(found);
        }
    }

    private void entry(String key, Object value) {
        String outer = step;
        step = outer + " / " + key;
        try {
            show(value);
        } catch (Throwable thrown) {
            refused(thrown);
        }
        step = outer;
    }

    // --- what is asked --------------------------------------------------------------------------------------------

    private void cluster() {
        ask("describe cluster: nodes", () -> admin.describeCluster().nodes());
        ask("describe cluster: controller", () -> admin.describeCluster().controller());
        ask("describe cluster: id is there", () -> !admin.describeCluster().clusterId().get().isEmpty());
        ask("describe cluster: operations",
            () -> admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true)).authorizedOperations());
        ask("describe features: finalized", () -> admin.describeFeatures().featureMetadata().get().finalizedFeatures());
        ask("describe features: supported", () -> admin.describeFeatures().featureMetadata().get().supportedFeatures());
        ask("metadata quorum", () -> admin.describeMetadataQuorum().quorumInfo().get().leaderId());
        ask("client instance id", () -> admin.clientInstanceId(Duration.ofSeconds(3)).getClass().getSimpleName());
    }

    private void topics() {
        ask("create: plain", () -> created(new NewTopic("plain", 1, (short) 1)));
        ask("create: defaults", () -> created(new NewTopic("defaults", Optional.empty(), Optional.empty())));
        ask("create: again", () -> created(new NewTopic("plain", 1, (short) 1)));
        // What it is sent is old: no retention may take it, however long this takes.
        ask("create: three partitions", () -> created(new NewTopic("three", 3, (short) 1).configs(Map.of("retention.ms", "-1"))));
        ask("create: replication 3", () -> created(new NewTopic("replicated", 1, (short) 3)));
        ask("create: no partitions", () -> created(new NewTopic("nothing", 0, (short) 1)));
        ask("create: empty name", () -> created(new NewTopic("", 1, (short) 1)));
        ask("create: dot", () -> created(new NewTopic(".", 1, (short) 1)));
        ask("create: bad name", () -> created(new NewTopic("a b", 1, (short) 1)));
        ask("create: NUL in the name", () -> created(new NewTopic("a\0b", 1, (short) 1)));
        ask("create: long name", () -> created(new NewTopic("n".repeat(250), 1, (short) 1)));
        ask("create: dotted", () -> created(new NewTopic("col.lide", 1, (short) 1)));
        ask("create: collides", () -> created(new NewTopic("col_lide", 1, (short) 1)));
        ask("create: assigned", () -> created(new NewTopic("assigned", Map.of(0, List.of(BROKER)))));
        ask("create: assigned elsewhere", () -> created(new NewTopic("elsewhere", Map.of(0, List.of(77)))));
        ask("create: only validate", () -> admin.createTopics(
            List.of(new NewTopic("validated", 2, (short) 1)), new CreateTopicsOptions().validateOnly(true)).values());
        ask("create: config in the answer", () -> {
            CreateTopicsResult result = admin.createTopics(List.of(new NewTopic("answered", 2, (short) 1)
                .configs(Map.of("retention.ms", "1000"))));
            return List.of(result.numPartitions("answered").get(), result.replicationFactor("answered").get(),
                configLine(result.config("answered").get().get("retention.ms")),
                configLine(result.config("answered").get().get("cleanup.policy")));
        });
        ask("list topics", () -> admin.listTopics().names().get().stream().filter(n -> !n.startsWith("__")).toList());
        ask("describe: three", () -> describe("three", new DescribeTopicsOptions()));
        ask("describe: with operations",
            () -> describe("plain", new DescribeTopicsOptions().includeAuthorizedOperations(true)));
        ask("describe: pages of one", () -> describe("three", new DescribeTopicsOptions().partitionSizeLimitPerResponse(1)));
        ask("describe: unknown", () -> describe("unknown", new DescribeTopicsOptions()));
        ask("describe: bad name", () -> describe("a b", new DescribeTopicsOptions()));
        ask("describe: by id", () -> {
            Uuid id = admin.describeTopics(List.of("three")).topicNameValues().get("three").get().topicId();
            return admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).topicIdValues().get(id).get().name();
        });
        ask("describe: unknown id",
            () -> admin.describeTopics(TopicCollection.ofTopicIds(List.of(new Uuid(7, 7)))).topicIdValues().get(new Uuid(7, 7)));
    }

    private Object created(NewTopic topic) {
        return admin.createTopics(List.of(topic)).values();
    }

    private Object describe(String topic, DescribeTopicsOptions options) throws Exception {
        TopicDescription found = admin.describeTopics(List.of(topic), options).topicNameValues().get(topic).get();
        List<Object> facts = new ArrayList<>();
        facts.add("internal " + found.isInternal());
        facts.add("operations " + (found.authorizedOperations() == null ? null : new TreeSet<>(found.authorizedOperations())));
        found.partitions().forEach(partition -> facts.add(partition.partition() + " leader " + id(partition.leader())
            + " replicas " + ids(partition.replicas()) + " isr " + ids(partition.isr())
            + " elr " + ids(partition.elr()) + " last known elr " + ids(partition.lastKnownElr())));
        return facts;
    }

    private static Object id(org.apache.kafka.common.Node node) {
        return node == null ? null : node.id();
    }

    private static Object ids(List<org.apache.kafka.common.Node> nodes) {
        return nodes == null ? null : nodes.stream().map(Recorder::id).toList();
    }

    private static String configLine(ConfigEntry entry) {
        if (entry == null) {
            return "null";
        }
        return entry.name() + "=" + entry.value() + " " + entry.source() + (entry.isSensitive() ? " sensitive" : "")
            + (entry.isReadOnly() ? " read-only" : "") + " " + entry.type();
    }

    private void topicConfigs() {
        ConfigResource plain = new ConfigResource(ConfigResource.Type.TOPIC, "plain");
        ask("configs: topic", () -> byName(plain, new DescribeConfigsOptions(), Recorder::configLine));
        ask("configs: synonyms", () -> byName(plain, new DescribeConfigsOptions().includeSynonyms(true),
            e -> e.synonyms().stream().map(s -> s.name() + "=" + s.value() + "@" + s.source()).toList().toString()));
        ask("configs: documented", () -> byName(plain, new DescribeConfigsOptions().includeDocumentation(true),
            e -> e.documentation() != null));
        ask("configs: unknown topic", () -> {
            ConfigResource unknown = new ConfigResource(ConfigResource.Type.TOPIC, "unknown");
            return admin.describeConfigs(List.of(unknown)).values().get(unknown);
        });
        for (String setting : TOPIC_SETTINGS) {
            String[] parts = setting.split("=", 2);
            ask("set: " + setting, () -> alter(plain, OpType.SET, parts[0], parts[1]));
            ask("set: " + setting + ": read back", () -> configLine(read(plain, parts[0])));
            ask("set: " + setting + ": undone", () -> alter(plain, OpType.DELETE, parts[0], null));
        }
        ask("append: cleanup.policy", () -> alter(plain, OpType.APPEND, "cleanup.policy", "compact"));
        ask("append: cleanup.policy: read back", () -> configLine(read(plain, "cleanup.policy")));
        ask("subtract: cleanup.policy", () -> alter(plain, OpType.SUBTRACT, "cleanup.policy", "compact"));
        ask("subtract: cleanup.policy: read back", () -> configLine(read(plain, "cleanup.policy")));
        ask("append: no list", () -> alter(plain, OpType.APPEND, "retention.ms", "5"));
        ask("delete: never set", () -> alter(plain, OpType.DELETE, "segment.ms", null));
        ask("alter: unknown topic", () -> alter(new ConfigResource(ConfigResource.Type.TOPIC, "unknown"), OpType.SET, "retention.ms", "5"));
        ask("alter: twice the same key", () -> admin.incrementalAlterConfigs(Map.of(plain, List.of(
            new AlterConfigOp(new ConfigEntry("retention.ms", "5"), OpType.SET),
            new AlterConfigOp(new ConfigEntry("retention.ms", "6"), OpType.SET)))).values());
        ask("create: bad config", () -> created(new NewTopic("bad", 1, (short) 1).configs(Map.of("retention.ms", "x"))));
        for (String old : List.of("message.format.version=2.8", "message.downconversion.enable=true",
            "message.timestamp.difference.max.ms=5")) {
            String[] parts = old.split("=", 2);
            ask("create: " + old, () -> created(new NewTopic("old-" + parts[0], 1, (short) 1).configs(Map.of(parts[0], parts[1]))));
        }
        ask("create: unknown config", () -> created(new NewTopic("bad", 1, (short) 1).configs(Map.of("no.such", "x"))));
    }

    /** A step for each setting of a resource. */
    private Map<String, Object> byName(ConfigResource resource, DescribeConfigsOptions options,
            java.util.function.Function<ConfigEntry, Object> shown) throws Exception {
        return admin.describeConfigs(List.of(resource), options).values().get(resource).get().entries().stream()
            .collect(Collectors.toMap(ConfigEntry::name, shown));
    }

    private static final List<String> TOPIC_SETTINGS = List.of(
        "cleanup.policy=compact", "cleanup.policy=compact,delete", "cleanup.policy=", "cleanup.policy=nonsense",
        "compression.type=zstd", "compression.type=nonsense", "compression.type=producer",
        "compression.gzip.level=9", "compression.gzip.level=10", "compression.gzip.level=0", "compression.gzip.level=-1",
        "compression.lz4.level=17", "compression.lz4.level=18", "compression.zstd.level=22", "compression.zstd.level=23",
        "delete.retention.ms=0", "delete.retention.ms=-1", "file.delete.delay.ms=0", "flush.messages=1", "flush.messages=0",
        "flush.ms=0", "flush.ms=-1", "follower.replication.throttled.replicas=*", "follower.replication.throttled.replicas=0:1",
        "follower.replication.throttled.replicas=x", "leader.replication.throttled.replicas=*", "index.interval.bytes=0",
        "index.interval.bytes=-1", "local.retention.bytes=-2", "local.retention.bytes=-3", "local.retention.ms=5",
        "max.compaction.lag.ms=1", "max.compaction.lag.ms=0", "max.message.bytes=0", "max.message.bytes=-1",
        "max.message.bytes=2147483648", "message.timestamp.after.max.ms=5", "message.timestamp.after.max.ms=-1",
        "message.timestamp.before.max.ms=5", "message.timestamp.type=LogAppendTime", "message.timestamp.type=nonsense",
        "min.cleanable.dirty.ratio=0.5", "min.cleanable.dirty.ratio=1.5", "min.cleanable.dirty.ratio=x", "min.compaction.lag.ms=5",
        "min.compaction.lag.ms=-1", "min.insync.replicas=1", "min.insync.replicas=0", "min.insync.replicas=2", "preallocate=true",
        "preallocate=nonsense", "remote.storage.enable=true", "remote.storage.enable=false", "remote.log.copy.disable=true",
        "remote.log.delete.on.disable=true", "retention.bytes=-1", "retention.bytes=-2", "retention.ms=-1", "retention.ms=-2",
        "retention.ms=0", "retention.ms=9223372036854775807", "retention.ms=9223372036854775808", "retention.ms= 5 ",
        "segment.bytes=1048576", "segment.bytes=1048575", "segment.bytes=14", "segment.bytes=1", "segment.index.bytes=4",
        "segment.index.bytes=3", "segment.jitter.ms=0", "segment.jitter.ms=-1", "segment.ms=1", "segment.ms=0",
        "unclean.leader.election.enable=true", "message.format.version=2.8", "message.downconversion.enable=true",
        "message.timestamp.difference.max.ms=5", "errors.deadletterqueue.group.enable=true", "no.such.setting=1",
        "RETENTION.MS=5");

    private Object alter(ConfigResource resource, OpType operation, String name, String value) {
        return admin.incrementalAlterConfigs(Map.of(resource,
            List.of(new AlterConfigOp(new ConfigEntry(name, value), operation)))).values().get(resource);
    }

    /** What a setting is; a change takes a moment to reach every part of the real broker. */
    private ConfigEntry read(ConfigResource resource, String name) throws Exception {
        Thread.sleep(SETTLE_MS);
        return admin.describeConfigs(List.of(resource)).values().get(resource).get().get(name);
    }

    private void otherConfigs() {
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(BROKER));
        ConfigResource all = new ConfigResource(ConfigResource.Type.BROKER, "");
        ConfigResource other = new ConfigResource(ConfigResource.Type.BROKER, "77");
        ConfigResource group = new ConfigResource(ConfigResource.Type.GROUP, "some-group");
        ConfigResource logger = new ConfigResource(ConfigResource.Type.BROKER_LOGGER, String.valueOf(BROKER));
        ask("configs: broker: known names", () -> names(broker).containsAll(List.of("log.retention.ms", "num.partitions",
            "message.max.bytes", "auto.create.topics.enable", "offsets.retention.minutes", "node.id", "listeners")));
        ask("configs: broker: log.retention.hours", () -> configLine(read(broker, "log.retention.hours")));
        ask("configs: broker: num.partitions", () -> configLine(read(broker, "num.partitions")));
        ask("configs: broker: node.id", () -> configLine(read(broker, "node.id")));
        ask("configs: broker: message.max.bytes", () -> configLine(read(broker, "message.max.bytes")));
        ask("configs: broker: group.initial.rebalance.delay.ms is there",
            () -> read(broker, "group.initial.rebalance.delay.ms") != null);
        ask("configs: every broker", () -> names(all));
        ask("configs: another broker", () -> names(other));
        ask("configs: broker: not a number", () -> names(new ConfigResource(ConfigResource.Type.BROKER, "x")));
        ask("alter: broker: dynamic", () -> alter(broker, OpType.SET, "log.retention.ms", "7200000"));
        ask("alter: broker: dynamic: read back", () -> configLine(read(broker, "log.retention.ms")));
        ask("alter: broker: dynamic: undone", () -> alter(broker, OpType.DELETE, "log.retention.ms", null));
        ask("alter: every broker: dynamic", () -> alter(all, OpType.SET, "log.retention.ms", "7200000"));
        ask("alter: every broker: dynamic: read back", () -> configLine(read(all, "log.retention.ms")));
        ask("alter: every broker: dynamic: topics follow",
            () -> configLine(read(new ConfigResource(ConfigResource.Type.TOPIC, "plain"), "retention.ms")));
        ask("alter: every broker: dynamic: undone", () -> alter(all, OpType.DELETE, "log.retention.ms", null));
        ask("alter: broker: read-only", () -> alter(broker, OpType.SET, "node.id", "5"));
        ask("alter: broker: unknown name", () -> alter(broker, OpType.SET, "no.such", "5"));
        ask("alter: broker: bad value", () -> alter(broker, OpType.SET, "message.max.bytes", "x"));
        ask("alter: another broker", () -> alter(other, OpType.SET, "log.retention.ms", "5"));
        ask("configs: group", () -> byName(group, new DescribeConfigsOptions(), Recorder::configLine));
        ask("alter: group", () -> alter(group, OpType.SET, "consumer.session.timeout.ms", "50000"));
        ask("alter: group: read back", () -> configLine(read(group, "consumer.session.timeout.ms")));
        ask("alter: group: below the minimum", () -> alter(group, OpType.SET, "consumer.session.timeout.ms", "1"));
        ask("alter: group: unknown name", () -> alter(group, OpType.SET, "no.such", "1"));
        ask("alter: group: undone", () -> alter(group, OpType.DELETE, "consumer.session.timeout.ms", null));
        ask("configs: logger: root", () -> read(logger, "root").source());
        ask("configs: logger: another node", () -> names(new ConfigResource(ConfigResource.Type.BROKER_LOGGER, "77")));
        ask("alter: logger", () -> alter(logger, OpType.SET, "root", "INFO"));
        ask("alter: logger: read back", () -> configLine(read(logger, "root")));
        ask("alter: logger: append", () -> alter(logger, OpType.APPEND, "root", "INFO"));
        ask("alter: logger: bad level", () -> alter(logger, OpType.SET, "root", "LOUD"));
        ask("alter: logger: deleted root", () -> alter(logger, OpType.DELETE, "root", null));
        ask("alter: logger: unknown", () -> alter(logger, OpType.SET, "no.such.logger", "INFO"));
        ask("list config resources: all", () -> admin.listConfigResources().all().get().stream()
            .filter(r -> !r.name().startsWith("__")).map(String::valueOf).toList());
        ask("list config resources: topics", () -> admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC),
            new ListConfigResourcesOptions()).all().get().stream().filter(r -> !r.name().startsWith("__")).toList());
        ask("client metrics resources", () -> admin.listClientMetricsResources().all());
    }

    private List<String> names(ConfigResource resource) throws Exception {
        return admin.describeConfigs(List.of(resource)).values().get(resource).get().entries().stream()
            .map(ConfigEntry::name).toList();
    }

    private void partitions() {
        ask("create partitions", () -> grow("plain", NewPartitions.increaseTo(2)));
        ask("create partitions: same", () -> grow("plain", NewPartitions.increaseTo(2)));
        ask("create partitions: fewer", () -> grow("plain", NewPartitions.increaseTo(1)));
        ask("create partitions: none", () -> grow("plain", NewPartitions.increaseTo(0)));
        ask("create partitions: unknown topic", () -> grow("unknown", NewPartitions.increaseTo(2)));
        ask("create partitions: assigned", () -> grow("plain", NewPartitions.increaseTo(3, List.of(List.of(BROKER)))));
        ask("create partitions: assigned elsewhere", () -> grow("plain", NewPartitions.increaseTo(4, List.of(List.of(77)))));
        ask("create partitions: wrong count", () -> grow("plain", NewPartitions.increaseTo(5, List.of(List.of(BROKER)))));
        ask("create partitions: only validate", () -> admin.createPartitions(Map.of("plain", NewPartitions.increaseTo(9)),
            new CreatePartitionsOptions().validateOnly(true)).values());
        ask("create partitions: then", () -> admin.describeTopics(List.of("plain")).topicNameValues().get("plain").get()
            .partitions().size());
    }

    private Object grow(String topic, NewPartitions partitions) {
        return admin.createPartitions(Map.of(topic, partitions)).values();
    }

    private void produceAndOffsets() {
        TopicPartition at = new TopicPartition("three", 0);
        ask("offsets: empty topic", () -> offsets(at));
        ask("produce", () -> {
            try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
                List<RecordMetadata> got = new ArrayList<>();
                for (int i = 0; i < 20; i++) {
                    got.add(producer.send(new ProducerRecord<>("three", 0, STAMP + i * 1000L, key(i), new byte[50])).get());
                }
                return got.stream().map(m -> m.partition() + "@" + m.offset() + " " + m.timestamp()).toList();
            }
        });
        ask("offsets: after produce", () -> offsets(at));
        for (String codec : List.of("gzip", "snappy", "lz4", "zstd")) {
            ask("produce: one batch: " + codec, () -> oneBatch(codec, "three", 0, 10, STAMP + 100_000));
        }
        ask("offsets: after batches", () -> offsets(at));
        for (long time : new long[] {0, STAMP, STAMP + 1, STAMP + 5500, STAMP + 19_000, STAMP + 19_001, STAMP + 100_003,
            STAMP + 100_010, Long.MAX_VALUE}) {
            ask("offsets: by time " + (time - STAMP), () -> offset(at, OffsetSpec.forTimestamp(time)));
        }
        ask("delete records: into a batch", () -> deleted(at, 24));
        ask("delete records: back", () -> deleted(at, 10));
        ask("delete records: beyond the end", () -> deleted(at, 1000));
        ask("delete records: unknown topic", () -> deleted(new TopicPartition("unknown", 0), 1));
        ask("delete records: unknown partition", () -> deleted(new TopicPartition("three", 9), 1));
        ask("offsets: after delete", () -> offsets(at));
        for (long time : new long[] {0, STAMP, STAMP + 100_000, STAMP + 100_002, STAMP + 100_003, STAMP + 100_005}) {
            ask("offsets: by time after delete " + (time - STAMP), () -> offset(at, OffsetSpec.forTimestamp(time)));
        }
        ask("consume: after delete", () -> consumed(at, 0, 12));
        ask("delete records: all", () -> deleted(at, -1));
        ask("offsets: after all are deleted", () -> offsets(at));
        ask("offsets: unknown topic", () -> offset(new TopicPartition("unknown", 0), OffsetSpec.latest()));
        ask("offsets: unknown partition", () -> offset(new TopicPartition("three", 9), OffsetSpec.latest()));
    }

    private static byte[] key(int i) {
        return ("key-" + i).getBytes();
    }

    private KafkaProducer<byte[], byte[]> producer(Map<String, Object> more) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", address);
        settings.put("max.block.ms", "5000");
        settings.put("delivery.timeout.ms", "5000");
        settings.put("request.timeout.ms", "4000");
        settings.put("linger.ms", "0");
        settings.putAll(more);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** Records in one batch, with timestamps that go up and down. */
    private Object oneBatch(String codec, String topic, int partition, int count, long from) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("compression.type", codec, "linger.ms", "200"))) {
            List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                long time = from + (i % 2 == 0 ? i : count - i);
                sent.add(producer.send(new ProducerRecord<>(topic, partition, time, key(i), new byte[100],
                    List.of(new RecordHeader("h", new byte[] {1})))));
            }
            producer.flush();
            List<String> got = new ArrayList<>();
            for (var one : sent) {
                got.add(one.get().offset() + " " + one.get().timestamp());
            }
            return got;
        }
    }

    private Object offsets(TopicPartition at) {
        Map<String, Object> found = new TreeMap<>();
        found.put("earliest", offset(at, OffsetSpec.earliest()));
        found.put("latest", offset(at, OffsetSpec.latest()));
        found.put("max timestamp", offset(at, OffsetSpec.maxTimestamp()));
        found.put("earliest local", offset(at, OffsetSpec.earliestLocal()));
        found.put("latest tiered", offset(at, OffsetSpec.latestTiered()));
        return found;
    }

    private Object offset(TopicPartition at, OffsetSpec spec) {
        return admin.listOffsets(Map.of(at, spec)).partitionResult(at).thenApply(
            found -> found.offset() + " at " + found.timestamp() + " epoch " + found.leaderEpoch());
    }

    private Object deleted(TopicPartition at, long before) {
        return admin.deleteRecords(Map.of(at, RecordsToDelete.beforeOffset(before))).lowWatermarks().get(at)
            .thenApply(DeletedRecords::lowWatermark);
    }

    private Object consumed(TopicPartition at, long from, int most) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(Map.of("auto.offset.reset", "earliest"))) {
            consumer.assign(List.of(at));
            consumer.seek(at, from);
            List<String> got = new ArrayList<>();
            for (int turn = 0; turn < 30 && got.size() < most; turn++) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    got.add(record.offset() + " " + (record.timestamp() - STAMP) + " " + record.timestampType() + " "
                        + new String(record.key()) + " " + record.value().length + " " + record.headers().toArray().length);
                }
            }
            return got.stream().limit(most).collect(Collectors.toList());
        }
    }

    private KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> more) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", address);
        settings.put("default.api.timeout.ms", "5000");
        settings.put("enable.auto.commit", "false");
        settings.putAll(more);
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private void timestamps() {
        ask("append time: create", () -> created(new NewTopic("append-time", 1, (short) 1)
            .configs(Map.of("message.timestamp.type", "LogAppendTime"))));
        ask("append time: produce", () -> {
            try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
                return producer.send(new ProducerRecord<>("append-time", 0, STAMP, key(1), key(1))).get().timestamp() > STAMP;
            }
        });
        ask("compacted: create", () -> created(new NewTopic("compacted", 1, (short) 1).configs(Map.of("cleanup.policy", "compact"))));
        ask("compacted: without a key", () -> sent("compacted", null, null, null));
        ask("compacted: with a key", () -> sent("compacted", null, key(1), null));
        ask("time limits: create", () -> created(new NewTopic("limited", 1, (short) 1).configs(
            Map.of("message.timestamp.before.max.ms", "1000", "message.timestamp.after.max.ms", "1000"))));
        ask("time limits: too early", () -> sent("limited", STAMP, key(1), key(1)));
        ask("time limits: too late", () -> sent("limited", 4_000_000_000_000L, key(1), key(1)));
        ask("default limits: too late", () -> sent("plain", 4_000_000_000_000L, key(1), key(1)));
        ask("size: create", () -> created(new NewTopic("small", 1, (short) 1).configs(Map.of("max.message.bytes", "1000"))));
        ask("size: too large", () -> sent("small", null, key(1), new byte[2000]));
        ask("replicas: two are wanted", () -> created(new NewTopic("two", 1, (short) 1).configs(Map.of("min.insync.replicas", "2"))));
        ask("replicas: produce", () -> sent("two", null, key(1), key(1)));
    }

    private Object sent(String topic, Long time, byte[] key, byte[] value) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("retries", "0", "enable.idempotence", "false"))) {
            return producer.send(new ProducerRecord<>(topic, 0, time, key, value)).get().offset();
        }
    }

    private void groups() throws Exception {
        // The real broker makes the topic of its groups when the first of them is asked for, which takes a moment.
        for (int turn = 0; turn < 60; turn++) {
            try {
                admin.listConsumerGroupOffsets("warm-up").partitionsToOffsetAndMetadata().get(SECONDS, TimeUnit.SECONDS);
                break;
            } catch (ExecutionException notYet) {
                Thread.sleep(SETTLE_MS);
            }
        }
        TopicPartition at = new TopicPartition("grouped", 0);
        ask("group: topic", () -> created(new NewTopic("grouped", 2, (short) 1)));
        ask("group: unknown: describe", () -> group("nobody"));
        ask("group: unknown: offsets", () -> admin.listConsumerGroupOffsets("nobody").partitionsToOffsetAndMetadata());
        ask("group: unknown: delete", () -> admin.deleteConsumerGroups(List.of("nobody")).deletedGroups());
        ask("group: unknown: delete offsets", () -> admin.deleteConsumerGroupOffsets("nobody", Set.of(at)).partitionResult(at));
        ask("group: empty id: describe", () -> group(""));
        ask("group: NUL in the id: alter offsets", () -> admin.alterConsumerGroupOffsets("a\0b",
            Map.of(at, new OffsetAndMetadata(0))).partitionResult(at));
        ask("group: NUL in the id: delete", () -> admin.deleteConsumerGroups(List.of("a\0b")).deletedGroups());
        ask("group: alter offsets", () -> admin.alterConsumerGroupOffsets("altered", Map.of(at, new OffsetAndMetadata(7, "note"))).partitionResult(at));
        ask("group: alter offsets: unknown topic", () -> {
            TopicPartition unknown = new TopicPartition("unknown", 0);
            return admin.alterConsumerGroupOffsets("altered", Map.of(unknown, new OffsetAndMetadata(7))).partitionResult(unknown);
        });
        ask("group: alter offsets: long note", () -> admin.alterConsumerGroupOffsets("altered",
            Map.of(at, new OffsetAndMetadata(7, "n".repeat(5000)))).partitionResult(at));
        ask("group: offsets", () -> admin.listConsumerGroupOffsets("altered").partitionsToOffsetAndMetadata());
        ask("group: describe, only offsets", () -> group("altered"));
        ask("group: delete offsets", () -> admin.deleteConsumerGroupOffsets("altered", Set.of(at)).partitionResult(at));
        ask("group: delete", () -> admin.deleteConsumerGroups(List.of("altered")).deletedGroups());
        for (String protocol : List.of("classic", "consumer")) {
            withMember(protocol, at);
        }
        ask("consumer groups", () -> admin.listConsumerGroups().all().get().stream()
            .map(g -> g.groupId() + " " + g.groupState().orElse(null) + " " + g.isSimpleConsumerGroup()).toList());
        ask("groups: by state", () -> admin.listGroups(new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY))).all().get()
            .stream().map(g -> g.groupId() + " " + g.protocol() + " " + g.groupState().orElse(null)).toList());
    }

    private void withMember(String protocol, TopicPartition at) {
        String name = "group-" + protocol;
        Map<String, Object> settings = Map.of("group.id", name, "group.protocol", protocol, "client.id", "member",
            "auto.offset.reset", "earliest");
        ask(name + ": join and commit", () -> {
            try (KafkaConsumer<byte[], byte[]> consumer = consumer(settings)) {
                consumer.subscribe(List.of("grouped"));
                for (int turn = 0; turn < 50 && consumer.assignment().isEmpty(); turn++) {
                    consumer.poll(Duration.ofMillis(100));
                }
                consumer.commitSync(Map.of(at, new OffsetAndMetadata(3, "m")));
                show(consumer.assignment());
                ask(name + ": describe with a member", () -> group(name));
                ask(name + ": describe as classic", () -> admin.describeClassicGroups(List.of(name)).describedGroups().get(name)
                    .thenApply(g -> g.state() + " " + g.protocol() + " " + g.protocolData() + " " + g.members().size()));
                ask(name + ": delete with a member", () -> admin.deleteConsumerGroups(List.of(name)).deletedGroups());
                ask(name + ": delete offsets of a subscribed topic",
                    () -> admin.deleteConsumerGroupOffsets(name, Set.of(at)).partitionResult(at));
                ask(name + ": alter offsets with a member",
                    () -> admin.alterConsumerGroupOffsets(name, Map.of(at, new OffsetAndMetadata(1))).partitionResult(at));
                ask(name + ": listed", () -> admin.listGroups().all().get().stream().filter(g -> g.groupId().equals(name))
                    .map(g -> g.type() + " " + g.protocol() + " " + g.groupState()).toList());
                ask(name + ": remove members", () -> admin.removeMembersFromConsumerGroup(name,
                    new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("no-such-instance")))).all());
            }
            return "left";
        });
        ask(name + ": describe when empty", () -> group(name));
        ask(name + ": offsets", () -> admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata());
        ask(name + ": remove all members", () -> admin.removeMembersFromConsumerGroup(name,
            new RemoveMembersFromConsumerGroupOptions()).all());
    }

    private Object group(String name) {
        return admin.describeConsumerGroups(List.of(name), new DescribeConsumerGroupsOptions().includeAuthorizedOperations(true))
            .describedGroups().get(name).thenApply(group -> List.of(
                "state " + group.groupState(), "type " + group.type(), "simple " + group.isSimpleConsumerGroup(),
                "assignor " + group.partitionAssignor(), "coordinator " + id(group.coordinator()),
                "operations " + (group.authorizedOperations() == null ? null : new TreeSet<>(group.authorizedOperations())),
                "members " + group.members().stream().map(m -> m.clientId() + " " + m.groupInstanceId() + " "
                    + m.assignment().topicPartitions().stream().map(String::valueOf).sorted().toList()
                    + " " + m.host().startsWith("/")).toList()));
    }

    private void replicas() {
        TopicPartition at = new TopicPartition("plain", 0);
        TopicPartition unknown = new TopicPartition("unknown", 0);
        ask("elect: preferred, all", () -> admin.electLeaders(ElectionType.PREFERRED, null).partitions());
        ask("elect: preferred", () -> admin.electLeaders(ElectionType.PREFERRED, Set.of(at)).partitions());
        ask("elect: unclean", () -> admin.electLeaders(ElectionType.UNCLEAN, Set.of(at)).partitions());
        ask("elect: unknown topic", () -> admin.electLeaders(ElectionType.PREFERRED, Set.of(unknown)).partitions());
        ask("reassignments: none", () -> admin.listPartitionReassignments().reassignments());
        ask("reassignments: of a partition", () -> admin.listPartitionReassignments(Set.of(at)).reassignments());
        ask("reassignments: of an unknown one", () -> admin.listPartitionReassignments(Set.of(unknown)).reassignments());
        ask("reassign: to itself", () -> reassign(at, List.of(BROKER)));
        ask("reassign: to another broker", () -> reassign(at, List.of(77)));
        ask("reassign: to nothing", () -> reassign(at, List.of()));
        ask("reassign: twice the same", () -> reassign(at, List.of(BROKER, BROKER)));
        ask("reassign: unknown topic", () -> reassign(unknown, List.of(BROKER)));
        ask("reassign: cancel", () -> admin.alterPartitionReassignments(Map.of(at, Optional.empty())).values());
        ask("log dirs: topics", () -> admin.describeLogDirs(List.of(BROKER)).descriptions().get(BROKER).get().values().stream()
            .flatMap(d -> d.replicaInfos().entrySet().stream()).filter(e -> !e.getKey().topic().startsWith("__"))
            .map(e -> e.getKey() + " lag " + e.getValue().offsetLag() + " future " + e.getValue().isFuture()).toList());
        ask("log dirs: totals are there", () -> admin.describeLogDirs(List.of(BROKER)).descriptions().get(BROKER).get().values()
            .stream().map(d -> d.error() + " " + d.totalBytes().isPresent() + " " + d.usableBytes().isPresent()).toList());
        TopicPartitionReplica replica = new TopicPartitionReplica("plain", 0, BROKER);
        ask("replica log dirs", () -> admin.describeReplicaLogDirs(List.of(replica)).values().get(replica)
            .thenApply(i -> (i.getCurrentReplicaLogDir() != null) + " " + i.getCurrentReplicaOffsetLag() + " " + i.getFutureReplicaLogDir()));
        ask("alter replica log dirs", () -> admin.alterReplicaLogDirs(Map.of(replica, "/nowhere")).values().get(replica));
        ask("unregister broker", () -> admin.unregisterBroker(77).all());
        ask("unregister controller", () -> admin.unregisterController(77).all());
        ask("voters: add", () -> admin.addRaftVoter(77, new Uuid(7, 7),
            Set.of(new RaftVoterEndpoint("CONTROLLER", "127.0.0.1", 9))).all());
        ask("voters: remove", () -> admin.removeRaftVoter(77, new Uuid(7, 7)).all());
        ask("update features: unknown", () -> admin.updateFeatures(Map.of("no.such", new FeatureUpdate((short) 1, FeatureUpdate.UpgradeType.UPGRADE)),
            new UpdateFeaturesOptions()).values());
    }

    private Object reassign(TopicPartition at, List<Integer> replicas) {
        return admin.alterPartitionReassignments(Map.of(at, Optional.of(new NewPartitionReassignment(replicas)))).values();
    }

    private void producers() {
        TopicPartition at = new TopicPartition("produced", 0);
        ask("producers: topic", () -> created(new NewTopic("produced", 1, (short) 1)));
        ask("producers: none", () -> producersOf(at));
        ask("producers: send", () -> {
            try (KafkaProducer<byte[], byte[]> producer = producer(Map.of())) {
                for (int i = 0; i < 3; i++) {
                    producer.send(new ProducerRecord<>("produced", 0, STAMP, key(i), key(i))).get();
                }
                return "sent";
            }
        });
        ask("producers: one", () -> producersOf(at));
        ask("producers: unknown topic", () -> producersOf(new TopicPartition("unknown", 0)));
        ask("transactions: list", () -> admin.listTransactions().all());
        ask("transactions: list: of an unknown state", () -> admin.listTransactions(
            new ListTransactionsOptions().filterStates(Set.of(TransactionState.UNKNOWN))).all());
        ask("transactions: describe unknown", () -> admin.describeTransactions(List.of("no-such")).description("no-such"));
        ask("transactions: abort", () -> admin.abortTransaction(new AbortTransactionSpec(at, 1234, (short) 0, 0)).all());
        ask("transactions: terminate", () -> admin.forceTerminateTransaction("no-such").result());
        ask("transactions: fence", () -> admin.fenceProducers(List.of("no-such")).epochId("no-such"));
        ask("transactions: begin", () -> {
            try (KafkaProducer<byte[], byte[]> producer = producer(Map.of("transactional.id", "transaction"))) {
                producer.initTransactions();
                return "begun";
            }
        });
    }

    private Object producersOf(TopicPartition at) {
        return admin.describeProducers(List.of(at)).partitionResult(at).thenApply(found -> found.activeProducers().stream()
            .map(p -> "epoch " + p.producerEpoch() + " sequence " + p.lastSequence() + " last " + (p.lastTimestamp() - STAMP)
                + " coordinator epoch " + p.coordinatorEpoch() + " transaction " + p.currentTransactionStartOffset()).toList());
    }

    private void securityAndQuotas() {
        ask("acls: describe", () -> admin.describeAcls(AclBindingFilter.ANY).values());
        ask("acls: create", () -> admin.createAcls(List.of(new AclBinding(
            new ResourcePattern(ResourceType.TOPIC, "plain", PatternType.LITERAL),
            new AccessControlEntry("User:someone", "*", AclOperation.READ, AclPermissionType.ALLOW)))).all());
        ask("acls: delete", () -> admin.deleteAcls(List.of(AclBindingFilter.ANY)).all());
        ask("quotas: describe", () -> admin.describeClientQuotas(ClientQuotaFilter.all()).entities());
        ClientQuotaEntity client = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, "nobody"));
        ask("quotas: set", () -> quota(client, "producer_byte_rate", 1024.0));
        ask("quotas: read back", () -> admin.describeClientQuotas(ClientQuotaFilter.all()).entities());
        ask("quotas: undone", () -> quota(client, "producer_byte_rate", null));
        ask("quotas: unknown name", () -> quota(client, "no_such", 1.0));
        ask("scram: describe", () -> admin.describeUserScramCredentials().all());
        ask("scram: unknown user", () -> admin.describeUserScramCredentials(List.of("no-such")).description("no-such"));
        ask("scram: set", () -> admin.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion("someone",
            new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), "secret"))).all());
        ask("scram: undone", () -> admin.alterUserScramCredentials(List.of(
            new UserScramCredentialDeletion("someone", ScramMechanism.SCRAM_SHA_256))).all());
        ask("tokens: describe", () -> admin.describeDelegationToken().delegationTokens());
        ask("tokens: create", () -> admin.createDelegationToken().delegationToken());
        ask("tokens: renew", () -> admin.renewDelegationToken(new byte[] {1}).expiryTimestamp());
        ask("tokens: expire", () -> admin.expireDelegationToken(new byte[] {1}).expiryTimestamp());
    }

    private Object quota(ClientQuotaEntity entity, String name, Double value) {
        return admin.alterClientQuotas(List.of(
            new ClientQuotaAlteration(entity, List.of(new ClientQuotaAlteration.Op(name, value))))).all();
    }

    private void otherGroups() {
        ask("share groups: describe unknown", () -> admin.describeShareGroups(List.of("nobody")).describedGroups().get("nobody")
            .thenApply(g -> g.groupState() + " " + g.members()));
        ask("share groups: delete unknown", () -> admin.deleteShareGroups(List.of("nobody")).deletedGroups());
        TopicPartition at = new TopicPartition("plain", 0);
        ask("share groups: offsets", () -> admin.listShareGroupOffsets(Map.of("nobody", new ListShareGroupOffsetsSpec()))
            .partitionsToOffsetInfo("nobody"));
        ask("share groups: alter offsets", () -> admin.alterShareGroupOffsets("nobody", Map.of(at, 1L)).partitionResult(at));
        ask("share groups: delete offsets", () -> admin.deleteShareGroupOffsets("nobody", Set.of("plain")).topicResult("plain"));
        ask("streams groups: delete unknown", () -> admin.deleteStreamsGroups(List.of("nobody")).deletedGroups());
        ask("streams groups: offsets", () -> admin.listStreamsGroupOffsets(Map.of("nobody", new ListStreamsGroupOffsetsSpec()))
            .partitionsToOffsetAndMetadata("nobody"));
        ask("streams groups: alter offsets",
            () -> admin.alterStreamsGroupOffsets("streams", Map.of(at, new OffsetAndMetadata(1))).partitionResult(at));
        ask("streams groups: delete offsets", () -> admin.deleteStreamsGroupOffsets("streams", Set.of(at)).partitionResult(at));
        ask("streams groups: describe unknown", () -> admin.describeStreamsGroups(List.of("nobody")).describedGroups().get("nobody")
            .thenApply(g -> g.groupState() + " " + g.members()));
    }

    /** A removal takes a moment to reach every part of the real broker. */
    private Recorder settled() throws InterruptedException {
        Thread.sleep(4 * SETTLE_MS);
        return this;
    }

    private void removal() {
        ask("delete: topic", () -> admin.deleteTopics(List.of("answered")).topicNameValues());
        ask("delete: unknown", () -> admin.deleteTopics(List.of("unknown")).topicNameValues());
        ask("delete: by unknown id",
            () -> admin.deleteTopics(TopicCollection.ofTopicIds(List.of(new Uuid(7, 7)))).topicIdValues());
        ask("delete: by id", () -> {
            Uuid id = admin.describeTopics(List.of("small")).topicNameValues().get("small").get().topicId();
            return admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).topicIdValues().get(id);
        });
        ask("list topics: at the end", () -> settled().admin.listTopics().names().get().stream().filter(n -> !n.startsWith("__")).toList());
    }
}
