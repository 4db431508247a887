//! Any bytes as choices: a history of the store, damage to what it left, and the start after that.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    testkit::fuzz_journal(data);
});
