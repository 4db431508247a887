//! The crates' plain numbers under the names operators see.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use console::{Histogram, Prepare, Samples, Source};
use engine::group::Group;
use engine::queue::Depth;
use storage::local::{LocalStore, SYNC_BUCKETS_MICROS, Stats};

use crate::logging;

/// Partitions listed one by one; beyond it a scrape would grow without bound.
const LISTED_PARTITIONS_MAX: usize = 1000;
/// Queues listed one by one, likewise.
const LISTED_QUEUES_MAX: usize = 1000;
/// Groups listed one by one, likewise.
const LISTED_GROUPS_MAX: usize = 1000;
/// How long a scrape may take to find out what has to be asked for.
const PREPARE_TIME: Duration = Duration::from_secs(2);

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// What the log counts.
pub(crate) fn log() -> Source {
    Box::new(|samples| {
        let help = "Log lines that stderr did not take";
        samples.counter("forebay_log_lines_dropped", help, logging::dropped());
    })
}

/// What the store counts.
pub(crate) fn storage(store: LocalStore) -> Source {
    Box::new(move |samples| {
        let stats = store.stats();
        for (name, help, value) in [
            (
                "forebay_storage_appended_bytes",
                "Bytes of batches appended",
                stats.appended_bytes,
            ),
            (
                "forebay_journal_groups",
                "Commit groups written",
                stats.groups,
            ),
            (
                "forebay_journal_written_bytes",
                "Journal bytes written",
                stats.journal_written_bytes,
            ),
            (
                "forebay_segments_flushed_bytes",
                "Bytes moved to segments",
                stats.flushed_bytes,
            ),
            (
                "forebay_segment_merges",
                "Merges of small segments",
                stats.merges,
            ),
        ] {
            samples.counter(name, help, value);
        }
        let full = u64::from(store.is_full());
        for (name, help, value) in [
            (
                "forebay_storage_unflushed_bytes",
                "Batches in the journal and in memory that are in no segment yet",
                stats.unflushed_bytes,
            ),
            (
                "forebay_storage_tail_bytes",
                "Batches kept in memory for readers",
                stats.tail_bytes,
            ),
            (
                "forebay_storage_queued_bytes",
                "Bytes waiting for the journal",
                stats.queued_bytes,
            ),
            (
                "forebay_journal_files",
                "Journal files",
                stats.journal_files,
            ),
            (
                "forebay_segment_files",
                "Segment files",
                stats.segment_files,
            ),
            ("forebay_streams", "Internal logs", stats.streams),
            (
                "forebay_disk_full",
                "1 when publishes are refused for lack of space",
                full,
            ),
        ] {
            samples.gauge(name, help, value);
        }
        sync_times(samples, &stats);
    })
}

fn sync_times(samples: &mut Samples<'_>, stats: &Stats) {
    let bounds = SYNC_BUCKETS_MICROS
        .iter()
        .map(|micros| *micros as f64 / 1e6);
    let bounds = bounds.chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(stats.sync_buckets).collect();
    let histogram = Histogram {
        sum: Duration::from_micros(stats.sync_micros).as_secs_f64(),
        count: stats.sync_buckets.iter().sum(),
        buckets: &buckets,
    };
    samples.histogram(
        "forebay_journal_sync_seconds",
        "Time to make a commit group durable",
        histogram,
    );
}

/// What connections hold of the memory budget.
pub(crate) fn memory(budget: net::Budget) -> Source {
    Box::new(move |samples| {
        let now = budget.numbers();
        for (name, help, value) in [
            (
                "forebay_memory_budget_bytes",
                "Bytes that connections may hold together",
                now.limit_bytes,
            ),
            (
                "forebay_memory_held_bytes",
                "Bytes that connections hold",
                now.used_bytes,
            ),
            (
                "forebay_memory_waiting",
                "Connections that wait for memory",
                now.waiting,
            ),
        ] {
            samples.gauge(name, help, value);
        }
        for (name, help, value) in [
            (
                "forebay_memory_waits",
                "How often a connection had to wait for memory",
                now.waits_total,
            ),
            (
                "forebay_memory_evictions",
                "Connections closed because they held memory without progress while others waited",
                now.evicted_total,
            ),
        ] {
            samples.counter(name, help, value);
        }
    })
}

/// What the engine counts.
pub(crate) fn engine(broker: engine::Broker) -> Source {
    Box::new(move |samples| {
        let metrics = broker.metrics();
        for (name, help, counter) in [
            (
                "forebay_records_published",
                "Records appended",
                &metrics.records_published,
            ),
            (
                "forebay_batches_published",
                "Batches appended",
                &metrics.batches_published,
            ),
            (
                "forebay_published_bytes",
                "Bytes appended",
                &metrics.bytes_published,
            ),
            ("forebay_fetches", "Fetches answered", &metrics.fetches),
            (
                "forebay_fetched_bytes",
                "Bytes fetched",
                &metrics.bytes_fetched,
            ),
            (
                "forebay_disk_reads",
                "Reads that touched the disk",
                &metrics.disk_reads,
            ),
            (
                "forebay_messages_sent",
                "Messages sent to queues",
                &metrics.messages_sent,
            ),
            (
                "forebay_messages_received",
                "Messages received",
                &metrics.messages_received,
            ),
            (
                "forebay_empty_receives",
                "Receives that found nothing",
                &metrics.empty_receives,
            ),
            (
                "forebay_messages_deleted",
                "Messages acknowledged",
                &metrics.messages_deleted,
            ),
            (
                "forebay_messages_dead_lettered",
                "Messages dead-lettered",
                &metrics.messages_dead_lettered,
            ),
        ] {
            samples.counter(name, help, read(counter));
        }
        let all = broker.inventory();
        samples.gauge("forebay_topics", "Topics", all.topics().len());
        let groups = all.group_names().len();
        samples.gauge("forebay_groups", "Consumer groups", groups);
        samples.gauge("forebay_queues", "Queues", all.queues().len());
        queue_state(samples, &broker);
        group_state(samples, &broker);
        partitions(samples, &broker);
        queues(samples, &broker);
    })
}

/// A number of a queue: name, what it says, and where it stands.
type OfQueue = (&'static str, &'static str, fn(&Depth) -> u64);

const QUEUE_GAUGES: &[OfQueue] = &[
    (
        "forebay_queue_ready",
        "Messages ready to be received",
        |d| d.ready,
    ),
    (
        "forebay_queue_in_flight",
        "Messages in flight (unacked)",
        |d| d.in_flight,
    ),
    (
        "forebay_queue_delayed",
        "Messages delayed, or waiting for a retry",
        |d| d.delayed,
    ),
    (
        "forebay_queue_keys_in_flight",
        "Keys with messages in flight",
        |d| d.keys_in_flight,
    ),
    (
        "forebay_queue_unreadable",
        "Messages whose records cannot be read",
        |d| d.unreadable,
    ),
];
const QUEUE_COUNTERS: &[OfQueue] = &[
    ("forebay_queue_sent", "Messages sent", |d| d.sent),
    ("forebay_queue_sent_bytes", "Bytes of messages sent", |d| {
        d.sent_bytes
    }),
    (
        "forebay_queue_deduplicated",
        "Duplicates accepted and dropped",
        |d| d.deduplicated,
    ),
    ("forebay_queue_received", "Messages received", |d| {
        d.received
    }),
    (
        "forebay_queue_empty_receives",
        "Receives that found nothing",
        |d| d.empty_receives,
    ),
    ("forebay_queue_deleted", "Messages acknowledged", |d| {
        d.deleted
    }),
    (
        "forebay_queue_dead_lettered",
        "Messages dead-lettered",
        |d| d.dead_lettered,
    ),
];

/// Where groups are, as it was seen before the last scrape.
pub(crate) type SeenGroups = Arc<Mutex<Vec<SeenGroup>>>;

/// One group.
#[derive(Debug)]
pub(crate) struct SeenGroup {
    name: Arc<str>,
    members: usize,
    /// Topic, partition, committed offset, lag.
    offsets: Vec<(String, String, u64, u64)>,
}

/// Finds out what can only be asked for: how old the oldest messages of the listed queues are, which may take a read of
/// the disk, and where groups are. What is not found out in time is left as it was.
pub(crate) fn prepare(broker: engine::Broker, groups: SeenGroups) -> Prepare {
    Box::new(move || {
        let (broker, groups) = (broker.clone(), Arc::clone(&groups));
        Box::pin(async move {
            let look = async {
                let seen = look_at_groups(&broker).await;
                *groups.lock().unwrap_or_else(PoisonError::into_inner) = seen;
                for queue in broker
                    .inventory()
                    .queues()
                    .page("", None, LISTED_QUEUES_MAX)
                {
                    broker.look_for_oldest(&queue).await;
                }
            };
            let _ = tokio::time::timeout(PREPARE_TIME, look).await;
        })
    })
}

/// Every group in the order of names, until as many partitions are listed as may be.
async fn look_at_groups(broker: &engine::Broker) -> Vec<SeenGroup> {
    let mut seen = Vec::new();
    let mut left = LISTED_PARTITIONS_MAX;
    for name in broker
        .inventory()
        .group_names()
        .into_iter()
        .take(LISTED_GROUPS_MAX)
    {
        let look = |group: Option<&Group>| {
            let group = group?;
            Some((group.describe().members.len(), group.committed_all(false)))
        };
        let found = broker.inventory().inspect_group(&name, look);
        let Ok(Some((members, committed))) = found.await else {
            continue;
        };
        let topics = broker.inventory().topics();
        let offsets = committed.into_iter().filter_map(|fetched| {
            let offset = u64::try_from(fetched.offset.ok()?.offset).ok()?;
            let topic = topics.with_id(fetched.partition.topic)?;
            let end = topic
                .partition(fetched.partition.partition)?
                .high_watermark();
            let partition = fetched.partition.partition.to_string();
            let lag = end.saturating_sub(offset);
            Some((topic.name.to_string(), partition, offset, lag))
        });
        let offsets: Vec<_> = offsets.take(left).collect();
        left -= offsets.len();
        seen.push(SeenGroup {
            name,
            members,
            offsets,
        });
    }
    seen
}

/// Where groups are, under the names dashboards know.
pub(crate) fn groups(seen: SeenGroups) -> Source {
    Box::new(move |samples| {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let members = seen.iter();
        let members = members.map(|group| ([("consumergroup", &*group.name)], group.members));
        samples.gauges(
            "kafka_consumergroup_members",
            "Members of a consumer group",
            members,
        );
        let each = |number: fn(&(String, String, u64, u64)) -> u64| {
            seen.iter().flat_map(move |group| {
                group.offsets.iter().map(move |one| {
                    let labels = [
                        ("consumergroup", &*group.name),
                        ("topic", one.0.as_str()),
                        ("partition", one.1.as_str()),
                    ];
                    (labels, number(one))
                })
            })
        };
        samples.gauges(
            "kafka_consumergroup_current_offset",
            "Committed offset of a consumer group",
            each(|one| one.2),
        );
        samples.gauges(
            "kafka_consumergroup_lag",
            "Offsets a consumer group has yet to read",
            each(|one| one.3),
        );
    })
}

/// How full each queue is and what happened to it, up to a limit.
fn queues(samples: &mut Samples<'_>, broker: &engine::Broker) {
    let all = broker
        .inventory()
        .queues()
        .page("", None, LISTED_QUEUES_MAX);
    let listed: Vec<_> = all.iter().map(|q| (&*q.name, q.numbers())).collect();
    let of = |number: fn(&Depth) -> u64| {
        let listed = listed.iter();
        listed.map(move |(name, depth)| ([("queue", *name)], number(depth)))
    };
    for (name, help, number) in QUEUE_GAUGES {
        samples.gauges(name, help, of(*number));
    }
    for (name, help, number) in QUEUE_COUNTERS {
        samples.counters(name, help, of(*number));
    }
    let consumers = all.iter().map(|queue| {
        let consumers = u64::from(broker.consumers(queue));
        ([("queue", &*queue.name)], consumers)
    });
    samples.gauges(
        "forebay_queue_consumers",
        "Consumers of the queue",
        consumers,
    );
    let ages = listed.iter().map(|(name, depth)| {
        let age = depth.oldest_ms.map_or(0, |oldest| broker.age_ms(oldest));
        ([("queue", *name)], age as f64 / 1000.0)
    });
    samples.gauges(
        "forebay_queue_oldest_age_seconds",
        "Age of the oldest message that is not acknowledged",
        ages,
    );
}

/// What the state of queues takes in memory.
fn queue_state(samples: &mut Samples<'_>, broker: &engine::Broker) {
    let (used, most) = broker.queue_state_bytes();
    samples.gauge(
        "forebay_queue_state_bytes",
        "Memory the state of queues takes",
        used,
    );
    samples.gauge(
        "forebay_queue_state_limit_bytes",
        "Memory the state of queues may take",
        most,
    );
}

/// What the state of consumer groups takes in memory.
fn group_state(samples: &mut Samples<'_>, broker: &engine::Broker) {
    let (used, most) = broker.group_state_bytes();
    samples.gauge(
        "forebay_group_state_bytes",
        "Memory the state of consumer groups takes",
        used,
    );
    samples.gauge(
        "forebay_group_state_limit_bytes",
        "Memory the state of consumer groups may take",
        most,
    );
}

/// Offsets of each partition, up to a limit, under the names dashboards know.
fn partitions(samples: &mut Samples<'_>, broker: &engine::Broker) {
    let topics = broker.inventory().topics();
    let all = topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |p| (topic, p)));
    let listed: Vec<_> = all
        .take(LISTED_PARTITIONS_MAX)
        .map(|(topic, p)| {
            (
                Arc::clone(&topic.name),
                p.index.to_string(),
                p.start(),
                p.high_watermark(),
            )
        })
        .collect();
    let labelled = |number: fn(&Listed) -> u64| {
        listed.iter().map(move |one| {
            (
                [("topic", &*one.0), ("partition", one.1.as_str())],
                number(one),
            )
        })
    };
    samples.gauges(
        "kafka_topic_partition_current_offset",
        "One past the last readable offset",
        labelled(|one| one.3),
    );
    samples.gauges(
        "kafka_topic_partition_oldest_offset",
        "First readable offset",
        labelled(|one| one.2),
    );
}

/// Topic, partition, first readable offset, one past the last.
type Listed = (Arc<str>, String, u64, u64);

/// What the Kafka frontend counts.
pub(crate) fn kafka(metrics: Arc<kafka::Metrics>) -> Source {
    Box::new(move |samples| {
        samples.counter(
            "forebay_kafka_malformed",
            "Requests that could not be read",
            read(&metrics.malformed),
        );
        let counted: Vec<(String, u64)> = metrics
            .requests()
            .map(|(key, count)| (kafka::api_name(key), count))
            .collect();
        samples.counters(
            "forebay_kafka_requests",
            "Requests by API",
            counted
                .iter()
                .map(|(api, count)| ([("api", api.as_str())], *count)),
        );
    })
}

/// Name, help, and where the frontend counts it.
type AmqpNumber = (&'static str, &'static str, fn(&amqp::Metrics) -> &AtomicU64);

/// What there is of AMQP now.
const AMQP_GAUGES: &[AmqpNumber] = &[
    ("forebay_amqp_channels_open", "Channels open", |metrics| {
        &metrics.channels_open
    }),
    ("forebay_amqp_consumers", "AMQP consumers", |metrics| {
        &metrics.consumers
    }),
    (
        "forebay_amqp_connections_blocked",
        "Connections blocked from publishing by low disk",
        |metrics| &metrics.connections_blocked,
    ),
];

/// What happened over AMQP.
const AMQP_COUNTERS: &[AmqpNumber] = &[
    (
        "forebay_amqp_messages_published",
        "Messages published",
        |metrics| &metrics.published,
    ),
    (
        "forebay_amqp_messages_confirmed",
        "Publishes confirmed",
        |metrics| &metrics.confirmed,
    ),
    (
        "forebay_amqp_messages_refused",
        "Publishes rejected with a nack",
        |metrics| &metrics.refused,
    ),
    (
        "forebay_amqp_messages_returned",
        "Messages returned because they were routed to no queue",
        |metrics| &metrics.returned,
    ),
    (
        "forebay_amqp_messages_unroutable",
        "Messages dropped because they were routed to no queue",
        |metrics| &metrics.unroutable,
    ),
    (
        "forebay_amqp_messages_delivered",
        "Messages delivered",
        |metrics| &metrics.delivered,
    ),
    (
        "forebay_amqp_messages_redelivered",
        "Messages redelivered",
        |metrics| &metrics.redelivered,
    ),
    (
        "forebay_amqp_messages_headers_omitted",
        "Messages delivered without the headers that did not fit into the client's frames",
        |metrics| &metrics.headers_omitted,
    ),
    (
        "forebay_amqp_messages_acknowledged",
        "Messages acknowledged by clients, or not to be acknowledged",
        |metrics| &metrics.acknowledged,
    ),
    (
        "forebay_amqp_replies",
        "Direct reply-to responses",
        |metrics| &metrics.replies,
    ),
    (
        "forebay_amqp_logins_refused",
        "Logins that failed",
        |metrics| &metrics.logins_refused,
    ),
    (
        "forebay_amqp_channel_errors",
        "Channels closed because of what a client did",
        |metrics| &metrics.channel_faults,
    ),
    (
        "forebay_amqp_connection_errors",
        "Connections closed because of what a client did",
        |metrics| &metrics.connection_faults,
    ),
];

/// What the AMQP frontend counts.
pub(crate) fn amqp(metrics: Arc<amqp::Metrics>) -> Source {
    Box::new(move |samples| {
        for (name, help, number) in AMQP_GAUGES {
            samples.gauge(name, help, read(number(&metrics)));
        }
        for (name, help, number) in AMQP_COUNTERS {
            samples.counter(name, help, read(number(&metrics)));
        }
    })
}

/// What the SQS frontend counts.
pub(crate) fn sqs(metrics: Arc<sqs::Metrics>) -> Source {
    Box::new(move |samples| {
        let actions: Vec<_> = metrics.actions().collect();
        samples.counters(
            "forebay_sqs_requests",
            "Requests by action",
            actions
                .iter()
                .map(|(name, asked, _)| ([("action", *name)], *asked)),
        );
        samples.counters(
            "forebay_sqs_errors",
            "Requests answered with an error, by action",
            actions
                .iter()
                .map(|(name, _, failed)| ([("action", *name)], *failed)),
        );
        samples.counter(
            "forebay_sqs_refused",
            "Requests that could not be read, trusted or understood",
            metrics.refusals(),
        );
    })
}
