//! One file per resource.

pub(crate) mod health;
pub(crate) mod metrics;
