//! Queues themselves: made, found, listed, set, tagged, purged, removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::queue::{NewQueue, Ordering, Queue, QueueSettings};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Call, OfQueue, nothing, number};
use crate::arn::{self, Located};
use crate::attributes::{self, Facts};
use crate::error::{
    Fault, INVALID_PARAMETER, Outcome, PURGE_IN_PROGRESS, QUEUE_DELETED_RECENTLY, QUEUE_NAME_EXISTS,
};

/// Queues in one page of a list.
const PAGE_MAX: i64 = 1000;
const TAGS_MAX: usize = 50;
const TAG_KEY_MAX: usize = 128;
const TAG_VALUE_MAX: usize = 256;
/// The extension that names the topic a queue leases from.
const SOURCE_TOPIC: &str = "Forebay.SourceTopic";

type Texts = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Create {
    queue_name: Option<String>,
    #[serde(default)]
    attributes: Option<Texts>,
    #[serde(default, rename = "tags", alias = "Tags")]
    tags: Option<Texts>,
}

pub(super) async fn create(call: &Call<'_>, create: Create) -> Outcome<Value> {
    let name = create
        .queue_name
        .ok_or_else(|| Fault::missing("QueueName"))?;
    let mut given = create.attributes.unwrap_or_default();
    let fifo = match given.get("FifoQueue").map(String::as_str) {
        None => false,
        Some(said) if said.eq_ignore_ascii_case("true") => true,
        // An attribute that can only say yes.
        Some(_) => return Err(attributes::unknown("FifoQueue")),
    };
    arn::check_name(&name, fifo)?;
    let tags = create.tags.unwrap_or_default();
    check_tags(&name, &tags)?;
    let topic = given.remove(SOURCE_TOPIC);
    let pairs = given.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let mut settings = attributes::settings(call.home(), fifo, pairs)?;
    let plain = name;
    let name = call.qualify(&plain);
    if let Some(topic) = &topic {
        attributes::set_note(&mut settings, SOURCE_TOPIC, topic);
    }
    check_redrive(call, &name, &settings, given.get("RedrivePolicy"))?;
    let broker = &call.context.broker;
    if let Ok(there) = broker.on_behalf_of(&call.principal).queue(&name) {
        return same(call, &there, &settings, &given);
    }
    let now = broker.now_ms();
    if call.context.settings.recreate_delay && call.context.deleted.has(&name, now) {
        return Err(Fault::new(
            &QUEUE_DELETED_RECENTLY,
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
        ));
    }
    settings.tags = tags;
    call.make_vhost().await?;
    let new = NewQueue {
        name: name.clone(),
        settings: settings.clone(),
        topic,
    };
    match broker.on_behalf_of(&call.principal).create_queue(new).await {
        // Another request was faster.
        Err(engine::Error::QueueExists(_)) => {
            let there = broker.on_behalf_of(&call.principal).queue(&name)?;
            same(call, &there, &settings, &given)
        }
        made => Ok(json!({ "QueueUrl": call.url(&made?.name) })),
    }
}

/// A queue of that name is there: fine, if what was asked for is what it has.
fn same(call: &Call<'_>, there: &Queue, wanted: &QueueSettings, given: &Texts) -> Outcome<Value> {
    let fifo = there.settings().ordering == Ordering::Key;
    let show = |settings: &QueueSettings, name: &str| attributes::setting(settings, fifo, name);
    let differs = given
        .keys()
        .find(|name| show(there.settings(), name) != show(wanted, name));
    if let Some(name) = differs {
        return Err(Fault::new(
            &QUEUE_NAME_EXISTS,
            format!(
                "A queue already exists with the same name and a different value for attribute {name}"
            ),
        ));
    }
    Ok(json!({ "QueueUrl": call.url(&there.name) }))
}

/// Checks what a redrive policy says about other queues.
fn check_redrive(
    call: &Call<'_>,
    source: &str,
    settings: &QueueSettings,
    text: Option<&String>,
) -> Outcome<()> {
    let (Some(policy), Some(text)) = (&settings.dead_letter, text) else {
        return Ok(());
    };
    let refuse = |reason: &str| Err(Fault::parameter("RedrivePolicy", text, reason));
    let Ok(target) = call
        .context
        .broker
        .on_behalf_of(&call.principal)
        .queue(&policy.queue)
    else {
        return refuse("Dead letter target does not exist.");
    };
    if target.settings().ordering != settings.ordering {
        return refuse("Dead letter target must have the same queue type as the source.");
    }
    if !attributes::allows_source(call.home(), target.settings(), source) {
        return refuse("The dead letter queue does not allow this source queue.");
    }
    Ok(())
}

pub(super) async fn delete(call: &Call<'_>, of: OfQueue) -> Outcome<Value> {
    let queue = call.queue(of.queue_url.as_deref())?;
    let broker = &call.context.broker;
    broker
        .on_behalf_of(&call.principal)
        .delete_queue(&queue.name)
        .await?;
    call.context.deleted.note(&queue.name, broker.now_ms());
    Ok(nothing())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Url {
    queue_name: Option<String>,
    #[serde(rename = "QueueOwnerAWSAccountId")]
    owner: Option<String>,
}

pub(super) fn url(call: &Call<'_>, url: &Url) -> Outcome<Value> {
    let name = url
        .queue_name
        .as_deref()
        .ok_or_else(|| Fault::missing("QueueName"))?;
    let owner = url.owner.as_deref().filter(|owner| !owner.is_empty());
    if !arn::is_name(name) || owner.is_some_and(|owner| !arn::is_account(owner)) {
        return Err(Fault::no_queue());
    }
    let queue = call.located(&Located {
        account: owner,
        region: None,
        name,
    })?;
    Ok(json!({ "QueueUrl": call.url(&queue.name) }))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct List {
    queue_url: Option<String>,
    queue_name_prefix: Option<String>,
    #[serde(default, deserialize_with = "number")]
    max_results: Option<i64>,
    next_token: Option<String>,
}

impl List {
    /// Names per page, and the name the page before ended with.
    fn page(&self) -> Outcome<(usize, Option<String>)> {
        let max = self.max_results.unwrap_or(PAGE_MAX);
        if !(1..=PAGE_MAX).contains(&max) {
            let reason = "MaxResults must be an integer between 1 and 1000.";
            return Err(Fault::parameter("MaxResults", max, reason));
        }
        let after = self.next_token.as_ref().map(|token| {
            let name = URL_SAFE_NO_PAD.decode(token).ok();
            name.and_then(|name| String::from_utf8(name).ok())
                .ok_or_else(|| Fault::new(&INVALID_PARAMETER, "Invalid or expired next token."))
        });
        Ok((usize::try_from(max).unwrap_or(1), after.transpose()?))
    }
}

/// One page of queues that `keep` lets through.
fn page(
    call: &Call<'_>,
    list: &List,
    keep: impl Fn(&Queue) -> bool,
) -> Outcome<(Vec<String>, Option<String>)> {
    let namespace = call.qualify("");
    let prefix = call.qualify(list.queue_name_prefix.as_deref().unwrap_or_default());
    let (max, mut after) = list.page()?;
    let queues = call.context.broker.on_behalf_of(&call.principal).queues();
    let mut names: Vec<Arc<str>> = Vec::new();
    loop {
        let found = queues.page(&prefix, after.as_deref(), max + 1);
        let last = found.last().map(|queue| queue.name.to_string());
        let visible = found.into_iter().filter(|queue| {
            let name = queue.name.strip_prefix(&*namespace);
            name.is_some_and(arn::is_name) && keep(queue)
        });
        names.extend(visible.map(|queue| Arc::clone(&queue.name)));
        match last {
            Some(last) if names.len() <= max => after = Some(last),
            _ => break,
        }
    }
    let more = names.len() > max;
    names.truncate(max);
    // Without a limit of the client's there is no next page: the service cuts the list.
    let token = names.last().filter(|_| more && list.max_results.is_some());
    let token = token.map(|name| URL_SAFE_NO_PAD.encode(name.as_bytes()));
    Ok((names.iter().map(|name| call.url(name)).collect(), token))
}

fn urls(member: &str, (urls, token): (Vec<String>, Option<String>), always: bool) -> Value {
    let mut answer = Map::new();
    // The service leaves empty lists out.
    if always || !urls.is_empty() {
        answer.insert(member.to_owned(), json!(urls));
    }
    if let Some(token) = token {
        answer.insert("NextToken".to_owned(), json!(token));
    }
    Value::Object(answer)
}

pub(super) fn list(call: &Call<'_>, list: &List) -> Outcome<Value> {
    Ok(urls("QueueUrls", page(call, list, |_| true)?, false))
}

pub(super) fn sources(call: &Call<'_>, list: &List) -> Outcome<Value> {
    let target = call.queue(list.queue_url.as_deref())?;
    let is_source = |queue: &Queue| {
        let policy = queue.settings().dead_letter.as_ref();
        policy.is_some_and(|policy| *policy.queue == *target.name)
    };
    Ok(urls("queueUrls", page(call, list, is_source)?, true))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetAttributes {
    queue_url: Option<String>,
    #[serde(default)]
    attribute_names: Option<Vec<String>>,
}

pub(super) async fn attributes(call: &Call<'_>, get: GetAttributes) -> Outcome<Value> {
    let queue = call.queue(get.queue_url.as_deref())?;
    let wanted = get.attribute_names.unwrap_or_default();
    if wanted.is_empty() {
        return Ok(nothing());
    }
    let depth = call
        .context
        .broker
        .on_behalf_of(&call.principal)
        .queue_depth(&queue.name)
        .await?;
    let facts = Facts {
        home: call.home(),
        depth: (depth.ready, depth.in_flight, depth.delayed),
    };
    let shown = attributes::show(&queue, &wanted, &facts)?;
    let shown: Map<String, Value> = shown.into_iter().map(|(n, v)| (n, json!(v))).collect();
    if shown.is_empty() {
        return Ok(nothing());
    }
    Ok(json!({ "Attributes": shown }))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetAttributes {
    queue_url: Option<String>,
    #[serde(default)]
    attributes: Option<Texts>,
}

pub(super) async fn set_attributes(call: &Call<'_>, set: SetAttributes) -> Outcome<Value> {
    let queue = call.queue(set.queue_url.as_deref())?;
    let given = set.attributes.ok_or_else(|| Fault::missing("Attributes"))?;
    if let Some(name) = given.keys().find(|name| *name == SOURCE_TOPIC) {
        return Err(attributes::unknown(name));
    }
    // Checked on a copy first, where the refusal can be said in the service's words.
    let pairs = || given.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let mut settings = queue.settings().clone();
    attributes::set_all(call.home(), &mut settings, pairs())?;
    if settings.priorities != queue.settings().priorities {
        let message = "Forebay.Priorities can only be set when a queue is created.";
        return Err(Fault::new(&crate::error::INVALID_ATTRIBUTE_VALUE, message));
    }
    check_redrive(call, &queue.name, &settings, given.get("RedrivePolicy"))?;
    let change = given.clone();
    let home = Arc::clone(&call.context.home);
    change_settings(call, &queue, move |settings| {
        let pairs = change.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        attributes::set_all(&home, settings, pairs)
    })
    .await?;
    Ok(nothing())
}

/// Changes a queue's settings as they stand at that moment.
pub(super) async fn change_settings(
    call: &Call<'_>,
    queue: &Queue,
    change: impl FnOnce(&mut QueueSettings) -> Outcome<()> + Send + 'static,
) -> Outcome<()> {
    // The engine's refusals have no room for ours: it is carried out beside.
    let refused = Arc::new(std::sync::Mutex::new(None));
    let carried = Arc::clone(&refused);
    let change = Box::new(move |settings: &mut QueueSettings| {
        change(settings).map_err(|fault| {
            let message = fault.message.clone();
            *carried
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(fault);
            engine::Error::InvalidConfig(message)
        })
    });
    let broker = &call.context.broker;
    let changed = broker
        .on_behalf_of(&call.principal)
        .configure_queue(&queue.name, change)
        .await;
    let refused = refused
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .take();
    match (changed, refused) {
        (_, Some(fault)) => Err(fault),
        (changed, None) => Ok(changed.map(drop)?),
    }
}

pub(super) async fn purge(call: &Call<'_>, of: OfQueue) -> Outcome<Value> {
    let queue = call.queue(of.queue_url.as_deref())?;
    let broker = &call.context.broker;
    let now = broker.now_ms();
    if call.context.settings.purge_delay && call.context.purged.has(&queue.name, now) {
        let name = call.plain(&queue.name);
        return Err(Fault::new(
            &PURGE_IN_PROGRESS,
            format!("Only one PurgeQueue operation on {name} is allowed every 60 seconds."),
        ));
    }
    broker
        .on_behalf_of(&call.principal)
        .purge_queue(&queue.name)
        .await?;
    call.context.purged.note(&queue.name, now);
    Ok(nothing())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    queue_url: Option<String>,
    tags: Option<Texts>,
}

fn check_tags(queue: &str, tags: &Texts) -> Outcome<()> {
    if tags.len() > TAGS_MAX {
        let message = format!("Too many tags added for queue {queue}.");
        return Err(Fault::new(&INVALID_PARAMETER, message));
    }
    let sound = |(key, value): (&String, &String)| {
        (1..=TAG_KEY_MAX).contains(&key.chars().count()) && value.chars().count() <= TAG_VALUE_MAX
    };
    if !tags.iter().all(sound) {
        let message =
            "Tag keys must be between 1 and 128 characters in length, and tag values at most 256.";
        return Err(Fault::new(&INVALID_PARAMETER, message));
    }
    Ok(())
}

pub(super) async fn tag(call: &Call<'_>, tag: Tag) -> Outcome<Value> {
    let queue = call.queue(tag.queue_url.as_deref())?;
    let tags = tag.tags.filter(|tags| !tags.is_empty());
    let tags = tags.ok_or_else(|| Fault::missing("Tags"))?;
    let name = call.plain(&queue.name).to_owned();
    change_settings(call, &queue, move |settings| {
        settings.tags.extend(tags);
        check_tags(&name, &settings.tags)
    })
    .await?;
    Ok(nothing())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Untag {
    queue_url: Option<String>,
    tag_keys: Option<Vec<String>>,
}

pub(super) async fn untag(call: &Call<'_>, untag: Untag) -> Outcome<Value> {
    let queue = call.queue(untag.queue_url.as_deref())?;
    let keys = untag.tag_keys.filter(|keys| !keys.is_empty());
    let keys = keys.ok_or_else(|| {
        let message = "Tag keys must be between 1 and 128 characters in length.";
        Fault::new(&INVALID_PARAMETER, message)
    })?;
    change_settings(call, &queue, move |settings| {
        settings.tags.retain(|key, _| !keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(nothing())
}

pub(super) fn tags(call: &Call<'_>, of: &OfQueue) -> Outcome<Value> {
    let queue = call.queue(of.queue_url.as_deref())?;
    let tags = &queue.settings().tags;
    if tags.is_empty() {
        return Ok(nothing());
    }
    Ok(json!({ "Tags": tags }))
}
