//! Who are you, and may you? Identities and the one permission question every verb asks.
//!
//! The engine is used on behalf of a [`Principal`], and asks an [`Authorizer`] before anything else happens. The only authorizer so far allows everything; listeners are therefore bound to
//! the loopback interface by default.

use std::sync::Arc;

/// An authenticated identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// Name, unique within the broker.
    pub name: Arc<str>,
}

impl Principal {
    /// Who connects without credentials where that is allowed.
    pub fn anonymous() -> Self {
        Self {
            name: Arc::from("anonymous"),
        }
    }
}

/// What a principal wants to do, in the engine's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Make a resource.
    Create,
    /// Remove a resource.
    Delete,
    /// See that a resource exists, and its settings.
    Describe,
    /// Change a resource's settings.
    Configure,
    /// Append records.
    Publish,
    /// Read records.
    Consume,
    /// Remove records.
    Trim,
}

/// What it is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resource<'a> {
    /// The broker itself.
    Broker,
    /// A topic by name.
    Topic(&'a str),
    /// A consumer group by name.
    Group(&'a str),
    /// A queue by name.
    Queue(&'a str),
    /// An exchange by name; publishing to it is asked about it alone, not about the queues it leads to.
    Exchange(&'a str),
    /// A vhost by name.
    Vhost(&'a str),
}

/// Decides whether a principal may do something.
pub trait Authorizer: Send + Sync + 'static {
    /// Whether `principal` may `verb` the `resource`. Must not block.
    fn allows(&self, principal: &Principal, verb: Verb, resource: Resource<'_>) -> bool;
}

/// Allows everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn allows(&self, _: &Principal, _: Verb, _: Resource<'_>) -> bool {
        true
    }
}
