//! What routing sees of a message: its keys and its headers.

use crate::kind::Property;
use crate::value::Value;

/// What routing asks about a message.
pub trait Headers {
    /// The value of a header, the first one of that name.
    fn value(&self, name: &[u8]) -> Option<Value>;

    /// The value of a property that an exchange may hash.
    fn property(&self, property: Property) -> Option<Value> {
        let _ = property;
        None
    }
}

/// A message without headers.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHeaders;

impl Headers for NoHeaders {
    fn value(&self, _: &[u8]) -> Option<Value> {
        None
    }
}

/// A message on its way through exchanges.
#[derive(Clone, Copy)]
pub struct Routed<'a> {
    /// Its routing keys: the first one, and those of whom it goes to as well.
    pub keys: &'a [&'a [u8]],
    /// Its headers.
    pub headers: &'a dyn Headers,
    /// A client publishes it, who may not use an exchange that is internal.
    pub publisher: bool,
}
