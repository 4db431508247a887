//! Any bytes as a Kafka request: header and body, without the length prefix.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kafka::wire::fuzz::request(data));
