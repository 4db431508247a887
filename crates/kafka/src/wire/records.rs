//! The `records` fields of Produce and Fetch: record batches that pass through unread and uncopied.

use bytes::Bytes;

/// Record batches, back to back.
#[derive(Debug, Clone, Default)]
pub enum Records {
    /// No records at all, which is not the same as none.
    #[default]
    Null,
    /// One stretch of bytes; what decoding produces.
    One(Bytes),
    /// Several stretches that are one on the wire; saves a copy when a fetch spans them.
    Many(Vec<Bytes>),
}

impl Records {
    /// Whether this is null on the wire.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether there are no bytes, null or not.
    pub fn is_empty(&self) -> bool {
        self.parts().iter().all(Bytes::is_empty)
    }

    /// Bytes in all parts together.
    pub fn len(&self) -> usize {
        self.parts()
            .iter()
            .fold(0, |sum, part| sum.saturating_add(part.len()))
    }

    /// The stretches, in order.
    pub fn parts(&self) -> &[Bytes] {
        match self {
            Self::Null => &[],
            Self::One(part) => std::slice::from_ref(part),
            Self::Many(parts) => parts,
        }
    }
}

/// Equal when they are the same on the wire, however the bytes are divided.
impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        let all = |records: &Self| -> Vec<u8> { records.parts().concat() };
        match (self, other) {
            (Self::One(left), Self::One(right)) => left == right,
            _ => self.is_null() == other.is_null() && all(self) == all(other),
        }
    }
}

impl Eq for Records {}

impl From<Bytes> for Records {
    fn from(part: Bytes) -> Self {
        Self::One(part)
    }
}

impl From<Vec<Bytes>> for Records {
    fn from(parts: Vec<Bytes>) -> Self {
        Self::Many(parts)
    }
}
