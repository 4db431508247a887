//! How a contradiction is put into words.

/// An error with these words, unless it is so.
pub(crate) fn ensure(is_so: bool, words: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(words()) }
}
