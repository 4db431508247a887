//! What breaks the rule still. Nothing is added here; what is mended is taken out.

/// Files in a cycle.
pub(super) const CYCLES_LEFT: &[&str] = &[
    "crates/engine/src/broker/readers.rs",
    "crates/engine/src/broker/sessions.rs",
];

/// Crates with a longer chain than is allowed, and its length.
pub(super) const CHAINS_LEFT: &[(&str, usize)] = &[
    ("crates/amqp/src/", 13),
    ("crates/bench/src/", 11),
    ("crates/forebay/src/", 13),
    ("crates/kafka/src/", 12),
];
