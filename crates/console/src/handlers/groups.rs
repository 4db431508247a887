//! Consumer groups: list, describe with what they have yet to read, move and remove them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use engine::group::{
    self, Command, CommitOffsets, Description, FetchedOffset, Group, MemberRef, NamedPartition,
    OffsetCommit, Reply, TopicPartition,
};
use engine::topic::Topic;
use engine::{Access, TimeLookup};
use serde::Deserialize;
use serde_json::{Value, json};

use super::queues::{cut, page_size};
use super::topics::{find, offset_at};
use crate::error::{CONFLICT, NO_GROUP, Outcome, Problem};
use crate::request::{Asked, Params, Place};

/// Groups on one page at most …
const PAGE_MAX: usize = 1000;
/// … and when nothing is said.
const PAGE: usize = 100;

/// Which groups are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listing {
    #[serde(default)]
    prefix: String,
    after: Option<String>,
    max: Option<usize>,
}

pub(crate) async fn list(
    State(broker): State<Access>,
    Params(listing): Params<Listing>,
) -> Outcome<Json<Value>> {
    let max = page_size("max", listing.max, PAGE, PAGE_MAX)?;
    let names = broker.group_names();
    let seen = names.iter().filter(|name| {
        let after = listing.after.as_deref();
        name.starts_with(&listing.prefix) && after.is_none_or(|after| &***name > after)
    });
    let (page, next) = cut(seen, max);
    let mut groups = Vec::with_capacity(page.len());
    for name in &page {
        // It may go between two looks.
        if let Some(seen) = look(&broker, name).await? {
            groups.push(summary(&broker, name, &seen));
        }
    }
    let mut answer = json!({ "groups": groups });
    if let Some(last) = next {
        answer["next"] = json!(**last);
    }
    Ok(Json(answer))
}

/// What there is to see of a group.
struct Seen {
    description: Description,
    offsets: Vec<FetchedOffset>,
}

/// Looks at a group, if it is there.
async fn look(broker: &Access, name: &str) -> Outcome<Option<Seen>> {
    let look = |group: Option<&Group>| {
        let group = group.filter(|group| group.state() != group::State::Dead)?;
        Some(Seen {
            description: group.describe(),
            offsets: group.committed_all(false),
        })
    };
    let seen = broker.inspect_group(name, look).await;
    seen.map_err(|error| Problem::of_group(name, error))
}

fn state(description: &Description) -> &'static str {
    match description.state {
        group::State::Dead => "dead",
        group::State::Empty => "empty",
        group::State::PreparingRebalance => "preparing_rebalance",
        group::State::CompletingRebalance => "completing_rebalance",
        group::State::Stable => "stable",
    }
}

fn summary(broker: &Access, name: &str, seen: &Seen) -> Value {
    let offsets = seen.offsets.iter();
    let lag: u64 = offsets.filter_map(|offset| lag(broker, offset)).sum();
    json!({
        "name": name,
        "state": state(&seen.description),
        "members": seen.description.members.len(),
        "lag": lag,
    })
}

/// How many offsets a group has yet to read of a partition; none when the partition is gone.
fn lag(broker: &Access, fetched: &FetchedOffset) -> Option<u64> {
    let committed = fetched.offset.as_ref().ok()?.offset;
    Some(end(broker, fetched.partition)?.saturating_sub(u64::try_from(committed).ok()?))
}

fn end(broker: &Access, at: TopicPartition) -> Option<u64> {
    let topics = broker.topics();
    let partition = topics.with_id(at.topic)?.partition(at.partition)?;
    Some(partition.high_watermark())
}

pub(crate) async fn describe(
    State(broker): State<Access>,
    Place(name): Place<String>,
) -> Outcome<Json<Value>> {
    let seen = look(&broker, &name).await?.ok_or_else(|| unknown(&name))?;
    Ok(Json(show(&broker, &name, &seen)))
}

fn unknown(name: &str) -> Problem {
    Problem::new(&NO_GROUP, format!("there is no group '{name}'"))
}

fn show(broker: &Access, name: &str, seen: &Seen) -> Value {
    let description = &seen.description;
    let members = description.members.iter().map(|member| {
        json!({
            "id": member.member_id,
            "instance_id": member.instance_id,
            "client_id": member.client_id,
            "host": member.client_host.trim_start_matches('/'),
        })
    });
    let offsets = seen.offsets.iter().map(|fetched| {
        let committed = fetched.offset.as_ref().ok();
        json!({
            "topic": fetched.topic_name,
            "partition": fetched.partition.partition,
            "offset": committed.map(|committed| committed.offset),
            "end": end(broker, fetched.partition),
            "lag": lag(broker, fetched),
            "metadata": committed.map(|committed| &committed.metadata),
            "committed_ms": committed.map(|committed| committed.committed_at),
        })
    });
    let mut answer = summary(broker, name, seen);
    answer["generation"] = json!(description.generation);
    answer["protocol_type"] = json!(description.protocol_type);
    answer["protocol"] = json!(description.protocol_name);
    answer["members"] = members.collect();
    answer["offsets"] = offsets.collect();
    answer
}

/// Where a group is moved to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Seeking {
    /// Absent: every topic the group has offsets of.
    topic: Option<String>,
    /// Absent: every partition.
    partition: Option<u32>,
    to: Option<End>,
    offset: Option<u64>,
    time_ms: Option<u64>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    Earliest,
    Latest,
}

/// A place in every partition.
#[derive(Debug, Clone, Copy)]
enum Target {
    Look(TimeLookup),
    Offset(u64),
}

impl Seeking {
    fn target(&self) -> Outcome<Target> {
        match (self.to, self.offset, self.time_ms) {
            (Some(End::Earliest), None, None) => Ok(Target::Look(TimeLookup::Earliest)),
            (Some(End::Latest), None, None) => Ok(Target::Look(TimeLookup::Latest)),
            (None, Some(offset), None) => Ok(Target::Offset(offset)),
            (None, None, Some(ms)) => {
                let time = i64::try_from(ms).unwrap_or(i64::MAX);
                Ok(Target::Look(TimeLookup::At(time)))
            }
            _ => Err(Problem::invalid(
                "expected one of `to` (`earliest` or `latest`), `offset` and `time_ms`",
            )),
        }
    }
}

pub(crate) async fn seek(
    State(broker): State<Access>,
    Place(name): Place<String>,
    Asked(seeking): Asked<Seeking>,
) -> Outcome<Json<Value>> {
    let target = seeking.target()?;
    let seen = look(&broker, &name).await?;
    if seen.is_none() && seeking.topic.is_none() {
        return Err(unknown(&name));
    }
    let members = seen.as_ref().map_or(0, |s| s.description.members.len());
    if members > 0 {
        let why = format!(
            "group '{name}' has {members} members, which would go on from where they are: stop them first"
        );
        return Err(Problem::new(&CONFLICT, why));
    }
    let mut offsets = Vec::new();
    for topic in topics_of(&broker, &seeking, seen.as_ref())? {
        for partition in &topic.partitions {
            if seeking.partition.is_none_or(|only| only == partition.index) {
                let index = i32::try_from(partition.index).unwrap_or(i32::MAX);
                offsets.push(place(&broker, &topic, index, target).await?);
            }
        }
    }
    if offsets.is_empty() {
        return Err(Problem::invalid(
            "there is no such partition to move the group in",
        ));
    }
    let shown: Vec<Value> = offsets.iter().map(show_commit).collect();
    if !seeking.dry_run {
        commit(&broker, &name, offsets).await?;
    }
    let answer = json!({ "dry_run": seeking.dry_run, "offsets": shown });
    Ok(Json(answer))
}

/// The topics a group is moved in.
fn topics_of(
    broker: &Access,
    seeking: &Seeking,
    seen: Option<&Seen>,
) -> Outcome<Vec<std::sync::Arc<Topic>>> {
    if let Some(name) = &seeking.topic {
        return Ok(vec![find(broker, name)?]);
    }
    let all = broker.topics();
    let offsets = seen.into_iter().flat_map(|seen| &seen.offsets);
    let known = offsets.filter_map(|fetched| all.with_id(fetched.partition.topic));
    let known: BTreeMap<_, _> = known.map(|topic| (topic.id(), topic.clone())).collect();
    Ok(known.into_values().collect())
}

async fn place(
    broker: &Access,
    topic: &Topic,
    partition: i32,
    target: Target,
) -> Outcome<OffsetCommit> {
    let offset = match target {
        Target::Look(lookup) => {
            let found = offset_at(broker, topic, partition, lookup).await;
            found.map_err(|error| Problem::of_topic(&topic.name, error))?
        }
        Target::Offset(offset) => {
            let known = topic.partition(partition);
            let bounds = known.map_or((0, 0), |p| (p.start(), p.high_watermark()));
            if !(bounds.0..=bounds.1).contains(&offset) {
                return Err(Problem::out_of_bounds("offset", offset, bounds));
            }
            offset
        }
    };
    Ok(OffsetCommit {
        at: NamedPartition {
            partition: TopicPartition {
                topic: topic.id(),
                partition,
            },
            topic_name: topic.name.clone(),
        },
        offset: i64::try_from(offset).unwrap_or(i64::MAX),
        leader_epoch: None,
        metadata: String::new(),
    })
}

fn show_commit(commit: &OffsetCommit) -> Value {
    json!({
        "topic": *commit.at.topic_name,
        "partition": commit.at.partition.partition,
        "offset": commit.offset,
    })
}

async fn commit(broker: &Access, name: &str, offsets: Vec<OffsetCommit>) -> Outcome<()> {
    let command = Command::CommitOffsets(CommitOffsets {
        member: MemberRef {
            member_id: String::new(),
            instance_id: None,
            generation: -1,
        },
        producer_id: None,
        retention_ms: None,
        offsets,
    });
    let refused = |error: engine::Error| Problem::of_group(name, error);
    let reply = broker.group_command(name, command, true).await;
    let results = match reply.map_err(refused)? {
        Reply::CommitOffsets(results) => results.map_err(|error| refused(error.into()))?,
        _ => return Err(refused(engine::Error::Unavailable)),
    };
    let failed = results.into_iter().find_map(|result| result.result.err());
    failed.map_or(Ok(()), |error| Err(refused(error.into())))
}

pub(crate) async fn delete(
    State(broker): State<Access>,
    Place(name): Place<String>,
) -> Outcome<StatusCode> {
    let refused = |error: engine::Error| Problem::of_group(&name, error);
    let reply = broker.group_command(&name, Command::Delete, false).await;
    match reply.map_err(refused)? {
        Reply::Delete(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Reply::Delete(Err(group::Error::NotEmpty)) => {
            let why = format!("group '{name}' has members: stop them first");
            Err(Problem::new(&CONFLICT, why))
        }
        Reply::Delete(Err(error)) => Err(refused(error.into())),
        _ => Err(refused(engine::Error::Unavailable)),
    }
}
