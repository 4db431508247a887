//! Small frames that announce a lot must not cost a lot. Alone in its process, because it watches the process.

#![cfg(target_os = "linux")]

use bytes::Bytes;
use kafka::wire::{AnyRequest, AnyResponse, ApiKey, Reader};

/// Far below what a single believed length would take, far above what an allocator adds for itself.
const GROWTH_BYTES_MAX: u64 = 32 << 20;

/// Lengths that lie, in every way a length is written.
const BOMBS: &[&[u8]] = &[
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x00, 0x0f, 0x42, 0x40],
    &[0x7f, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xc1, 0x84, 0x3d],
    &[0xff, 0x7f],
];

/// Most address space this process ever had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmPeak:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    let kilobytes: u64 = kilobytes
        .expect("a line of three words")
        .parse()
        .expect("a number");
    kilobytes * 1024
}

fn decode(key: ApiKey, version: i16, frame: &Bytes) {
    let request = AnyRequest::decode(key, &mut Reader::new(frame), version);
    let response = AnyResponse::decode(key, &mut Reader::new(frame), version);
    drop((request, response));
}

/// The bomb behind fronts of many lengths, so that it lands wherever a length is read.
fn explode(key: ApiKey, version: i16, bomb: &[u8]) {
    for place in 0..48 {
        for fill in [0, 1, 2] {
            let front = vec![fill; place];
            let frame = [front.as_slice(), bomb, &[0; 64]].concat();
            decode(key, version, &Bytes::from(frame));
        }
    }
}

#[test]
fn announcements_are_not_believed() {
    decode(ApiKey::Produce, 3, &Bytes::from_static(&[0; 64]));
    let before = peak_bytes();
    for &key in ApiKey::ALL {
        for version in key.versions() {
            for bomb in BOMBS {
                explode(key, version, bomb);
            }
        }
    }
    let growth = peak_bytes() - before;
    assert!(growth < GROWTH_BYTES_MAX, "grew by {growth} bytes");
}
