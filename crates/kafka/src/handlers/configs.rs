//! Settings of topics and of the broker: describe and change them.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;

use engine::topic::Topic;
use engine::topic::settings::{self, Kind, Setting};
use engine::{ConfigChange, Error, TopicKey};
use security::Principal;

use super::Call;
use crate::error::{Code, code, message};
use crate::session::Context;
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

/// Kinds of resource that have settings.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value comes from.
mod origin {
    pub(super) const TOPIC: i8 = 1;
    pub(super) const STATIC_BROKER: i8 = 4;
    pub(super) const DEFAULT: i8 = 5;
}

/// Types of values, as the protocol numbers them.
mod value_type {
    pub(super) const BOOLEAN: i8 = 1;
    pub(super) const STRING: i8 = 2;
    pub(super) const INT: i8 = 3;
    pub(super) const LONG: i8 = 5;
    pub(super) const DOUBLE: i8 = 6;
    pub(super) const LIST: i8 = 7;
}

/// A topic's value for a setting, and its origin.
pub(super) fn effective(context: &Context, topic: &Topic, setting: &Setting) -> (String, i8) {
    let defaults = &context.broker.settings().topic_defaults;
    if let Some(own) = topic.document.overrides.get(setting.name) {
        (own.to_owned(), origin::TOPIC)
    } else if let Some(brokers) = defaults.get(setting.name) {
        (brokers.clone(), origin::STATIC_BROKER)
    } else {
        (setting.default.to_owned(), origin::DEFAULT)
    }
}

pub(super) fn describe(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: DescribeConfigsRequest<'_> = call.read()?;
    let results = request
        .resources
        .iter()
        .map(|resource| {
            let outcome = describe_one((context, principal, call), resource, &request);
            let (error_code, error_message, configs) = match outcome {
                Ok(configs) => (Code::None, None, configs),
                Err((code, text)) => (code, Some(text), Vec::new()),
            };
            DescribeConfigsResult {
                error_code: error_code.into(),
                error_message,
                resource_type: resource.resource_type,
                resource_name: resource.resource_name.clone(),
                configs,
            }
        })
        .collect();
    call.answer(&DescribeConfigsResponse {
        results,
        ..DescribeConfigsResponse::default()
    })
}

type Refusal = (Code, Cow<'static, str>);

fn describe_one(
    (context, principal, call): (&Context, &Principal, &Call<'_>),
    resource: &DescribeConfigsResource<'_>,
    request: &DescribeConfigsRequest<'_>,
) -> Result<Vec<DescribeConfigsResourceResult<'static>>, Refusal> {
    let wanted = |name: &str| match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key == name),
        _ => true,
    };
    let mut configs = match resource.resource_type {
        TOPIC => describe_topic(context, principal, &resource.resource_name)?,
        BROKER => describe_broker(context, &call.advertised, &resource.resource_name)?,
        other => {
            return Err((
                Code::InvalidRequest,
                format!("Unsupported resource type {other}").into(),
            ));
        }
    };
    configs.retain(|config| wanted(&config.name));
    for config in &mut configs {
        if !request.include_documentation {
            config.documentation = None;
        }
        if !request.include_synonyms {
            config.synonyms.clear();
        }
    }
    Ok(configs)
}

fn describe_topic(
    context: &Context,
    principal: &Principal,
    name: &str,
) -> Result<Vec<DescribeConfigsResourceResult<'static>>, Refusal> {
    let topic = context
        .broker
        .topic(principal, TopicKey::Name(name))
        .map_err(|error| (code(&error), message(&error)))?;
    let defaults = &context.broker.settings().topic_defaults;
    let describe = |setting: &'static Setting| {
        let own = topic.document.overrides.get(setting.name);
        let brokers = defaults.get(setting.name);
        let layers = [
            (own.map(str::to_owned), origin::TOPIC),
            (brokers.cloned(), origin::STATIC_BROKER),
            (Some(setting.default.to_owned()), origin::DEFAULT),
        ];
        described(setting.name, layers.into_iter(), Some(setting))
    };
    Ok(settings::SETTINGS.iter().map(describe).collect())
}

/// One setting from its layers, strongest first.
fn described(
    name: &'static str,
    layers: impl Iterator<Item = (Option<String>, i8)>,
    setting: Option<&'static Setting>,
) -> DescribeConfigsResourceResult<'static> {
    let synonyms: Vec<_> = layers
        .filter_map(|(value, source)| Some((value?, source)))
        .map(|(value, source)| DescribeConfigsSynonym {
            name: name.into(),
            value: Some(value.into()),
            source,
        })
        .collect();
    let (value, config_source) = synonyms
        .first()
        .map_or((None, origin::DEFAULT), |s| (s.value.clone(), s.source));
    DescribeConfigsResourceResult {
        name: name.into(),
        value,
        config_source,
        synonyms,
        config_type: setting.map_or(value_type::STRING, |s| type_of(s.kind)),
        documentation: setting.map(|s| s.help.into()),
        read_only: setting.is_none(),
        ..DescribeConfigsResourceResult::default()
    }
}

fn type_of(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean | Kind::Off(_) => value_type::BOOLEAN,
        Kind::IntegerOr { max, .. } | Kind::Integer { max, .. } if max <= i64::from(i32::MAX) => {
            value_type::INT
        }
        Kind::IntegerOr { .. } | Kind::Integer { .. } => value_type::LONG,
        Kind::Ratio => value_type::DOUBLE,
        Kind::Choice(_) => value_type::STRING,
        Kind::List(_) | Kind::Replicas => value_type::LIST,
    }
}

fn describe_broker(
    context: &Context,
    (host, port): &(String, u16),
    name: &str,
) -> Result<Vec<DescribeConfigsResourceResult<'static>>, Refusal> {
    // The empty name asks for what all brokers have in common.
    if !name.is_empty() && name != context.node_id().to_string() {
        let text = format!(
            "Unexpected broker id, expected {} or empty string, but received {name}",
            context.node_id()
        );
        return Err((Code::InvalidRequest, text.into()));
    }
    let broker = context.broker.settings();
    let millis = |duration: std::time::Duration| duration.as_millis().to_string();
    let values = [
        ("advertised.listeners", format!("PLAINTEXT://{host}:{port}")),
        (
            "auto.create.topics.enable",
            context.settings.auto_create_topics.to_string(),
        ),
        ("broker.id", context.node_id().to_string()),
        ("default.replication.factor", "1".to_owned()),
        (
            "group.initial.rebalance.delay.ms",
            broker.group.initial_rebalance_delay_ms.to_string(),
        ),
        (
            "group.max.session.timeout.ms",
            broker.group.session_timeout_max_ms.to_string(),
        ),
        (
            "group.min.session.timeout.ms",
            broker.group.session_timeout_min_ms.to_string(),
        ),
        ("num.partitions", broker.default_partitions.to_string()),
        (
            "offset.metadata.max.bytes",
            broker.group.offset_metadata_max.to_string(),
        ),
        (
            "offsets.retention.minutes",
            (broker.group.offsets_retention_ms / 60_000).to_string(),
        ),
        ("producer.id.expiration.ms", millis(broker.producer_expiry)),
        (
            "socket.request.max.bytes",
            context.settings.request_bytes_max.to_string(),
        ),
    ];
    Ok(values
        .into_iter()
        .map(|(name, value)| {
            described(
                name,
                [(Some(value), origin::STATIC_BROKER)].into_iter(),
                None,
            )
        })
        .collect())
}

pub(super) async fn alter(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    let request: AlterConfigsRequest<'_> = call.read()?;
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
        let (error_code, error_message) =
            outcome(change(context, principal, target, changes, request.validate_only).await);
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
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let names = resource.configs.iter().map(|config| config.name.as_ref());
        let changes = no_repeats(names)
            .and_then(|()| resource.configs.iter().map(incremental_change).collect());
        let target = (resource.resource_type, resource.resource_name.as_ref());
        let (error_code, error_message) =
            outcome(change(context, principal, target, changes, request.validate_only).await);
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
            Error::InvalidRequest(format!(
                "Null value not supported for config {}",
                config.name
            ))
        })
    };
    Ok(match config.config_operation {
        SET => ConfigChange::Set(name, value()?),
        DELETE => ConfigChange::Reset(name),
        APPEND => ConfigChange::Append(name, value()?),
        SUBTRACT => ConfigChange::Subtract(name, value()?),
        other => {
            return Err(Error::InvalidRequest(format!(
                "Unknown config operation {other}"
            )));
        }
    })
}

/// Two changes of one setting contradict each other, and their order means nothing.
fn no_repeats<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            let text = format!("the setting {name} is given more than once");
            return Err(Error::InvalidRequest(text));
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
) -> Result<(), Error> {
    if kind != TOPIC {
        let text = "only the settings of topics can be changed while the broker runs";
        return Err(Error::InvalidRequest(text.into()));
    }
    context
        .broker
        .configure_topic(principal, name, changes?, dry_run)
        .await
}

fn outcome(outcome: Result<(), Error>) -> (i16, Option<Cow<'static, str>>) {
    match outcome {
        Ok(()) => (Code::None.into(), None),
        Err(error) => (code(&error).into(), Some(message(&error))),
    }
}
