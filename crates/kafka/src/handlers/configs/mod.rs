//! Settings of topics, brokers, groups and loggers: describe and change them.

mod broker;
mod fixed;
mod group;
mod resources;
mod shown;

pub use broker::topic_defaults;
pub(super) use resources::list;

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;

use engine::topic::settings::{self, Setting};
use engine::topic::{Topic, name};
use engine::{ConfigChange, Error, Keep, TopicKey};
use security::{Principal, Resource, Verb};

use shown::{Layer, Refusal, Shown, invalid, kind, origin, type_of, value_type};

use super::Call;
use super::room::{TOO_MUCH, elements};
use crate::context::Context;
use crate::error::{Code, code, message};
use crate::wire::alter_configs::AlterConfigsResourceResponse;
use crate::wire::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
    DescribeConfigsSynonym,
};
use crate::wire::incremental_alter_configs as incremental;
use crate::wire::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, Segments,
};

/// What a refusal of one resource says besides its name, bytes: no more than a little longer.
const REFUSAL_BYTES: usize = 64;

/// A topic's value for a setting, and its origin.
pub(super) fn effective(context: &Context, topic: &Topic, setting: &Setting) -> (String, i8) {
    let first = layers(context, topic, setting).into_iter().next();
    first.map_or_else(
        || (setting.default.to_owned(), origin::DEFAULT),
        |(_, value, origin)| (value, origin),
    )
}

/// A topic's values for a setting: its own, and those of the broker's setting that it goes back to.
fn layers(context: &Context, topic: &Topic, setting: &Setting) -> Vec<Layer> {
    let own = topic.document.overrides.get(setting.name);
    let own = own.map(|value| (None, setting.kind.tidy(value), origin::TOPIC));
    let mut layers: Vec<Layer> = own.into_iter().collect();
    let Some((broker, _)) = broker::of_topic(setting.name) else {
        let defaults = &context.broker.settings().topic_defaults;
        if let Some(value) = defaults.get(setting.name) {
            layers.push((None, value.clone(), origin::STATIC_BROKER));
        }
        return layers;
    };
    let (of_this, of_all) = (
        context.broker.kept(broker::OF_THIS),
        context.broker.kept(broker::OF_ALL),
    );
    let changed = broker::changed_layers(broker, (&of_this, &of_all));
    let rest = changed
        .into_iter()
        .chain(broker::fixed_layers(context, broker));
    layers.extend(rest.map(|(_, value, origin)| (Some(broker), value, origin)));
    layers
}

pub(super) async fn describe(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: DescribeConfigsRequest<'_> = call.read()?;
    // A refusal may say a name again.
    let texts = request.resources.iter();
    let texts = texts.map(|resource| 2 * resource.resource_name.len() + REFUSAL_BYTES);
    let blank = elements::<DescribeConfigsResult<'_>>(request.resources.len(), texts.sum());
    call.make_room(blank).await?;
    let mut results = Vec::with_capacity(request.resources.len());
    let mut is_full = false;
    for resource in &request.resources {
        // One at a time: a single one is small.
        let too_much = || Err((Code::PolicyViolation, TOO_MUCH.into()));
        let mut outcome = if is_full {
            too_much()
        } else {
            describe_one((context, principal, call), resource, &request)
        };
        if let Ok(configs) = &outcome
            && !call.finds_room(bytes_of(configs)).await
        {
            is_full = true;
            outcome = too_much();
        }
        let (error_code, error_message, configs) = match outcome {
            Ok(configs) => (Code::None, None, configs),
            Err((code, text)) => (code, Some(text), Vec::new()),
        };
        results.push(DescribeConfigsResult {
            error_code: error_code.into(),
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs,
        });
    }
    call.answer(&DescribeConfigsResponse {
        results,
        ..DescribeConfigsResponse::default()
    })
}

/// What the settings of one resource take in an answer.
fn bytes_of(configs: &[DescribeConfigsResourceResult<'_>]) -> usize {
    let text = |text: &Option<Cow<'_, str>>| text.as_ref().map_or(0, |text| text.len());
    let texts = configs.iter().map(|config| {
        let synonyms = config.synonyms.iter();
        let synonyms = synonyms.map(|synonym| synonym.name.len() + text(&synonym.value));
        let own = config.name.len() + text(&config.value) + text(&config.documentation);
        own + synonyms.sum::<usize>()
    });
    let synonyms = configs.iter().map(|config| config.synonyms.len()).sum();
    elements::<DescribeConfigsResourceResult<'_>>(configs.len(), texts.sum())
        .saturating_add(elements::<DescribeConfigsSynonym<'_>>(synonyms, 0))
}

fn describe_one(
    (context, principal, call): (&Context, &Principal, &Call<'_>),
    resource: &DescribeConfigsResource<'_>,
    request: &DescribeConfigsRequest<'_>,
) -> Result<Vec<DescribeConfigsResourceResult<'static>>, Refusal> {
    let wanted = |name: &str| match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key == name),
        _ => true,
    };
    let name = resource.resource_name.as_ref();
    may(
        context,
        principal,
        Verb::Describe,
        (resource.resource_type, name),
    )?;
    let shown = match resource.resource_type {
        kind::TOPIC => describe_topic(context, principal, name)?,
        kind::BROKER => broker::describe(context, call, name)?,
        kind::BROKER_LOGGER => resources::describe_loggers(context, name)?,
        kind::GROUP if name.is_empty() => return Err(invalid("Group name must not be empty")),
        kind::GROUP => group::describe(context, name),
        other => return Err(invalid(format!("Unsupported resource type {other}"))),
    };
    let shown = shown.into_iter().filter(|shown| wanted(&shown.name));
    Ok(shown.map(|shown| result(shown, request)).collect())
}

/// Whether a principal may look at a resource's settings, or change them.
fn may(
    context: &Context,
    principal: &Principal,
    verb: Verb,
    (kind, name): (i8, &str),
) -> Result<(), Refusal> {
    let (resource, code) = match kind {
        // Asked where the topic is found.
        kind::TOPIC => return Ok(()),
        kind::GROUP => (Resource::Group(name), Code::GroupAuthorizationFailed),
        _ => (Resource::Broker, Code::ClusterAuthorizationFailed),
    };
    if context
        .broker
        .on_behalf_of(principal)
        .allows(verb, resource)
    {
        return Ok(());
    }
    Err((code, "not allowed".into()))
}

fn describe_topic(
    context: &Context,
    principal: &Principal,
    name: &str,
) -> Result<Vec<Shown>, Refusal> {
    let topic = context
        .broker
        .on_behalf_of(principal)
        .topic(TopicKey::Name(name))
        .map_err(|error| {
            let error = match error {
                Error::UnknownTopic => name::check(name).err().unwrap_or(error),
                error => error,
            };
            let text = match error {
                // Nothing to add to the code.
                Error::UnknownTopic => "".into(),
                ref error => message(error),
            };
            (code(&error), text)
        })?;
    let show = |setting: &'static Setting| Shown {
        name: setting.name.to_owned(),
        layers: layers(context, &topic, setting),
        kind: type_of(setting.kind),
        help: Some(setting.help),
        read_only: false,
        sensitive: false,
    };
    Ok(settings::SETTINGS.iter().map(show).collect())
}

/// One setting as a client gets it.
fn result(
    shown: Shown,
    request: &DescribeConfigsRequest<'_>,
) -> DescribeConfigsResourceResult<'static> {
    let built_in = || settings::find(&shown.name).map(|setting| setting.default.to_owned());
    let (value, config_source) = match shown.layers.first() {
        Some((_, value, origin)) => (Some(value.clone()), *origin),
        None => (built_in(), origin::DEFAULT),
    };
    let told = |value: String| (!shown.sensitive).then(|| value.into());
    let synonyms = shown
        .layers
        .into_iter()
        .filter(|_| request.include_synonyms)
        .map(|(name, value, source)| DescribeConfigsSynonym {
            name: name.map_or_else(|| shown.name.clone().into(), Cow::from),
            value: told(value),
            source,
        })
        .collect();
    DescribeConfigsResourceResult {
        value: value.and_then(told),
        config_source,
        synonyms,
        config_type: shown.kind,
        documentation: shown
            .help
            .filter(|_| request.include_documentation)
            .map(Cow::from),
        read_only: shown.read_only,
        is_sensitive: shown.sensitive,
        name: shown.name.into(),
    }
}

pub(super) async fn alter(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: AlterConfigsRequest<'_> = call.read()?;
    let named = request.resources.iter();
    let named = named.map(|resource| (resource.resource_type, resource.resource_name.as_ref()));
    let repeats = Repeats::of(named);
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        // This older request says how everything should be: what it does not name goes back to its default.
        let mut changes = vec![ConfigChange::ResetAll];
        changes.extend(resource.configs.iter().map(|config| match &config.value {
            Some(value) => {
                ConfigChange::Set(config.name.clone().into_owned(), value.clone().into_owned())
            }
            None => ConfigChange::Reset(config.name.clone().into_owned()),
        }));
        let target = (resource.resource_type, resource.resource_name.as_ref());
        let names = resource.configs.iter().map(|config| config.name.as_ref());
        let changes = no_repeats(names).map(|()| changes);
        let changed = match repeats.check(target) {
            Ok(()) => change(context, principal, target, changes, request.validate_only).await,
            Err(refusal) => Err(refusal),
        };
        let (error_code, error_message) = outcome(changed);
        responses.push(AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        });
    }
    call.answer(&AlterConfigsResponse {
        responses,
        ..AlterConfigsResponse::default()
    })
}

pub(super) async fn alter_incremental(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: IncrementalAlterConfigsRequest<'_> = call.read()?;
    let named = request.resources.iter();
    let named = named.map(|resource| (resource.resource_type, resource.resource_name.as_ref()));
    let repeats = Repeats::of(named);
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let names = resource.configs.iter().map(|config| config.name.as_ref());
        let changes = no_repeats(names)
            .and_then(|()| resource.configs.iter().map(incremental_change).collect());
        let target = (resource.resource_type, resource.resource_name.as_ref());
        let changed = match repeats.check(target) {
            Ok(()) => change(context, principal, target, changes, request.validate_only).await,
            Err(refusal) => Err(refusal),
        };
        let (error_code, error_message) = outcome(changed);
        responses.push(incremental::AlterConfigsResourceResponse {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        });
    }
    call.answer(&IncrementalAlterConfigsResponse {
        responses,
        ..IncrementalAlterConfigsResponse::default()
    })
}

fn incremental_change(config: &incremental::AlterableConfig<'_>) -> Result<ConfigChange, Error> {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    const SUBTRACT: i8 = 3;
    let name = config.name.clone().into_owned();
    let value = || {
        let value = config.value.clone().map(Cow::into_owned);
        value.ok_or_else(|| {
            Error::InvalidRequest(format!("Null value not supported for : {}", config.name))
        })
    };
    Ok(match config.config_operation {
        SET => ConfigChange::Set(name, value()?),
        DELETE => ConfigChange::Reset(name),
        APPEND => ConfigChange::Append(name, value()?),
        SUBTRACT => ConfigChange::Subtract(name, value()?),
        other => {
            return Err(Error::InvalidRequest(format!(
                "Unknown operation type {other}"
            )));
        }
    })
}

/// The resources that a request names more than once: none of its mentions is carried out.
struct Repeats<'a>(HashSet<(i8, &'a str)>);

impl<'a> Repeats<'a> {
    fn of(resources: impl Iterator<Item = (i8, &'a str)>) -> Self {
        let mut seen = HashSet::new();
        Self(
            resources
                .filter(|resource| !seen.insert(*resource))
                .collect(),
        )
    }

    fn check(&self, resource: (i8, &str)) -> Result<(), Refusal> {
        if self.0.contains(&resource) {
            return Err(invalid("Each resource must appear at most once."));
        }
        Ok(())
    }
}

/// Two changes of one setting contradict each other, and their order means nothing.
fn no_repeats<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Error::InvalidRequest(
                "Error due to duplicate config keys".into(),
            ));
        }
    }
    Ok(())
}

async fn change(
    context: &Context,
    principal: &Principal,
    (kind, name): (i8, &str),
    changes: Result<Vec<ConfigChange>, Error>,
    dry_run: bool,
) -> Result<(), Refusal> {
    let failed = |error: Error| (code(&error), message(&error));
    may(context, principal, Verb::Configure, (kind, name))?;
    let changes = changes.map_err(failed)?;
    if name.is_empty() && matches!(kind, kind::TOPIC | kind::GROUP) {
        let what = if kind == kind::TOPIC {
            "topic"
        } else {
            "group"
        };
        return Err(invalid(format!(
            "Default {what} resources are not allowed."
        )));
    }
    match kind {
        kind::TOPIC => context
            .broker
            .on_behalf_of(principal)
            .configure_topic(name, changes, dry_run)
            .await
            .map_err(|error| match error {
                Error::UnknownTopic => (
                    Code::UnknownTopicOrPartition,
                    format!("The topic '{name}' does not exist.").into(),
                ),
                error => failed(error),
            }),
        kind::BROKER => {
            let scope = broker::scope(context, name).map_err(invalid)?;
            let keep = kept(context, scope.to_owned(), changes, broker::check);
            let keep = keep.map_err(failed)?;
            let access = context.broker.on_behalf_of(principal);
            let kept = access.keep(Resource::Broker, keep, dry_run);
            kept.await.map_err(failed)
        }
        kind::GROUP => {
            let scope = format!("{}{name}", group::SCOPE);
            let keep = kept(context, scope, changes, group::check).map_err(failed)?;
            let resource = Resource::Group(name);
            let access = context.broker.on_behalf_of(principal);
            let kept = access.keep(resource, keep, dry_run);
            kept.await.map_err(failed)
        }
        kind::BROKER_LOGGER => resources::alter_loggers(context, name, &changes, dry_run),
        other => Err(invalid(format!("Unknown resource type {other}"))),
    }
}

/// Changes as what is to be kept; each is checked by `check`.
fn kept(
    context: &Context,
    scope: String,
    changes: Vec<ConfigChange>,
    check: fn(&str, Option<&str>) -> Result<(), Error>,
) -> Result<Keep, Error> {
    let now = context.broker.kept(&scope);
    let (mut replace, mut values) = (false, Vec::with_capacity(changes.len()));
    for change in changes {
        let (name, value) = match change {
            ConfigChange::ResetAll => {
                replace = true;
                continue;
            }
            ConfigChange::Set(name, value) => (name, Some(value)),
            ConfigChange::Reset(name) => (name, None),
            ConfigChange::Append(name, more) => {
                let mut items = items(&now, &name, "APPEND")?;
                let fresh = more.split(',').map(str::trim).map(str::to_owned);
                for item in fresh
                    .filter(|item| !items.contains(item))
                    .collect::<Vec<_>>()
                {
                    items.push(item);
                }
                (name, Some(items.join(",")))
            }
            ConfigChange::Subtract(name, less) => {
                let mut items = items(&now, &name, "SUBTRACT")?;
                items.retain(|item| !less.split(',').any(|gone| gone.trim() == item));
                (name, Some(items.join(",")))
            }
        };
        check(&name, value.as_deref())?;
        values.push((name, value));
    }
    Ok(Keep {
        scope,
        replace,
        values,
    })
}

/// What a list holds now.
fn items(
    kept: &std::collections::BTreeMap<String, String>,
    name: &str,
    verb: &str,
) -> Result<Vec<String>, Error> {
    let default = broker::list(name).ok_or_else(|| {
        Error::InvalidConfig(format!(
            "Can't {verb} to key {name} because its type is not LIST."
        ))
    })?;
    let now = kept.get(name).map_or(default, String::as_str);
    let items = now
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    Ok(items.map(str::to_owned).collect())
}

fn outcome(outcome: Result<(), Refusal>) -> (i16, Option<Cow<'static, str>>) {
    match outcome {
        Ok(()) => (Code::None.into(), None),
        Err((code, text)) => (code.into(), Some(text)),
    }
}
