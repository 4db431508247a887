//! What is kept of the wire's form: the names of headers, and properties with some of them left out.

use bytes::Bytes;

use crate::wire::{Properties, Table, TableBuilder};

/// The reserved header that holds the properties as they came.
pub(super) const RAW: &[u8] = b"forebay.amqp";
/// Headers that name more queues a message goes to; the second kind is removed before delivery.
pub(super) const CC: &[u8] = b"CC";
pub(super) const BCC: &[u8] = b"BCC";

/// A part of `whole` that outlives the borrow, without a copy.
pub(super) fn keep(whole: &Bytes, part: &[u8]) -> Bytes {
    let (ours, theirs) = (whole.as_ptr_range(), part.as_ptr_range());
    if ours.start <= theirs.start && theirs.end <= ours.end {
        whole.slice_ref(part)
    } else {
        Bytes::copy_from_slice(part)
    }
}

/// The entries of a table that are to stay.
pub(super) fn filtered(table: Table<'_>, stays: impl Fn(&[u8]) -> bool) -> TableBuilder {
    let mut kept = TableBuilder::new();
    for (name, value) in table {
        if stays(name) {
            // What was in a table fits into one.
            let _ = kept.push(name, value);
        }
    }
    kept
}

/// Properties as bytes; those that have become too long are given up.
pub(crate) fn encoded(properties: &Properties<'_>) -> Bytes {
    let encoded = properties.encode();
    encoded.unwrap_or_else(|_| Bytes::from_static(Properties::NONE))
}
