//! What the codec knows about an API as a whole: which versions exist, and which header stands in front of them.

use std::ops::RangeInclusive;

use super::{ApiKey, Error, Reader, Result, Writer};

/// A request or a response.
pub trait Message<'a>: Sized {
    /// The API this message belongs to.
    const KEY: ApiKey;
    /// The specification's name.
    const NAME: &'static str;
    /// Versions that can be decoded and encoded.
    const VERSIONS: RangeInclusive<i16>;

    /// Reads the body; headers come before it, see [`super::frame`].
    fn decode(r: &mut Reader<'a>, version: i16) -> Result<Self>;

    /// Writes the body. A field that `version` lacks must hold its default, unless the specification lets it be
    /// dropped.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<()>;
}

impl ApiKey {
    /// Whether a request of this version can be decoded.
    pub fn supports(self, version: i16) -> bool {
        self.versions().contains(&version)
    }

    /// Whether this version uses compact lengths and tagged fields.
    pub fn is_flexible(self, version: i16) -> bool {
        self.flexible_from().is_some_and(|first| version >= first)
    }

    /// Version of the header in front of a request. It also holds for versions we do not know, so that the answer to
    /// them can carry the right correlation id.
    pub fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// Version of the header in front of a response. `ApiVersions` keeps the oldest: a client reads its answer before
    /// it can know which versions the broker speaks.
    pub fn response_header_version(self, version: i16) -> i16 {
        i16::from(self != Self::ApiVersions && self.is_flexible(version))
    }
}

/// Refuses versions outside `versions`.
pub(super) fn supported(
    what: &'static str,
    versions: RangeInclusive<i16>,
    version: i16,
) -> Result<()> {
    if versions.contains(&version) {
        Ok(())
    } else {
        Err(Error::Unsupported { what, version })
    }
}

/// A field holds a value that this version cannot carry.
pub(super) fn absent(what: &'static str, version: i16) -> Result<()> {
    Err(Error::Unsupported { what, version })
}

/// A field that may not be null in this version.
pub(super) fn required<T>(value: Option<T>, what: &'static str, version: i16) -> Result<T> {
    value.ok_or(Error::Unsupported { what, version })
}
