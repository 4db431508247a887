//! Any bytes as a stored event of a queue partition.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::queue::fuzz(data));
