//! Any bytes as a request of either protocol of the SQS frontend.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sqs::fuzz(data));
