//! Topics: list, make, describe, change and remove them; append records and read them by offset.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use engine::topic::{Topic, settings::SETTINGS};
use engine::{
    Access, Appended, ConfigChange, NewRecord, NewTopic, ReadRecords, Record, TimeLookup, TopicKey,
    vhost,
};
use security::{Resource, Verb};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::messages::{check_batch, check_most};
use super::queues::{Removing, check_vhost, cut, location, page_size};
use crate::error::{IN_USE, Outcome, Problem};
use crate::message::{HeaderForm, bytes_of, headers, put, show_each};
use crate::request::{AnswerRoom, Asked, Params, QueueName, QueueParams};

/// Topics on one page at most …
const PAGE_MAX: usize = 1000;
/// … and when nothing is said.
const PAGE: usize = 100;
/// Records read in one request.
const READ_MAX: usize = 1000;
/// Records read when nothing is said.
const READ: usize = 10;
/// Longest wait for a record.
const WAIT_MS_MAX: u64 = 60_000;

fn default_vhost() -> String {
    vhost::DEFAULT.to_owned()
}

/// Which topics are listed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listing {
    #[serde(default = "default_vhost")]
    vhost: String,
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
    check_vhost(&broker, &listing.vhost)?;
    let topics = broker.topics();
    let seen = topics.iter().filter(|topic| {
        let after = listing.after.as_deref();
        let (vhost, name) = vhost::split(&topic.name);
        vhost == listing.vhost
            && name.starts_with(&listing.prefix)
            && after.is_none_or(|after| name > after)
    });
    let (page, next) = cut(seen, max);
    let shown: Vec<Value> = page.iter().map(|topic| summary(topic)).collect();
    let mut answer = json!({ "topics": shown });
    if let Some(last) = next {
        answer["next"] = json!(vhost::split(&last.name).1);
    }
    Ok(Json(answer))
}

fn summary(topic: &Topic) -> Value {
    let offsets = topic.partitions.iter();
    let offsets = offsets.map(|p| p.high_watermark().saturating_sub(p.start()));
    let (vhost, name) = vhost::split(&topic.name);
    json!({
        "vhost": vhost,
        "name": name,
        "partitions": topic.partitions.len(),
        "offsets": offsets.sum::<u64>(),
    })
}

/// A value of a setting: what is written without quotes is taken as it is written.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Word {
    Text(String),
    Number(serde_json::Number),
    Bool(bool),
}

impl Word {
    fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
            Self::Bool(word) => word.to_string(),
        }
    }
}

/// A topic to be made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Creation {
    name: String,
    partitions: Option<u32>,
    #[serde(default)]
    settings: BTreeMap<String, Word>,
}

pub(crate) async fn create(
    State(broker): State<Access>,
    Asked(creation): Asked<Creation>,
) -> Outcome<Response> {
    let settings = creation.settings.into_iter();
    let topic = NewTopic {
        name: creation.name,
        partitions: creation.partitions,
        replication: None,
        overrides: settings.map(|(name, word)| (name, word.text())).collect(),
    };
    let topic = broker.create_topic(topic, false).await?;
    let location = location("/api/v1/topics/", &topic.name);
    let body = Json(show(&broker, &topic, false));
    Ok((StatusCode::CREATED, [(LOCATION, location)], body).into_response())
}

/// How a topic is described.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Describing {
    /// With the settings that have their defaults.
    #[serde(default)]
    defaults: bool,
}

pub(crate) async fn describe(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    QueueParams(describing): QueueParams<Describing>,
) -> Outcome<Json<Value>> {
    let topic = find(&broker, &name)?;
    Ok(Json(show(&broker, &topic, describing.defaults)))
}

pub(super) fn find(broker: &Access, name: &str) -> Outcome<Arc<Topic>> {
    let topic = broker.topic(TopicKey::Name(name));
    topic.map_err(|error| Problem::of_topic(name, error))
}

fn show(broker: &Access, topic: &Topic, defaults: bool) -> Value {
    let partitions = topic.partitions.iter().map(|partition| {
        json!({
            "partition": partition.index,
            "start": partition.start(),
            "end": partition.high_watermark(),
        })
    });
    let mut settings = Map::new();
    let default = SETTINGS.iter().filter(|_| defaults);
    settings.extend(default.map(|setting| (setting.name.to_owned(), json!(setting.default))));
    let overrides = topic.document.overrides.iter();
    settings.extend(overrides.map(|(name, value)| (name.to_owned(), json!(value))));
    let (vhost, name) = vhost::split(&topic.name);
    json!({
        "vhost": vhost,
        "name": name,
        "id": topic.id(),
        "partitions": partitions.collect::<Vec<_>>(),
        "settings": settings,
        "queues": queues_of(broker, topic),
    })
}

/// The queues that receive a topic's records.
fn queues_of(broker: &Access, topic: &Topic) -> Vec<String> {
    let queues = broker.queues().of_topic(topic.id()).into_iter();
    let seen = queues.filter(|q| broker.allows(Verb::Describe, Resource::Queue(&q.name)));
    let names = seen.map(|queue| name_beside(topic, &queue.name));
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

/// The name of a queue of a topic: with its vhost where that is not the topic's.
fn name_beside(topic: &Topic, queue: &str) -> String {
    match vhost::split(queue) {
        (vhost, name) if vhost == vhost::split(&topic.name).0 => name.to_owned(),
        (vhost, name) => format!("{name} (vhost {vhost})"),
    }
}

/// A change of a topic; `null` takes a setting back to its default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    #[serde(default)]
    settings: BTreeMap<String, Option<Word>>,
    partitions: Option<u32>,
}

pub(crate) async fn change(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    Asked(change): Asked<Change>,
) -> Outcome<Json<Value>> {
    let topic = find(&broker, &name)?;
    for (setting, word) in &change.settings {
        let is_known = SETTINGS.iter().any(|known| known.name == *setting);
        if word.is_none() && !is_known && topic.document.overrides.get(setting).is_none() {
            let why = format!("there is no setting '{setting}' of topics to go back to a default");
            return Err(Problem::invalid(why));
        }
    }
    let refused = |error| Problem::of_topic(&name, error);
    let changes = change.settings.into_iter().map(|(name, word)| match word {
        Some(word) => ConfigChange::Set(name, word.text()),
        None => ConfigChange::Reset(name),
    });
    let changes: Vec<ConfigChange> = changes.collect();
    // All or nothing, as far as that can be seen beforehand.
    if let Some(count) = change.partitions {
        let grown = broker.add_partitions(&name, count, !changes.is_empty());
        grown.await.map_err(refused)?;
    }
    if !changes.is_empty() {
        let changed = broker.configure_topic(&name, changes, false);
        changed.await.map_err(refused)?;
        if let Some(count) = change.partitions {
            let grown = broker.add_partitions(&name, count, false);
            grown.await.map_err(refused)?;
        }
    }
    let topic = find(&broker, &name)?;
    Ok(Json(show(&broker, &topic, false)))
}

pub(crate) async fn delete(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    QueueParams(removing): QueueParams<Removing>,
) -> Outcome<StatusCode> {
    let topic = find(&broker, &name)?;
    let queues = queues_of(&broker, &topic);
    if !removing.force && !queues.is_empty() {
        let queues = queues.join("', '");
        let name = vhost::split(&name).1;
        let why = format!(
            "topic '{name}' is received from by queue '{queues}', which would be deleted with it: \
             delete both with `force`"
        );
        return Err(Problem::new(&IN_USE, why));
    }
    let deleted = broker.delete_topic(TopicKey::Id(topic.id()));
    let deleted = deleted.await;
    deleted.map_err(|error| Problem::of_topic(&name, error))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Records to append.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Appending {
    records: Vec<RecordForm>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RecordForm {
    partition: Option<i32>,
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    headers: Vec<HeaderForm>,
    timestamp_ms: Option<u64>,
}

/// The last millisecond of the year 9999: beyond it no time is meant.
const TIMESTAMP_MS_MAX: u64 = 253_402_300_799_999;

impl RecordForm {
    fn into_record(self) -> Outcome<NewRecord> {
        check_most(
            "timestamp_ms",
            self.timestamp_ms.unwrap_or_default(),
            TIMESTAMP_MS_MAX,
        )?;
        let headers = headers(self.headers)?.into_iter();
        Ok(NewRecord {
            partition: self.partition,
            key: bytes_of("key", self.key, self.key_base64)?,
            value: bytes_of("value", self.value, self.value_base64)?,
            headers: headers.map(|(name, value)| (name, Some(value))).collect(),
            timestamp_ms: self.timestamp_ms,
        })
    }
}

pub(crate) async fn append(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    Asked(appending): Asked<Appending>,
) -> Outcome<Response> {
    check_batch("records", appending.records.len())?;
    let forms = appending.records.into_iter();
    let records = forms
        .map(RecordForm::into_record)
        .collect::<Outcome<Vec<_>>>()?;
    let refused = |error| Problem::of_topic(&name, error);
    let appended = broker.append_records(&name, records).await;
    let outcomes = appended.map_err(refused)?.into_iter();
    answer_appended(outcomes.map(|outcome| outcome.map_err(refused)).collect())
}

/// What became of each record. Where none was taken, the first refusal is the answer.
fn answer_appended(mut outcomes: Vec<Outcome<Appended>>) -> Outcome<Response> {
    if outcomes.iter().all(Result::is_err) && !outcomes.is_empty() {
        outcomes.swap_remove(0)?;
    }
    let mut status = StatusCode::OK;
    let shown = outcomes.into_iter().map(|outcome| match outcome {
        Ok(Appended { partition, offset }) => json!({ "partition": partition, "offset": offset }),
        Err(problem) => {
            status = StatusCode::MULTI_STATUS;
            json!({ "problem": problem.to_json() })
        }
    });
    let body = json!({ "records": shown.collect::<Vec<_>>() });
    Ok((status, Json(body)).into_response())
}

/// Which records are read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reading {
    #[serde(default)]
    partition: i32,
    /// `earliest`, `latest` or an offset.
    from: Option<String>,
    max: Option<usize>,
    #[serde(default)]
    wait_ms: u64,
}

pub(crate) async fn read(
    State(broker): State<Access>,
    QueueName(name): QueueName,
    QueueParams(reading): QueueParams<Reading>,
    Extension(room): Extension<AnswerRoom>,
) -> Outcome<Json<Value>> {
    let refused = |error| Problem::of_topic(&name, error);
    let records_max = page_size("max", reading.max, READ, READ_MAX)?;
    check_most("wait_ms", reading.wait_ms, WAIT_MS_MAX)?;
    let topic = find(&broker, &name)?;
    let Some(partition) = topic.partition(reading.partition) else {
        return Err(refused(engine::Error::UnknownPartition));
    };
    let (start, end) = (partition.start(), partition.high_watermark());
    let offset = match reading.from.as_deref() {
        None | Some("earliest") => start,
        Some("latest") => end,
        Some(text) => text.parse().map_err(|_| {
            Problem::invalid(format!(
                "`from` is '{text}': expected `earliest`, `latest` or an offset"
            ))
        })?,
    };
    if !(start..=end).contains(&offset) {
        return Err(Problem::out_of_bounds("from", offset, (start, end)));
    }
    let spec = ReadRecords {
        partition: reading.partition,
        offset,
        records_max,
        bytes_max: room.bytes_max(),
        piece_bytes_max: room.bytes_max(),
        wait_max: Duration::from_millis(reading.wait_ms),
    };
    let read = broker.read_records(&name, spec, &room).await;
    let read = read.map_err(refused)?;
    let records = read.records.iter();
    Ok(Json(json!({
        "records": records.map(|r| show_record(reading.partition, r)).collect::<Vec<_>>(),
        "next": read.next,
        "start": read.start,
        "end": read.high_watermark,
    })))
}

fn show_record(partition: i32, record: &Record) -> Value {
    let mut shown = Map::new();
    shown.insert("partition".to_owned(), json!(partition));
    shown.insert("offset".to_owned(), json!(record.offset));
    shown.insert("timestamp_ms".to_owned(), json!(record.timestamp));
    let mut add = |name: &str, bytes: &Option<Bytes>| match bytes {
        Some(bytes) => put(&mut shown, name, bytes),
        None => drop(shown.insert(name.to_owned(), Value::Null)),
    };
    add("key", &record.key);
    add("value", &record.value);
    shown.insert("headers".to_owned(), show_each(record.headers.iter()));
    Value::Object(shown)
}

/// Offsets by time, as a group's seek needs them.
pub(super) async fn offset_at(
    broker: &Access,
    topic: &Topic,
    partition: i32,
    lookup: TimeLookup,
) -> engine::Result<u64> {
    let key = TopicKey::Id(topic.id());
    let found = broker.lookup(key, partition, lookup).await?;
    let end = topic.partition(partition).map_or(0, |p| p.high_watermark());
    Ok(found.map_or(end, |(offset, _)| offset))
}
