//! Any bytes as a field table, without its length.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| amqp::wire::fuzz::table(data));
