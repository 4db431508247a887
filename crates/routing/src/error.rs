//! Why routing refuses.

/// A refusal by routing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name breaks the rules of names.
    #[error("{0}")]
    InvalidName(String),
    /// An argument of an exchange or a binding makes no sense.
    #[error("{0}")]
    InvalidConfig(String),
    /// No exchange of that name.
    #[error("no such exchange")]
    UnknownExchange,
    /// A client publishes to an exchange that only other exchanges lead to.
    #[error("cannot publish to internal exchange '{exchange}' in vhost '{vhost}'")]
    Internal {
        /// The exchange.
        exchange: String,
        /// Its vhost.
        vhost: String,
    },
}

/// The result of an operation.
pub type Result<T> = std::result::Result<T, Error>;
