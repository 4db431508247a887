//! Why delivery refuses.

/// A refusal by delivery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name breaks the rules of names.
    #[error(transparent)]
    Name(#[from] routing::Error),
    /// A setting makes no sense.
    #[error("{0}")]
    InvalidConfig(String),
}

/// The result of an operation.
pub type Result<T> = std::result::Result<T, Error>;
