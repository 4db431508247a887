//! Random payloads, made without the code under test.

use super::Shape;

/// How far strings and tables may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Whatever the wire allows.
    Any,
    /// What the other codec keeps as it is: text, names sorted and without duplicates, one letter per type.
    Tame,
}

/// A small generator: the same seed gives the same throws.
#[derive(Debug)]
pub(super) struct RandomSource {
    state: u64,
    style: Style,
}

impl RandomSource {
    pub(super) fn new(seed: u64, style: Style) -> Self {
        Self { state: seed, style }
    }

    /// The next number of the sequence SplitMix64.
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("64 bits");
        usize::try_from(self.next() % bound).expect("below the bound")
    }

    fn octet(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    pub(super) fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.octet()).collect()
    }

    /// Mostly short, sometimes as long as a short string can be.
    fn string(&mut self) -> Vec<u8> {
        let length = if self.below(8) == 0 { 256 } else { 12 };
        let length = self.below(length);
        match self.style {
            Style::Any => self.octets(length),
            Style::Tame => (0..length)
                .map(|_| b'a' + self.octet() % 26)
                .collect::<Vec<u8>>(),
        }
    }

    fn short(&mut self) -> Vec<u8> {
        let string = self.string();
        let length = u8::try_from(string.len()).expect("up to 255");
        [&[length], &string[..]].concat()
    }

    /// A table, the length in front of it left out.
    pub(super) fn table(&mut self, depth: usize) -> Vec<u8> {
        let count = self.below(5);
        let mut names: Vec<Vec<u8>> = (0..count).map(|_| self.string()).collect();
        if self.style == Style::Tame {
            names.sort();
            names.dedup();
        }
        let mut table = Vec::new();
        for name in names {
            table.push(u8::try_from(name.len()).expect("up to 255"));
            table.extend(name);
            table.extend(self.value(depth));
        }
        table
    }

    fn value(&mut self, depth: usize) -> Vec<u8> {
        const LETTERS: &[u8] = b"bBsuIilLfdDTVtSxAF";
        let letter = LETTERS[self.below(LETTERS.len())];
        let content = match letter {
            b't' => vec![self.octet() & 1],
            b'b' | b'B' => self.octets(1),
            b's' | b'u' => self.octets(2),
            b'I' | b'i' => self.octets(4),
            b'f' => 1.5_f32.to_be_bytes().to_vec(),
            b'l' | b'L' | b'T' => self.octets(8),
            b'd' => (-0.25_f64).to_be_bytes().to_vec(),
            b'D' => self.octets(5),
            b'S' | b'x' => long(&self.string()),
            b'F' if depth > 0 => long(&self.table(depth - 1)),
            b'A' if depth > 0 => {
                let values: Vec<_> = (0..self.below(4)).map(|_| self.value(depth - 1)).collect();
                long(&values.concat())
            }
            _ => return b"V".to_vec(),
        };
        let letter = match (self.style, letter) {
            (Style::Tame, b'L') => b'l',
            _ => letter,
        };
        [&[letter], &content[..]].concat()
    }

    /// The properties of a content header.
    pub(super) fn properties(&mut self) -> Vec<u8> {
        let [high, low] = self.next().to_be_bytes()[..2] else {
            return vec![0, 0];
        };
        let low = low & !0b11;
        let mut properties = vec![high, low];
        for bit in (2..16).rev() {
            if u16::from_be_bytes([high, low]) & (1 << bit) == 0 {
                continue;
            }
            let value = match bit {
                13 => long(&self.table(2)),
                11 | 12 => self.octets(1),
                6 => self.octets(8),
                _ => self.short(),
            };
            properties.extend(value);
        }
        properties
    }

    /// The payload of a method frame, its reserved arguments empty.
    pub(super) fn payload(&mut self, shape: &Shape) -> Vec<u8> {
        let mut payload = Vec::new();
        payload.extend(shape.class.to_be_bytes());
        payload.extend(shape.method.to_be_bytes());
        for kind in shape.before {
            payload.extend(empty(kind));
        }
        payload.extend(self.arguments(shape.arguments));
        let mut behind = shape.behind.to_vec();
        behind.dedup();
        for kind in behind {
            payload.extend(empty(kind));
        }
        payload
    }

    fn arguments(&mut self, kinds: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for run in kinds.chunk_by(|one, other| *one == "bit" && *other == "bit") {
            bytes.extend(match run[0] {
                "bit" => vec![self.octet() & low_bits(run.len())],
                "u8" => self.octets(1),
                "u16" => self.octets(2),
                "u32" => self.octets(4),
                "u64" => self.octets(8),
                "short" => self.short(),
                "long" => long(&self.string()),
                "table" => long(&self.table(2)),
                other => panic!("no kind of argument: {other}"),
            });
        }
        bytes
    }
}

/// As many low bits as there are arguments; the others are not read.
fn low_bits(count: usize) -> u8 {
    assert!(count < 8, "all in one octet");
    (1 << count) - 1
}

fn empty(kind: &str) -> Vec<u8> {
    let length = match kind {
        "bit" | "short" => 1,
        "u16" => 2,
        "long" => 4,
        other => panic!("no kind of reserved argument: {other}"),
    };
    vec![0; length]
}

fn long(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("small");
    [&length.to_be_bytes(), content].concat()
}
