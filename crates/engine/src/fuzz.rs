//! What a fuzzer, and a test over made-up batches, asserts of any batch that a partition may hold.

use bytes::Bytes;

use crate::broker::fuzz_reading;

/// Has a batch delivered and read by position, whether it is sound or not. Returns whether it would have been
/// acknowledged.
#[doc(hidden)]
pub fn fuzz_batch(bytes: &Bytes) -> bool {
    delivery::fuzz_batch(bytes, fuzz_reading)
}
