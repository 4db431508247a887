//! Settings as the catalog stores them.

use std::sync::Arc;

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::settings::QueueSettings;

/// Writes the settings that differ from the default: a hundred thousand documents are kept in memory.
pub fn serialize<S: Serializer>(
    settings: &QueueSettings,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let object = |settings: &QueueSettings| match serde_json::to_value(settings) {
        Ok(Value::Object(all)) => Ok(all),
        Ok(_) => Err(S::Error::custom("settings are an object")),
        Err(error) => Err(S::Error::custom(error)),
    };
    let default = object(&QueueSettings::default())?;
    let mut all = object(settings)?;
    all.retain(|name, value| default.get(name) != Some(value));
    all.serialize(serializer)
}

/// Reads settings where differences from the default were written.
pub fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Arc<QueueSettings>, D::Error> {
    QueueSettings::deserialize(deserializer).map(QueueSettings::shared)
}
