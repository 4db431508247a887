//! `docs/reference/kafka-protocol.md` says what the broker answers ApiVersions with. `UPDATE=1` rewrites it.

use std::path::PathBuf;

use engine::topic::settings::{Kind, SETTINGS};
use kafka::wire::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use crate::client::Server;

const HEAD: &str = "# Kafka protocol coverage

Written from what the broker advertises, by the test in `crates/kafka/tests/it/coverage.rs`, which also keeps it
fresh (`UPDATE=1 cargo test -p kafka --test it coverage`). It is compared with Apache Kafka 4.4, call by call:
`cargo xtask conformance differ kafka` prints every answer that is not the same, and `conformance/differ/explained.toml`
has the reason for each.

## What is different from Kafka

- **No transactions.** They are refused where a client first asks for them, so that none begins: the coordinator's refusal is
  `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`, the only one that librdkafka does not ask again after. Idempotent producers work.
- **Classic consumer groups only.** Groups of the new protocol (KIP-848), share groups and streams groups are not served. **A
  consumer that is set to `group.protocol=consumer` waits silently**: it sees that the API is not there, sends nothing, and its
  polls return nothing, as if the topic were empty; librdkafka says so in its debug log alone. Leave `group.protocol` at
  `classic`, the default. A client that sends such a request nevertheless is disconnected, and the broker's log names the client
  and the API (`connection closed: protocol error`). There are no finalized features, because each of them would turn on
  something that is not there.
- **Compaction does not run.** `cleanup.policy=compact` is stored, keyless records are refused as with Kafka, and everything is kept.
- **One node, one copy.** The broker is node `kafka.node_id` (1), leads every partition, and the leader epoch is 0 wherever one
  appears. There is no metadata quorum to describe and no broker to unregister. `acks=all` means on disk (`fdatasync`).
  `min.insync.replicas` above the number of copies refuses nobody, as with Kafka 4.4.
- **No SASL, no TLS, no access control lists, no quotas, no delegation tokens.** Lists and quotas are answered as by a broker
  without them; `throttle_time_ms` is always 0.
- **Offsets of groups are in no topic**: there is no `__consumer_offsets`, and no internal topic at all.
- **The state of all groups** (members with what they say of themselves, ids that were handed out, committed offsets with
  their texts) has a limit, `memory.group_state_bytes`. What would make it grow beyond is refused before anything of it is
  kept: JoinGroup and an offset with `COORDINATOR_LOAD_IN_PROGRESS`, an assignment with `COORDINATOR_NOT_AVAILABLE`. Clients
  try again after a while, and so go on when there is room again; the log says when it is nearly full. What adds nothing is always taken: heartbeats,
  a commit that replaces an offset and has no longer text, a member that joins again as it was, leaving and deleting.
- **Idempotent producers**: a partition remembers 50,000 at most, and forgets the longest silent ones first; one that was forgotten
  may go on with any sequence number, as one that expired with Kafka. They do not expire by time: `producer.id.expiration.ms` is
  kept and has no effect.
- **Ids of groups** with control characters are `INVALID_GROUP_ID`; Kafka takes any.
- **A topic that was made for a queue** is read like a compacted one: what was acknowledged in the queue is gone, unless the queue
  keeps it for replay. Offsets have gaps, a batch that has lost records is returned plain, and a fetch from a gap, or from
  before the first record, goes on behind it instead of `OFFSET_OUT_OF_RANGE`. It has
  `message.timestamp.type=LogAppendTime`: how old a message is counts from when it came. A queue that is full refuses
  producers with `POLICY_VIOLATION`, or with `THROTTLING_QUOTA_EXCEEDED` where it may help to try again. So does a queue whose
  message groups would take more memory than there is for the state of queues (`memory.queue_state_bytes`).
- **A batch for a topic with a queue that is ordered, or has a limit of bytes,** has 131,072 records at most; more are
  `MESSAGE_TOO_LARGE`, and a producer that gets that splits the batch. Topics without such a queue take 1,048,576.
- **The greatest timestamp** is that of a record that is there; Kafka 4.4 may answer one that was deleted.
- **A topic that a metadata request creates** has its partitions in the same answer, and not a moment later.
- **Refusals** may say more than Kafka's, never with another code: `MESSAGE_TOO_LARGE` names both sizes.
- **Loggers** are the parts of this process (`root`, `kafka`, `engine`, …), and `FATAL` switches one off. A level that was changed
  holds until the next start.

## Ports and containers

Clients talk to the address they are told, not to the one they began with. Without `kafka.advertised_address` that is the
address the client reached, or `localhost` with the same port for a client that comes from the host of a container. A
published port that differs, or a load balancer, needs the setting:

```sh
docker run -p 19092:9092 -e FOREBAY__KAFKA__ADVERTISED_ADDRESS=localhost:19092 forebay \\
  serve --kafka 0.0.0.0:9092 --allow-open
```

The `dev` profile listens on loopback only; `--allow-open` (or `allow_open = true`) is the explicit word for an address that
others can reach without a login.

## Headers that Forebay adds

Their values are text, so that a consumer can read them. Names that begin with `forebay.` are the broker's: what a producer sends
under such a name is a header like any other to readers of the topic, and means nothing to queues.

| header | value |
|---|---|
| `forebay.dead-letter.reason` | `rejected`, `expired`, `maxlen`, `delivery_limit` or `attempts` |
| `forebay.dead-letter.queue` | name of the queue it was dead-lettered from |
| `forebay.dead-letter.offset` | its offset there |
| `forebay.dead-letter.class` | why it failed, in one word: only where a consumer said it |
| `forebay.dead-letter.message` | why, in the words of the consumer that refused it: only where it said something |
| `forebay.dead-letter.attempts` | how often it was delivered there |
| `forebay.dead-letter.sent-ms`, `forebay.dead-letter.dead-ms` | when it was sent, and when it was dead-lettered, ms since 1970 |
| `forebay.dead`, `forebay.deaths` | the same and every death before, JSON, for queues |
| `forebay.id`, `forebay.attempts` | identity and deliveries of a message that came from another queue |
| `forebay.due`, `forebay.expires` | not to be delivered before, and after, ms since 1970 |
| `forebay.priority`, `forebay.dedup` | three digits; the deduplication id |
| `forebay.via`, `forebay.hidden-keys` | the exchange, and each routing key behind a line feed; what is no text stands as `%XX` |
| `forebay.amqp` | the properties of an AMQP message as they came, the one value that is binary |
| `forebay.type.NAME`, `forebay.sender`, `forebay.trace` | type of an SQS attribute, sender, trace |

A dead letter keeps at most 64 events of its history, one for each queue and reason; the oldest go first. Names of queues have at most 255
bytes, routing keys 65,535.

## Requests

A request that is not listed ends the connection, as in other brokers; one of an unknown version does too, except
ApiVersions, which is answered in its oldest layout.

| key | request | versions | notes and limits |
|---|---|---|---|
";

const TAIL: &str = "
## What holds for all of them

- Bytes after a request's end are left alone: librdkafka asks for all topics with three bytes too many.
- Answers come in the order of requests. Produces of a connection overlap, up to 64; every other request waits for
  what came before it.
- A request with records has at most 100 MiB, any other 4 MiB, an array a million elements, a message 10,000 unknown tagged fields. A connection
  that sends nothing for 10 minutes, a request that takes more than 30 seconds and is slower than 64 KiB per second, and a
  peer that does not read for 30 seconds end with their connection.
- What an answer takes is counted against the memory budget before it is made; without fetched records it may take 256 MiB
  of memory, or what a single request may have of the budget. Offsets of a group, settings of a topic, members of a group or
  producers of a partition that do not fit any more are answered with `POLICY_VIOLATION`: ask for less at once. An answer
  that has no place for that ends the connection, with the reason in the log.
- A resource that AlterConfigs or IncrementalAlterConfigs names twice, and a partition that ListOffsets names twice, is
  `INVALID_REQUEST`; of a partition that DeleteRecords names twice the last mention counts; a group that DeleteGroups names
  twice is answered once.
- Records stay compressed as they came, and are returned byte for byte but for base offset and leader epoch; and for the
  greatest timestamp in the header, where it was not that of the records.
- A produced batch is looked through before it is acknowledged, compressed or not: offset deltas count up from 0, there
  are as many records as announced, every length is inside of what it is in, nothing follows the last record or the
  compressed stream. Timestamps have to be within `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`,
  and records of a topic with `cleanup.policy=compact` need keys. What is not so is refused with `INVALID_RECORD` or
  `INVALID_TIMESTAMP`, with the first 64 records at fault in `record_errors`; a wrong checksum with `CORRUPT_MESSAGE`.
  Producers must not set the timestamp type, control, transaction or unknown attribute bits.
- A batch may open to 128 MiB and hold 1,048,576 records; zstd windows may have 128 MiB. Beyond that it is
  `MESSAGE_TOO_LARGE`, upon which producers that compress split the batch.
";

/// What a user should know about a request beyond its versions.
fn notes(key: ApiKey) -> &'static str {
    match key {
        ApiKey::Produce => {
            "advertised from 0 for clients that derive their compression from it, carried out from 3; one batch of \
             layout 2 per partition; zstd from 7; topic ids in 13"
        }
        ApiKey::Fetch => {
            "incremental sessions from 7, as many as `kafka.fetch_sessions_max` and 500,000 partitions in all of them; an \
             answer has at most 8 MiB; a wait at most 5 minutes; zstd from 10; topic ids from 13; no preferred replica"
        }
        ApiKey::ListOffsets => {
            "times -1 to -6; nothing is tiered; the greatest timestamp is that of a record that is not deleted (Kafka 4.4 \
             may answer a deleted one)"
        }
        ApiKey::Metadata => {
            "creates missing topics where client and broker allow it; topic ids from 12"
        }
        ApiKey::OffsetCommit | ApiKey::OffsetFetch => "topic ids in 10",
        ApiKey::FindCoordinator => {
            "groups only: transactional ids are `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`, share groups `INVALID_REQUEST`"
        }
        ApiKey::JoinGroup => "classic groups; `MEMBER_ID_REQUIRED` from 4",
        ApiKey::DescribeGroups => "`GROUP_ID_NOT_FOUND` from 6",
        ApiKey::ListGroups => "every group is of the type `classic`",
        ApiKey::CreateTopics => {
            "a replication factor above 1 is refused, or reported and not carried out where the settings allow it; \
             `cleanup.policy=compact` is stored, compaction does not run yet; names that differ only by `.` for `_` \
             collide, also within one request; a request makes at most 10,000 partitions; settings stand in [topic-settings.md](topic-settings.md)"
        }
        ApiKey::DescribeConfigs => {
            "topics, brokers, groups and loggers; no client metrics. What can only be given at a start is read-only, and \
             of it only what this broker has is listed"
        }
        ApiKey::AlterConfigs | ApiKey::IncrementalAlterConfigs => {
            "topics, brokers, groups and loggers. What is set for all brokers or for this one and is a default of \
             topics takes effect at once and survives a restart; other settings of brokers and those of groups are kept \
             and reported. Settings of TLS and SASL cannot be changed while it runs"
        }
        ApiKey::CreatePartitions => {
            "refused with a reason where a queue delivers the topic in order"
        }
        ApiKey::DeleteRecords => "`POLICY_VIOLATION` where the newest record of each key stays",
        ApiKey::ElectLeaders => "`ELECTION_NOT_NEEDED` for each partition there is",
        ApiKey::AlterPartitionReassignments => "a partition can be moved to where it is",
        ApiKey::ListPartitionReassignments
        | ApiKey::DescribeClientQuotas
        | ApiKey::ListTransactions => "none, ever",
        ApiKey::DescribeLogDirs => {
            "one directory: the data folder, with the sizes of records as they were sent"
        }
        ApiKey::ListConfigResources => "topics, brokers, loggers, and groups that have settings",
        ApiKey::DescribeAcls | ApiKey::CreateAcls | ApiKey::DeleteAcls => {
            "`SECURITY_DISABLED`, as with a broker without an authorizer"
        }
        ApiKey::DescribeUserScramCredentials => {
            "none; a user that is named is `RESOURCE_NOT_FOUND`"
        }
        ApiKey::InitProducerId => "idempotent producers; a transactional id is `INVALID_REQUEST`",
        ApiKey::OffsetForLeaderEpoch => "there is one epoch, and it ends at the high watermark",
        ApiKey::DescribeTopicPartitions => "at most 2,000 partitions per answer",
        ApiKey::DescribeCluster => "brokers only: there are no controllers of their own to list",
        _ => "",
    }
}

fn page(advertised: &ApiVersionsResponse<'_>) -> String {
    let rows = advertised.api_keys.iter().map(|range| {
        let key = ApiKey::try_from(range.api_key).expect("a known key");
        let (name, from, to) = (key.name(), range.min_version, range.max_version);
        format!(
            "| {} | {name} | {from}–{to} | {} |\n",
            range.api_key,
            notes(key)
        )
    });
    HEAD.to_owned() + &rows.collect::<String>() + TAIL
}

#[tokio::test]
async fn the_coverage_page_is_fresh() {
    let server = Server::start().await;
    let request = ApiVersionsRequest::default();
    let mut advertised: ApiVersionsResponse<'_> = server.connect().ask(2, &request).await;
    advertised.api_keys.sort_by_key(|range| range.api_key);
    check_page("kafka-protocol.md", &page(&advertised));
}

const SETTINGS_HEAD: &str = "# Topic settings

Written from the table in `crates/engine/src/topic/settings.rs`, by the test in `crates/kafka/tests/it/coverage.rs`,
which also keeps it fresh (`UPDATE=1 cargo test -p kafka --test it coverage`).

Names, defaults, rules and error texts are those of Apache Kafka 4.4, with one more: `durability`. A topic takes what it
does not set itself from the broker's setting of the same meaning, which can be changed while the broker runs
(`kafka-configs.sh --entity-type brokers`), for all brokers or for one.

| setting | values | default | what it does |
|---|---|---|---|
";

const SETTINGS_TAIL: &str = "
Settings of older versions (`message.format.version`, `message.downconversion.enable`,
`message.timestamp.difference.max.ms`) are refused as unknown, as Kafka 4.4 refuses them. `min.insync.replicas` above the
number of copies does not refuse a producer that asks for all of them: Kafka 4.4 takes the smaller of both, and so does
this broker. A stored setting that a newer version refuses is ignored alone, and an error is logged at the start.
";

fn values(kind: Kind) -> String {
    let number = |number: i64| match number {
        i64::MAX | 2_147_483_647 => "…".to_owned(),
        number => number.to_string(),
    };
    let words = |words: &[&str]| {
        let quoted = words.iter().map(|word| format!("`{word}`"));
        quoted.collect::<Vec<_>>().join(", ")
    };
    match kind {
        Kind::Boolean => "`true`, `false`".to_owned(),
        Kind::Integer { min: i64::MIN, .. } => "whole numbers".to_owned(),
        Kind::Integer { min, max } => format!("{} to {}", number(min), number(max)),
        Kind::IntegerOr { other, min, max } => {
            format!("{other}, or {} to {}", number(min), number(max))
        }
        Kind::Ratio => "0 to 1".to_owned(),
        Kind::Choice(choices) => words(choices),
        Kind::List(choices) => format!("none or several of {}", words(choices)),
        Kind::Replicas => "`*`, or pairs `partition:broker`".to_owned(),
        Kind::Words => "words, comma-separated".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Off(_) => "`false`".to_owned(),
    }
}

#[test]
fn the_page_of_topic_settings_is_fresh() {
    let rows = SETTINGS.iter().map(|setting| {
        let default = match setting.default {
            "" => "empty".to_owned(),
            default => format!("`{default}`"),
        };
        let (name, values) = (setting.name, values(setting.kind));
        format!("| `{name}` | {values} | {default} | {} |\n", setting.help)
    });
    let page = SETTINGS_HEAD.to_owned() + &rows.collect::<String>() + SETTINGS_TAIL;
    check_page("topic-settings.md", &page);
}

fn check_page(name: &str, page: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let path = folder.join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, page).expect("the page can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "{} is stale; UPDATE=1 rewrites it",
        path.display()
    );
}
