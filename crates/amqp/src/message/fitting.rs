//! Properties that are larger than a consumer's frames. The protocol cannot divide them over several frames, and what is
//! too large ends a client; so the headers that do not fit are left out, and how many is told.

use bytes::Bytes;

use super::encoded;
use crate::wire::{Properties, Table, TableBuilder, Value};

/// How many headers were left out of a message.
pub(crate) const OMITTED: &[u8] = b"x-forebay-headers-omitted";
/// Bytes of that header in a table: the lengths of its name and the name, its type, and its value.
const OMITTED_BYTES: usize = 1 + OMITTED.len() + 1 + 8;

/// The properties with as many of their headers as fit into `bytes_max`, the largest left out first, and how many were
/// left out.
pub(crate) fn fitting(properties: &[u8], bytes_max: usize) -> (Bytes, usize) {
    let none = || (Bytes::from_static(Properties::NONE), 0);
    let Ok(properties) = Properties::decode(properties) else {
        return none();
    };
    let bare = encoded(&Properties {
        headers: Some(Table::EMPTY),
        ..properties
    });
    let room = bytes_max.saturating_sub(bare.len() + OMITTED_BYTES);
    let headers = properties.headers.unwrap_or_default();
    let mut entries: Vec<(usize, usize)> = sizes(headers).into_iter().enumerate().collect();
    // By size; those of one size in their order, so that the same ones go each time.
    entries.sort_by_key(|(place, bytes)| (std::cmp::Reverse(*bytes), *place));
    let mut total: usize = entries.iter().map(|(_, bytes)| bytes).sum();
    let mut stays = vec![true; entries.len()];
    let mut omitted = 0;
    for (place, bytes) in entries {
        if total <= room {
            break;
        }
        total -= bytes;
        omitted += 1;
        if let Some(stays) = stays.get_mut(place) {
            *stays = false;
        }
    }
    let mut kept = TableBuilder::new();
    for ((name, value), stays) in headers.iter().zip(stays) {
        if stays && name != OMITTED {
            // What was in a table fits into one.
            let _ = kept.push(name, value);
        }
    }
    let count = i64::try_from(omitted).unwrap_or(i64::MAX);
    let _ = kept.push(OMITTED, Value::I64(count));
    let fitting = encoded(&Properties {
        headers: Some(kept.as_table()),
        ..properties
    });
    if fitting.len() > bytes_max {
        return none();
    }
    (fitting, omitted)
}

/// Bytes of each entry of a table.
fn sizes(table: Table<'_>) -> Vec<usize> {
    let mut copied = TableBuilder::new();
    let mut before = 0;
    let mut sizes = Vec::new();
    for (name, value) in table {
        let _ = copied.push(name, value);
        let after = copied.as_table().as_bytes().len();
        sizes.push(after - before);
        before = after;
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_headers_are_left_out_until_the_rest_fits() {
        let (large, middle) = ([b'l'; 5000], [b'm'; 3000]);
        let mut table = TableBuilder::new();
        for (name, value) in [
            ("a", Value::I32(1)),
            ("large", Value::Long(&large)),
            ("middle", Value::Long(&middle)),
            ("b", Value::Bool(true)),
            ("x-forebay-headers-omitted", Value::I64(77)),
        ] {
            table.push(name.as_bytes(), value).unwrap();
        }
        let whole = Properties {
            content_type: Some(b"text/plain"),
            headers: Some(table.as_table()),
            ..Properties::default()
        };
        let whole = whole.encode().unwrap();
        for (bytes_max, expected, names) in [
            (4076, 1, &["a", "middle", "b"][..]),
            (3000, 2, &["a", "b"]),
            (80, 3, &["a", "b"]),
            (60, 4, &["b"]),
        ] {
            let (bytes, omitted) = fitting(&whole, bytes_max);
            assert!(bytes.len() <= bytes_max);
            let seen = Properties::decode(&bytes).unwrap();
            assert_eq!(seen.content_type, Some(&b"text/plain"[..]));
            let headers = seen.headers.unwrap();
            let mut seen: Vec<_> = headers.iter().map(|(name, _)| name).collect();
            assert_eq!(seen.pop(), Some(OMITTED));
            let told = headers.find(OMITTED).and_then(|v| v.integer());
            let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
            assert_eq!((seen, told), (names, i64::try_from(omitted).ok()));
            assert_eq!(omitted, expected, "of {bytes_max}");
        }
        assert_eq!(fitting(b"\xff", 4096), (Bytes::from_static(&[0, 0]), 0));
    }
}
