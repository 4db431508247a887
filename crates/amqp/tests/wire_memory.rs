//! Small frames that announce a lot must not cost a lot. Alone in its process, because it watches the process.

#![cfg(target_os = "linux")]

use amqp::wire::{ContentHeader, Method, Properties, Splitter, Table};
use bytes::BytesMut;

/// Far below what a single believed length would take, far above what an allocator adds for itself.
const GROWTH_BYTES_MAX: u64 = 32 << 20;

/// Lengths that lie, as octets and as four of them, behind every letter that announces one.
const BOMBS: &[&[u8]] = &[
    &[0xff, 0xff, 0xff, 0xff],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x00, 0xff, 0xff, 0xff],
    &[b'S', 0x7f, 0xff, 0xff, 0xff],
    &[b'A', 0x7f, 0xff, 0xff, 0xff],
    &[b'F', 0x7f, 0xff, 0xff, 0xff],
    &[b'x', 0x7f, 0xff, 0xff, 0xff],
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

fn decode(payload: &[u8]) {
    let methods = (0..=255_u8).flat_map(|method| {
        let classes = [10, 20, 30, 40, 50, 60, 85, 90];
        classes.map(|class: u8| [&[0, class, 0, method], payload].concat())
    });
    for method in methods {
        let _ = Method::decode(&method);
    }
    let _ = Table::decode(payload);
    let _ = Properties::decode(payload);
    let _ = ContentHeader::decode(payload);
    let mut buffer = BytesMut::from(payload);
    for frame_max in [4096, u32::MAX] {
        let splitter = Splitter::new(frame_max);
        let room = splitter.lacking(&buffer);
        assert!(frame_max > 4096 || room <= 4104, "{room} bytes of room");
        drop(splitter.split(&mut buffer));
    }
}

#[test]
fn announcements_are_not_believed() {
    decode(&[0; 64]);
    let before = peak_bytes();
    for bomb in BOMBS {
        for place in 0..24 {
            for fill in [0, 1, 3] {
                let front = vec![fill; place];
                decode(&[front.as_slice(), bomb, &[0; 64]].concat());
            }
        }
    }
    let growth = peak_bytes() - before;
    assert!(growth < GROWTH_BYTES_MAX, "grew by {growth} bytes");
}
