//! Any bytes as record batches, and their records.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| storage::batch::fuzz(data));
