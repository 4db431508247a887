//! Any bytes as a stored snapshot of a partition's state.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::partition::fuzz(data));
