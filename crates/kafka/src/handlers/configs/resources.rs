//! Which resources have settings, and the levels of loggers.

use std::io;

use engine::ConfigChange;
use security::{Principal, Resource, Verb};

use super::super::Call;
use super::super::metadata::visible;
use super::super::room::elements;
use super::{Refusal, Shown, group, invalid, kind, origin, value_type};
use crate::context::Context;
use crate::error::Code;
use crate::wire::list_config_resources::ConfigResource;
use crate::wire::{ListConfigResourcesRequest, ListConfigResourcesResponse, Segments};

/// The logger that the others follow.
const ROOT: &str = "root";
/// Levels a logger can have.
const LEVELS: [&str; 6] = ["DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"];

pub(in super::super) async fn list(
    context: &Context,
    principal: &Principal,
    call: &Call<'_>,
) -> io::Result<Segments> {
    const ALL: [i8; 5] = [
        kind::GROUP,
        kind::CLIENT_METRICS,
        kind::BROKER_LOGGER,
        kind::BROKER,
        kind::TOPIC,
    ];
    let request: ListConfigResourcesRequest = call.read()?;
    let refuse = |code: Code| {
        call.answer(&ListConfigResourcesResponse {
            error_code: code.into(),
            ..ListConfigResourcesResponse::default()
        })
    };
    if !context
        .broker
        .on_behalf_of(principal)
        .allows(Verb::Describe, Resource::Broker)
    {
        return refuse(Code::ClusterAuthorizationFailed);
    }
    // The first version knew one kind, of which there are none here.
    let wanted: &[i8] = match (call.version, request.resource_types.as_slice()) {
        (0, _) => &[kind::CLIENT_METRICS],
        (_, []) => &ALL,
        (_, wanted) => wanted,
    };
    if wanted.iter().any(|kind| !ALL.contains(kind)) {
        return refuse(Code::UnsupportedVersion);
    }
    let mut config_resources = Vec::new();
    for resource_type in ALL.into_iter().filter(|kind| wanted.contains(kind)) {
        let names = names(context, principal, resource_type);
        let text = names.iter().map(String::len).sum();
        call.make_room(elements::<ConfigResource<'_>>(names.len(), text))
            .await?;
        let names = names.into_iter();
        config_resources.extend(names.map(|name| ConfigResource {
            resource_name: name.into(),
            resource_type,
        }));
    }
    call.answer(&ListConfigResourcesResponse {
        config_resources,
        ..ListConfigResourcesResponse::default()
    })
}

fn names(context: &Context, principal: &Principal, kind: i8) -> Vec<String> {
    match kind {
        kind::BROKER | kind::BROKER_LOGGER => vec![context.node_id().to_string()],
        kind::TOPIC => {
            let topics = visible(context, principal);
            topics.iter().map(|topic| topic.name.to_string()).collect()
        }
        kind::GROUP => {
            let scopes = context.broker.kept_scopes();
            let groups = scopes.iter().filter_map(|s| s.strip_prefix(group::SCOPE));
            groups.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// Loggers are this node's.
fn check_node(context: &Context, name: &str) -> Result<(), Refusal> {
    let id: i32 = name
        .parse()
        .map_err(|_| invalid(format!("Node id must be an integer, but it is: {name}")))?;
    if id == context.node_id() {
        return Ok(());
    }
    Err(invalid(format!(
        "Unexpected broker id, expected {} but received {name}",
        context.node_id()
    )))
}

pub(super) fn describe_loggers(context: &Context, name: &str) -> Result<Vec<Shown>, Refusal> {
    check_node(context, name)?;
    let levels = context.settings.loggers.levels();
    let shown = levels.into_iter().map(|(name, level)| Shown {
        name,
        layers: vec![(None, level, origin::BROKER_LOGGER)],
        kind: value_type::UNKNOWN,
        help: None,
        read_only: false,
        sensitive: false,
    });
    Ok(shown.collect())
}

fn not_allowed(operation: &str) -> Refusal {
    invalid(format!(
        "{operation} operation is not allowed for the BROKER_LOGGER resource"
    ))
}

pub(super) fn alter_loggers(
    context: &Context,
    name: &str,
    changes: &[ConfigChange],
    dry_run: bool,
) -> Result<(), Refusal> {
    check_node(context, name)?;
    let known = context.settings.loggers.levels();
    let refuse = |text: String| Err((Code::InvalidConfig, text.into()));
    let mut levels = Vec::with_capacity(changes.len());
    for change in changes {
        let (logger, level) = match change {
            ConfigChange::Set(logger, level) => (logger, Some(level.as_str())),
            ConfigChange::Reset(logger) => (logger, None),
            ConfigChange::Append(..) => return Err(not_allowed("APPEND")),
            ConfigChange::Subtract(..) => return Err(not_allowed("SUBTRACT")),
            // The older request is not made for loggers.
            ConfigChange::ResetAll => return Err(not_allowed("ALTER")),
        };
        if !known.iter().any(|(known, _)| known == logger) {
            return refuse(format!("Logger {logger} does not exist!"));
        }
        if level.is_none() && logger == ROOT {
            return Err(invalid(
                "Removing the log level of the root logger is not allowed",
            ));
        }
        if let Some(level) = level.filter(|level| !LEVELS.contains(level)) {
            return refuse(format!(
                "Cannot set the log level of {logger} to {level} as it is not a supported log level. Valid log \
                 levels are {}",
                LEVELS.join(", ")
            ));
        }
        levels.push((logger.as_str(), level));
    }
    if dry_run {
        return Ok(());
    }
    for (logger, level) in levels {
        context
            .settings
            .loggers
            .set(logger, level)
            .map_err(|text| (Code::UnknownServerError, text.into()))?;
    }
    Ok(())
}
