//! Field tables and arrays as views over their bytes: checked once, then read lazily, in their own order, with
//! duplicates, and with strings that need not be text. What came in can go out again byte for byte.

mod builder;
mod equivalence;
mod raw;
mod value;

use super::{Error, Reader, Result, Writer};

pub use builder::{ArrayBuilder, TableBuilder};
pub use raw::{Array, Table};
pub use value::Value;

/// How deep tables and arrays may lie in one another.
pub const TABLE_DEPTH_MAX: usize = 32;
/// Most values in one table, those within its tables and arrays included.
pub const TABLE_VALUES_MAX: usize = 16_384;

impl<'a> Table<'a> {
    /// Takes `bytes`, the length in front of them left out, after checking them to the deepest value.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        if !bytes.is_empty() {
            let mut budget = TABLE_VALUES_MAX;
            check(&mut Reader::new(bytes), Names::Before, 1, &mut budget)?;
        }
        Ok(Self { bytes })
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
}

impl<'a> Array<'a> {
    /// The values, in order.
    #[inline]
    pub fn iter(self) -> ArrayIter<'a> {
        ArrayIter {
            r: Reader::new(self.bytes),
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

impl<'a> Reader<'a> {
    /// A field table, checked to its deepest value.
    #[inline]
    pub fn table(&mut self) -> Result<Table<'a>> {
        let bytes = self.long()?;
        let start = self.at().saturating_sub(bytes.len());
        Table::decode(bytes).map_err(|error| match error {
            Error::Malformed { at, why } => Error::Malformed {
                at: at.saturating_add(start),
                why,
            },
            other => other,
        })
    }
}

impl Writer {
    /// A field table.
    #[inline]
    pub fn table(&mut self, value: Table<'_>) {
        self.long(value.as_bytes());
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
