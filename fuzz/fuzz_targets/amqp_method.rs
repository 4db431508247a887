//! Any bytes as the payload of a method frame, and of a header frame.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    amqp::wire::fuzz::method(data);
    amqp::wire::fuzz::header(data);
});
