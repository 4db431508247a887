//! `docs/reference/kafka-protocol.md` says what the broker answers ApiVersions with. `UPDATE=1` rewrites it.

use engine::topic::settings::{Kind, SETTINGS};
use kafka::wire::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use testkit::ReferencePage;

use crate::client::Server;

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

#[tokio::test]
async fn the_coverage_page_is_fresh() {
    let server = Server::start().await;
    let request = ApiVersionsRequest::default();
    let mut advertised: ApiVersionsResponse<'_> = server.connect().ask(2, &request).await;
    advertised.api_keys.sort_by_key(|range| range.api_key);
    let rows = advertised.api_keys.iter().map(|range| {
        let key = ApiKey::try_from(range.api_key).expect("a known key");
        let versions = format!("{}–{}", range.min_version, range.max_version);
        let number = range.api_key.to_string();
        [
            number,
            key.name().to_owned(),
            versions,
            notes(key).to_owned(),
        ]
    });
    let columns = ["key", "request", "versions", "notes and limits"];
    ReferencePage::new(include_str!("coverage.md"), columns, rows).check("kafka-protocol.md");
}

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
        let (name, help) = (format!("`{}`", setting.name), setting.help.to_owned());
        [name, values(setting.kind), default, help]
    });
    let columns = ["setting", "values", "default", "what it does"];
    let template = include_str!("topic_settings.md");
    ReferencePage::new(template, columns, rows).check("topic-settings.md");
}
