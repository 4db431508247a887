//! Any bytes as an API key, a version, and the Kafka response to such a request.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kafka::wire::fuzz::response(data));
