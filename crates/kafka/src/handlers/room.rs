//! Room for answers, taken from the connection's budget before their parts are built: what an answer takes depends on
//! what is asked for and not on how long the request is.

use std::future::poll_fn;
use std::io;

use net::SharedPermit;

use super::call::Call;

/// Largest answer beside fetched records, in bytes of memory: what it consists of, and its encoding.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// The part of what a single request may take of the budget that is spared for its answer.
const SPARED_PART: usize = 4;
/// How much of the budget a part of an answer takes, per byte of it: lists and buffers grow by doubling, and it exists
/// as a value and as encoded bytes for a moment.
const FACTOR: usize = 4;
/// What is said of a part that the answer has no room for.
pub(super) const TOO_MUCH: &str = "The answer would be too large: ask for less at once.";

/// What `count` elements with so many bytes of text in all take.
pub(super) const fn elements<T>(count: usize, text_bytes: usize) -> usize {
    let bytes = count.saturating_mul(size_of::<T>());
    bytes.saturating_add(text_bytes).saturating_mul(FACTOR)
}

/// What a request may take decoded when any one may take `most`: the rest is for its answer.
pub(crate) const fn decoded_bytes_max(most: usize) -> usize {
    most - most / SPARED_PART
}

/// What the answer may take when any request may take `most`, and this one has taken `request`.
const fn answer_bytes_max(most: usize, request: usize) -> usize {
    let left = most.saturating_sub(request);
    if left < ANSWER_BYTES_MAX {
        left
    } else {
        ANSWER_BYTES_MAX
    }
}

impl Call<'_> {
    /// Adds where room for the answer comes from, when a request may take `most` and this one has taken `request`.
    pub(crate) fn with_room(self, room: SharedPermit, most: usize, request: usize) -> Self {
        Self {
            room: Some(room),
            answer_bytes_max: answer_bytes_max(most, request),
            ..self
        }
    }

    /// Waits for room for so many more bytes of the answer. False, at once: the answer would be larger than any may be.
    pub(super) async fn finds_room(&self, bytes: usize) -> bool {
        let Some(room) = &self.room else {
            return true;
        };
        if room.bytes().saturating_add(bytes) > self.answer_bytes_max {
            return false;
        }
        // A long list must not keep a thread from others.
        tokio::task::coop::consume_budget().await;
        if !room.try_take(bytes) {
            poll_fn(|cx| room.poll_take(cx, bytes)).await;
        }
        true
    }

    /// As [`Call::finds_room`], for what the answer cannot do without. Error: the connection has to end.
    pub(super) async fn make_room(&self, bytes: usize) -> io::Result<()> {
        if self.finds_room(bytes).await {
            return Ok(());
        }
        let text = format!(
            "the answer to {:?} would take more than {} bytes of memory",
            self.key, self.answer_bytes_max
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_and_answer_together_take_no_more_than_any_request_may() {
        for most in [8 << 20, 32 << 20, 85 << 20, 4 << 30] {
            let request = decoded_bytes_max(most);
            assert!(request + answer_bytes_max(most, request) <= most);
            assert!(answer_bytes_max(most, request) >= most / 4 || most / 4 > ANSWER_BYTES_MAX);
            assert!(answer_bytes_max(most, 0) <= ANSWER_BYTES_MAX);
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_as_large_as_can_be() {
        assert_eq!(elements::<u64>(usize::MAX, 1), usize::MAX);
        assert_eq!(elements::<u64>(2, 3), (2 * 8 + 3) * FACTOR);
    }
}
