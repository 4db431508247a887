//! Any bytes as the choices from which a record batch is made: sound, or lying about what it holds.

#![no_main]

use testkit::forge::{Choices, forge};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let forged = forge(&mut Choices::new(data), 1_780_000_000_000);
    let accepted = engine::queue::fuzz_batch(&forged.bytes);
    assert!(accepted || !forged.honest);
});
