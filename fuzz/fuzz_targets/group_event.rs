//! Any bytes as a stored event of a consumer group, folded into a group.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| engine::group::fuzz(data));
