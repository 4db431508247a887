//! What a topic sets differently: a few names and values, kept small because every topic has them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Settings by name; in a document a plain map.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "BTreeMap<String, String>", from = "BTreeMap<String, String>")]
pub struct Overrides(Box<[(Box<str>, Box<str>)]>);

impl Overrides {
    /// The value of a setting, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| **known == *name)?;
        Some(&found.1)
    }

    /// Names and values in order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl From<BTreeMap<String, String>> for Overrides {
    fn from(map: BTreeMap<String, String>) -> Self {
        let pairs = map.into_iter();
        Self(
            pairs
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl From<Overrides> for BTreeMap<String, String> {
    fn from(overrides: Overrides) -> Self {
        let pairs = overrides.0.into_iter();
        pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }
}
