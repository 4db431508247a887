//! The rules of names.

use crate::{Error, Result};

/// Longest topic name, bytes.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Checks a topic name: letters, digits, `.`, `_` and `-`, at most 249 of them, and neither `.` nor `..`.
pub fn check(name: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::InvalidName(format!("Topic name is invalid: {why}")));
    if name.is_empty() {
        return refuse("the empty string is not allowed");
    }
    if name == "." || name == ".." {
        return refuse(&format!("'{name}' is not allowed"));
    }
    if name.len() > TOPIC_NAME_BYTES_MAX {
        return refuse(&format!(
            "the length of '{name}' is longer than the max allowed length {TOPIC_NAME_BYTES_MAX}"
        ));
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    {
        return refuse(&format!(
            "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    Ok(())
}

/// A name without the difference between `.` and `_`.
pub(super) fn unified(name: &str) -> impl Iterator<Item = u8> {
    name.bytes()
        .map(|byte| if byte == b'.' { b'_' } else { byte })
}
