//! Settings as clients are shown them: kinds of resources, origins and types of values, refusals.

use std::borrow::Cow;

use engine::topic::settings::Kind;

use crate::error::Code;

/// Kinds of resource that have settings.
pub(super) mod kind {
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const BROKER: i8 = 4;
    pub(crate) const BROKER_LOGGER: i8 = 8;
    pub(crate) const CLIENT_METRICS: i8 = 16;
    pub(crate) const GROUP: i8 = 32;
}

/// Where a value comes from.
pub(super) mod origin {
    pub(crate) const TOPIC: i8 = 1;
    pub(crate) const DYNAMIC_BROKER: i8 = 2;
    pub(crate) const DYNAMIC_DEFAULT_BROKER: i8 = 3;
    pub(crate) const STATIC_BROKER: i8 = 4;
    pub(crate) const DEFAULT: i8 = 5;
    pub(crate) const BROKER_LOGGER: i8 = 6;
    pub(crate) const GROUP: i8 = 8;
}

/// Types of values, as the protocol numbers them.
pub(super) mod value_type {
    pub(crate) const UNKNOWN: i8 = 0;
    pub(crate) const BOOLEAN: i8 = 1;
    pub(crate) const STRING: i8 = 2;
    pub(crate) const INT: i8 = 3;
    pub(crate) const LONG: i8 = 5;
    pub(crate) const DOUBLE: i8 = 6;
    pub(crate) const LIST: i8 = 7;
}

/// A refusal with its code and text.
pub(super) type Refusal = (Code, Cow<'static, str>);
/// One value a setting has: under which name, if it is another one, and where it comes from.
pub(super) type Layer = (Option<&'static str>, String, i8);

/// A setting with its values, strongest first.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) layers: Vec<Layer>,
    pub(super) kind: i8,
    pub(super) help: Option<&'static str>,
    pub(super) read_only: bool,
    pub(super) sensitive: bool,
}

/// A request that makes no sense.
pub(super) fn invalid(text: impl Into<Cow<'static, str>>) -> Refusal {
    (Code::InvalidRequest, text.into())
}

/// The protocol's number of a setting's type.
pub(super) fn type_of(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean | Kind::Off(_) => value_type::BOOLEAN,
        Kind::IntegerOr { max, .. } | Kind::Integer { max, .. } if max <= i64::from(i32::MAX) => {
            value_type::INT
        }
        Kind::IntegerOr { .. } | Kind::Integer { .. } => value_type::LONG,
        Kind::Ratio => value_type::DOUBLE,
        Kind::Choice(_) | Kind::Text => value_type::STRING,
        Kind::List(_) | Kind::Replicas | Kind::Words => value_type::LIST,
    }
}
