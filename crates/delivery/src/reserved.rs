//! Headers of reserved names, which the broker adds to records. Their values are text, so that who reads the records by
//! offset can read them too.
//!
//! Older versions wrote numbers and identities in binary. Those are read as well: none of them begins with a digit, or
//! has the length of a text.

use storage::batch::Record;
use uuid::Uuid;

/// Names of record headers that begin with this belong to the broker and its frontends.
pub const RESERVED: &str = "forebay.";
/// What all headers begin with that say to a reader why a message was dead-lettered.
pub const DEAD_LETTER: &str = "forebay.dead-letter.";
/// Not to be leased before this time, u64 ms.
pub const DUE: &[u8] = b"forebay.due";
/// Not to be leased after this time, u64 ms.
pub const EXPIRES: &[u8] = b"forebay.expires";
/// Deduplication id.
pub const DEDUP: &[u8] = b"forebay.dedup";
/// Priority, one byte.
pub const PRIORITY: &[u8] = b"forebay.priority";
/// Identity of a message that came from another queue, 16 bytes.
pub const ID: &[u8] = b"forebay.id";
/// Times it was leased in other queues, u32.
pub const ATTEMPTS: &[u8] = b"forebay.attempts";
/// Where it was dead-lettered, JSON.
pub const DEAD: &[u8] = b"forebay.dead";
/// Its dead-letter history, JSON.
pub const DEAD_LETTER_HISTORY: &[u8] = b"forebay.deaths";
/// How it came: exchange and keys.
pub const VIA: &[u8] = b"forebay.via";
/// Keys it came with that its receivers may not know, as [`VIA`].
pub const HIDDEN: &[u8] = b"forebay.hidden-keys";

/// Whether a header is the engine's own.
pub fn is_reserved_by_engine(name: &[u8]) -> bool {
    [
        DUE,
        EXPIRES,
        DEDUP,
        PRIORITY,
        ID,
        ATTEMPTS,
        DEAD,
        DEAD_LETTER_HISTORY,
        VIA,
        HIDDEN,
    ]
    .contains(&name)
        || name.starts_with(DEAD_LETTER.as_bytes())
}

/// Reserved headers are kept only where the broker wrote them itself: what a peer put there is not trusted.
pub fn strip_reserved(record: &mut Record) {
    let headers = &mut record.headers;
    headers.retain(|(name, _)| !name.starts_with(RESERVED.as_bytes()));
}

/// A number as a header's value.
pub fn write(number: u64) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// A priority as a header's value: three digits, to be told from a byte.
pub fn write_level(level: u8) -> [u8; 3] {
    [level / 100, level / 10 % 10, level % 10].map(|digit| b'0' + digit)
}

/// A number, as it stands in a header.
pub fn number(value: &[u8]) -> Option<u64> {
    if value.first().is_some_and(u8::is_ascii_digit) {
        return std::str::from_utf8(value).ok()?.parse().ok();
    }
    match *value {
        [a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d]).into()),
        _ => value.try_into().ok().map(u64::from_be_bytes),
    }
}

/// A priority, as it stands in a header.
pub fn level(value: &[u8]) -> Option<u8> {
    match *value {
        [level] => Some(level),
        _ => std::str::from_utf8(value).ok()?.parse().ok(),
    }
}

/// An identity, as it stands in a header.
pub fn id(value: &[u8]) -> Option<Uuid> {
    Uuid::from_slice(value)
        .or_else(|_| Uuid::try_parse_ascii(value))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_text_and_older_ones_are_read() {
        for given in [0, 7, 1_780_000_000_000, u64::MAX] {
            assert_eq!(number(&write(given)), Some(given));
        }
        for given in [0, 1, 1_780_000_000_000, u64::MAX] {
            assert_eq!(number(&given.to_be_bytes()), Some(given));
        }
        assert_eq!(number(&5_u32.to_be_bytes()), Some(5));
        assert_eq!(write(12_345_678), b"12345678", "as long as a binary one");
        for bad in [&b""[..], b"x", b"1x", b"99999999999999999999"] {
            assert_eq!(number(bad), None);
        }
    }

    #[test]
    fn levels_and_identities_are_text_and_older_ones_are_read() {
        for given in [0, 9, 48, 57, 255] {
            assert_eq!(level(&write_level(given)), Some(given));
            assert_eq!(level(&[given]), Some(given));
        }
        assert_eq!(write_level(7), *b"007");
        assert!(level(b"").is_none() && level(b"256").is_none());
        let given = Uuid::from_u128(0x1234);
        assert_eq!(id(given.as_bytes()), Some(given));
        assert_eq!(id(given.to_string().as_bytes()), Some(given));
        assert_eq!(id(b"nothing"), None);
    }
}
