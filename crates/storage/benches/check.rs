//! What it costs to look through a produced batch, beside its checksum. `cargo bench -p storage --bench check`.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark measures time and prints what it found"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use storage::Batch;
use storage::batch::Rules;
use testkit::forge::{Header, Wire, compress};

const NOW: i64 = 1_780_000_000_000;
const TIME: Duration = Duration::from_millis(400);

fn batch(codec: i16, count: usize, bytes: usize, headers: &[Header<'_>]) -> Bytes {
    let mut body = Vec::new();
    for place in 0..count {
        // Half of it can be compressed.
        let noise = (0..bytes).map(|i| match i % 2 {
            0 => b'a',
            _ => u8::try_from((place * 31 + i * 7 + i * i) % 251).unwrap_or(0),
        });
        let value: Vec<u8> = noise.collect();
        let place = i64::try_from(place).unwrap_or(0);
        let record = Wire {
            offset_delta: place,
            time_delta: place,
            key: Some(b"key-1234"),
            value: Some(&value),
            headers,
            ..Wire::default()
        };
        record.put(&mut body);
    }
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    testkit::forge::Head::new(codec, count, NOW).batch(&compress(codec, &body))
}

/// The fastest of several tries, ns.
fn time(mut work: impl FnMut()) -> f64 {
    let end = Instant::now() + TIME;
    let mut best = f64::MAX;
    while Instant::now() < end {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64() * 1e9);
    }
    best
}

fn main() {
    let rules = Rules {
        timestamps: Some((0, NOW + 3_600_000)),
        ..Rules::default()
    };
    let header: [Header<'_>; 2] = [
        (Some(b"trace"), Some(b"0123456789")),
        (Some(b"kind"), Some(b"x")),
    ];
    println!("| records | codec | checksum ns/record | check ns/record |");
    for (count, bytes, codec, headers) in [
        (1_000, 1_024, 0, &header[..0]),
        (1_000, 1_024, 0, &header[..]),
        (62, 1_024, 0, &header[..0]),
        (8_000, 100, 0, &header[..0]),
        (100, 10_240, 0, &header[..0]),
        (1_000, 1_024, 1, &header[..0]),
        (1_000, 1_024, 2, &header[..0]),
        (1_000, 1_024, 3, &header[..0]),
        (1_000, 1_024, 4, &header[..0]),
    ] {
        let bytes_of = batch(codec, count, bytes, headers);
        let sum = time(|| drop(black_box(Batch::split_first(&mut bytes_of.clone()))));
        let parsed = Batch::split_first(&mut bytes_of.clone()).expect("a sound batch");
        let check = time(|| drop(black_box(parsed.check(&rules)).expect("sound")));
        let each = |ns: f64| ns / count as f64;
        println!(
            "| {count} of {bytes} B, {} headers | {codec} | {:.1} | {:.1} |",
            headers.len(),
            each(sum),
            each(check)
        );
    }
}
