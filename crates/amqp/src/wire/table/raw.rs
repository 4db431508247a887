//! Tables and arrays as they lie in a frame.

/// A field table: names with values. Two are equal when their bytes are; see [`Table::is_equivalent`] for the other
/// kind of equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Table<'a> {
    pub(super) bytes: &'a [u8],
}

/// A field array: values without names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Array<'a> {
    pub(super) bytes: &'a [u8],
}

impl<'a> Table<'a> {
    /// A table with nothing in it.
    pub const EMPTY: Self = Self { bytes: &[] };

    /// The bytes, the length in front of them left out.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl<'a> Array<'a> {
    /// The bytes, the length in front of them left out.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
