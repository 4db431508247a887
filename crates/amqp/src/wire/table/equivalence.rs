//! When two values, tables or arrays mean the same.

use super::{Array, Table, Value};

impl Table<'_> {
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

impl Array<'_> {
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

impl Value<'_> {
    /// Whether both mean the same: integers of any width by their value, so do the two kinds of floats, everything
    /// else by its type and content. Not a number is equivalent to itself, or a declaration could not be repeated.
    pub fn is_equivalent(&self, other: &Self) -> bool {
        if let (Some(ours), Some(theirs)) = (self.integer(), other.integer()) {
            return ours == theirs;
        }
        if let (Some(ours), Some(theirs)) = (self.float(), other.float()) {
            return ours.total_cmp(&theirs).is_eq();
        }
        match (self, other) {
            (Self::Table(ours), Self::Table(theirs)) => ours.is_equivalent(theirs),
            (Self::Array(ours), Self::Array(theirs)) => ours.is_equivalent(theirs),
            _ => self == other,
        }
    }
}
