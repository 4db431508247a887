//! Batches of any kind, sound and lying, through everything that looks into them.

use std::time::{Duration, Instant};

use testkit::forge::{Choices, forge};

const NOW: i64 = 1_780_000_000_000;

/// Cases of an ordinary run.
const CASES: u64 = 300;

/// Runs the cases of a fuzzer: some hundreds, or for as many seconds as `FOREBAY_FUZZ_SECONDS` says.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a fuzzer runs for as long as it is told"
)]
fn made_up_batches_harm_nobody() {
    let seconds = std::env::var("FOREBAY_FUZZ_SECONDS").ok();
    let seconds = seconds.map(|text| text.parse().expect("a number of seconds"));
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let seed = std::env::var("FOREBAY_FUZZ_SEED").ok();
    let seed: u64 = seed.map_or(1, |text| text.parse().expect("a number"));
    let (mut cases, mut honest, mut taken) = (0, 0, 0);
    while end.map_or(cases < CASES, |end| Instant::now() < end) {
        let data = (seed + cases).to_le_bytes();
        let forged = forge(&mut Choices::new(&data), NOW);
        let accepted = engine::queue::fuzz_batch(&forged.bytes);
        assert!(
            accepted || !forged.honest,
            "an honest batch was refused: seed {}",
            seed + cases
        );
        honest += u64::from(forged.honest);
        taken += u64::from(accepted);
        cases += 1;
    }
    assert!(
        cases < 200 || (honest * 4 > cases && taken < cases),
        "{cases} cases, {honest} honest, {taken} taken"
    );
    if seconds.is_some() {
        eprintln!(
            "{cases} cases, {honest} honest, {taken} accepted, {} MiB at most",
            testkit::peak_memory_mib()
        );
        assert!(testkit::peak_memory_mib() < 256);
    }
}
