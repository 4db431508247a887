//! Tables and arrays of our own: values are appended in the order they are given.

use super::{Array, Table, Value};
use crate::wire::{Result, Writer};

/// Collects a table.
#[derive(Debug)]
pub struct TableBuilder {
    w: Writer,
}

/// Collects an array.
#[derive(Debug)]
pub struct ArrayBuilder {
    w: Writer,
}

impl Default for TableBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl TableBuilder {
    /// An empty table.
    pub fn new() -> Self {
        Self { w: Writer::bare() }
    }

    /// Appends a value under a name. A failure leaves the table as it was.
    pub fn push(&mut self, name: &[u8], value: Value<'_>) -> Result<&mut Self> {
        self.w.whole(|w| {
            w.short(name);
            value.encode(w);
        })?;
        Ok(self)
    }

    /// What was collected.
    pub fn as_table(&self) -> Table<'_> {
        Table {
            bytes: self.w.gathered(),
        }
    }
}

impl Default for ArrayBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ArrayBuilder {
    /// An empty array.
    pub fn new() -> Self {
        Self { w: Writer::bare() }
    }

    /// Appends a value. A failure leaves the array as it was.
    pub fn push(&mut self, value: Value<'_>) -> Result<&mut Self> {
        self.w.whole(|w| value.encode(w))?;
        Ok(self)
    }

    /// What was collected.
    pub fn as_array(&self) -> Array<'_> {
        Array {
            bytes: self.w.gathered(),
        }
    }
}
