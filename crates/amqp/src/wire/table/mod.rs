//! Field tables and arrays as views over their bytes: checked once, then read lazily, in their own order, with
//! duplicates, and with strings that need not be text. What came in can go out again byte for byte.

mod builder;
mod value;

use super::{Error, Reader, Result};

pub use builder::{ArrayBuilder, TableBuilder};
pub use value::Value;

/// How deep tables and arrays may lie in one another.
pub const TABLE_DEPTH_MAX: usize = 32;
/// Most values in one table, those within its tables and arrays included.
pub const TABLE_VALUES_MAX: usize = 16_384;

/// A field table: names with values. Two are equal when their bytes are; see [`Table::is_equivalent`] for the other
/// kind of equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Table<'a> {
    bytes: &'a [u8],
}

/// A field array: values without names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Array<'a> {
    bytes: &'a [u8],
}

impl<'a> Table<'a> {
    /// A table with nothing in it.
    pub const EMPTY: Self = Self { bytes: &[] };

    /// Takes `bytes`, the length in front of them left out, after checking them to the deepest value.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        if !bytes.is_empty() {
            let mut budget = TABLE_VALUES_MAX;
            check(&mut Reader::new(bytes), Names::Before, 1, &mut budget)?;
        }
        Ok(Self { bytes })
    }

    /// The bytes, the length in front of them left out.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Names and values, in order, duplicates included.
    #[inline]
    pub fn iter(self) -> TableIter<'a> {
        TableIter {
            r: Reader::new(self.bytes),
        }
    }

    /// The first value of that name.
    pub fn find(&self, name: &[u8]) -> Option<Value<'a>> {
        self.iter()
            .find_map(|(found, value)| (found == name).then_some(value))
    }

    /// Whether both have the same names with equivalent values, in any order; duplicates in the same order.
    pub fn is_equivalent(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let sorted = |table: &Self| {
            let mut pairs: Vec<_> = table.iter().collect();
            pairs.sort_by_key(|(name, _)| *name);
            pairs
        };
        let (ours, theirs) = (sorted(self), sorted(other));
        let same = |((name, value), (other_name, other)): (&(_, Value<'_>), &(_, Value<'_>))| {
            name == other_name && value.is_equivalent(other)
        };
        ours.len() == theirs.len() && ours.iter().zip(&theirs).all(same)
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

    /// The values, in order.
    #[inline]
    pub fn iter(self) -> ArrayIter<'a> {
        ArrayIter {
            r: Reader::new(self.bytes),
        }
    }

    /// Whether both have equivalent values in the same order.
    pub fn is_equivalent(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.iter(), other.iter());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(one), Some(other)) if one.is_equivalent(&other) => {}
                _ => return false,
            }
        }
    }
}

impl<'a> IntoIterator for Table<'a> {
    type Item = (&'a [u8], Value<'a>);
    type IntoIter = TableIter<'a>;

    fn into_iter(self) -> TableIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for Array<'a> {
    type Item = Value<'a>;
    type IntoIter = ArrayIter<'a>;

    fn into_iter(self) -> ArrayIter<'a> {
        self.iter()
    }
}

/// Goes through a table.
#[derive(Debug, Clone)]
pub struct TableIter<'a> {
    r: Reader<'a>,
}

impl<'a> Iterator for TableIter<'a> {
    type Item = (&'a [u8], Value<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // The bytes were checked; the end of the table is the only failure left.
        let name = self.r.short().ok()?;
        let value = Value::decode(&mut self.r).ok()?;
        Some((name, value))
    }
}

/// Goes through an array.
#[derive(Debug, Clone)]
pub struct ArrayIter<'a> {
    r: Reader<'a>,
}

impl<'a> Iterator for ArrayIter<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        Value::decode(&mut self.r).ok()
    }
}

/// What stands in front of each value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Before,
    None,
}

/// Reads everything once, within the limits.
fn check(r: &mut Reader<'_>, names: Names, depth: usize, budget: &mut usize) -> Result<()> {
    while r.remaining() > 0 {
        if names == Names::Before {
            r.short()?;
        }
        *budget = budget
            .checked_sub(1)
            .ok_or_else(|| r.malformed("a table of too many values"))?;
        let (names, bytes) = match Value::decode(r)? {
            Value::Table(table) => (Names::Before, table.bytes),
            Value::Array(array) => (Names::None, array.bytes),
            _ => continue,
        };
        if depth >= TABLE_DEPTH_MAX {
            return Err(r.malformed("a table too deep"));
        }
        let inner = check(
            &mut Reader::new(bytes),
            names,
            depth.saturating_add(1),
            budget,
        );
        // Within the frame the inner table ends where we stand now.
        inner.map_err(|error| match error {
            Error::Malformed { why, .. } => r.malformed(why),
            other => other,
        })?;
    }
    Ok(())
}
