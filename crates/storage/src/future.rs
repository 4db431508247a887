//! Futures of traits that are used as objects.

use std::pin::Pin;

/// A boxed, sendable future: what the object-safe traits of this crate return where they must wait.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
