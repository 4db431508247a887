//! Settings that are kept for frontends, as data.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Names and values.
pub(crate) type Values = BTreeMap<String, String>;

/// What is kept, by what it belongs to.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(pub(super) BTreeMap<Arc<str>, Stored>);

#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) version: u64,
    pub(super) values: Arc<Values>,
}

/// A change of what is kept for one thing.
#[derive(Debug, Clone)]
pub struct Keep {
    /// What it belongs to.
    pub scope: String,
    /// Forget what is not named.
    pub replace: bool,
    /// Settings with their values; those without one are forgotten.
    pub values: Vec<(String, Option<String>)>,
}
