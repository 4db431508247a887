//! Any bytes as what an AMQP peer sends: frames, perhaps after a protocol header.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| amqp::wire::fuzz::frames(data));
