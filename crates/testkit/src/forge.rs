//! Record batches made by hand: sound ones of every codec, and ones that lie about what they hold.

use std::io::Write;

use bytes::Bytes;

/// Size of a batch's header.
const HEADER_BYTES: usize = 61;

/// What a batch's header says.
#[derive(Debug, Clone)]
pub struct Head {
    /// Codec and flags.
    pub attributes: i16,
    /// Offset of the last record minus that of the first.
    pub last_delta: i32,
    /// Number of records.
    pub count: i32,
    /// What the records' times count from, ms.
    pub base_timestamp: i64,
    /// Greatest time, ms.
    pub max_timestamp: i64,
    /// Producer, its epoch, and its first sequence number.
    pub producer: (i64, i16, i32),
}

impl Head {
    /// Of so many records in a codec, a millisecond apart from `base_timestamp` on.
    pub fn new(codec: i16, count: i32, base_timestamp: i64) -> Self {
        Self {
            attributes: codec,
            last_delta: count.wrapping_sub(1),
            count,
            base_timestamp,
            max_timestamp: base_timestamp + i64::from(count) - 1,
            producer: (-1, -1, -1),
        }
    }

    /// The whole batch, with a checksum that is right.
    pub fn batch(&self, body: &[u8]) -> Bytes {
        let mut checked = Vec::with_capacity(HEADER_BYTES + body.len());
        checked.extend(self.attributes.to_be_bytes());
        checked.extend(self.last_delta.to_be_bytes());
        checked.extend(self.base_timestamp.to_be_bytes());
        checked.extend(self.max_timestamp.to_be_bytes());
        checked.extend(self.producer.0.to_be_bytes());
        checked.extend(self.producer.1.to_be_bytes());
        checked.extend(self.producer.2.to_be_bytes());
        checked.extend(self.count.to_be_bytes());
        checked.extend(body);
        let length = u32::try_from(checked.len() + 9).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(checked.len() + 21);
        out.extend(0_u64.to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend((-1_i32).to_be_bytes());
        out.push(2);
        out.extend(crc32c::crc32c(&checked).to_be_bytes());
        out.extend(checked);
        out.into()
    }
}

/// Name and value of a header; both may be absent, the name only in a lie.
pub type Header<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// One record as it goes over the wire, with what it says of itself.
#[derive(Debug, Clone, Default)]
pub struct Wire<'a> {
    /// Its offset minus that of the batch.
    pub offset_delta: i64,
    /// Its time minus that of the batch, ms.
    pub time_delta: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its body.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [Header<'a>],
    /// How many headers it says that it has, if that is not what it has.
    pub header_count: Option<i64>,
    /// How much longer it says that it is.
    pub longer: i64,
    /// How much longer it says that its body is.
    pub value_longer: i64,
}

impl Wire<'_> {
    /// Appends it to the records of a batch.
    pub fn put(&self, out: &mut Vec<u8>) {
        let mut record = vec![0];
        put_varint(&mut record, self.time_delta);
        put_varint(&mut record, self.offset_delta);
        put_optional(&mut record, self.key, 0);
        put_optional(&mut record, self.value, self.value_longer);
        let count = i64::try_from(self.headers.len()).unwrap_or(i64::MAX);
        put_varint(&mut record, self.header_count.unwrap_or(count));
        for (name, value) in self.headers {
            put_optional(&mut record, *name, 0);
            put_optional(&mut record, *value, 0);
        }
        let length = i64::try_from(record.len()).unwrap_or(i64::MAX);
        put_varint(out, length.saturating_add(self.longer));
        out.extend(record);
    }
}

/// Sound records with these keys and bodies, a millisecond apart.
pub fn records(of: &[(Option<&[u8]>, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (place, (key, value)) in (0..).zip(of) {
        let record = Wire {
            offset_delta: place,
            time_delta: place,
            key: *key,
            value: Some(value),
            ..Wire::default()
        };
        record.put(&mut out);
    }
    out
}

/// A sound batch of such records.
pub fn sound(codec: i16, base_timestamp: i64, of: &[(Option<&[u8]>, &[u8])]) -> Bytes {
    let count = i32::try_from(of.len()).unwrap_or(i32::MAX);
    Head::new(codec, count, base_timestamp).batch(&compress(codec, &records(of)))
}

/// Zigzag variable-length integer.
pub fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    out.push(u8::try_from(rest).unwrap_or(0));
}

fn put_optional(out: &mut Vec<u8>, bytes: Option<&[u8]>, longer: i64) {
    let length = bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX));
    put_varint(out, length.saturating_add(longer));
    out.extend(bytes.unwrap_or_default());
}

/// Compresses records as common clients do.
pub fn compress(codec: i16, plain: &[u8]) -> Vec<u8> {
    let packed = match codec {
        1 => gzip(plain),
        2 => snap::raw::Encoder::new().compress_vec(plain).ok(),
        3 => {
            let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
            out.write_all(plain).ok().and_then(|()| out.finish().ok())
        }
        4 => zstd::encode_all(plain, 3).ok(),
        _ => None,
    };
    packed.unwrap_or_else(|| plain.to_vec())
}

fn gzip(plain: &[u8]) -> Option<Vec<u8>> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(plain).ok()?;
    out.finish().ok()
}

/// The second codec in the frame that many clients put around its blocks.
pub fn framed(plain: &[u8], block: usize) -> Vec<u8> {
    let mut out = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01".to_vec();
    for block in plain.chunks(block.max(1)) {
        let block = compress(2, block);
        out.extend(u32::try_from(block.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(block);
    }
    out
}

/// One record of so many MiB of nothing, compressed to next to nothing by the fourth codec.
pub fn bomb(mib: u32) -> Vec<u8> {
    let length = i64::from(mib) << 20;
    let mut head = Vec::new();
    put_varint(&mut head, length + 10);
    head.extend([0, 0, 0, 1]);
    put_varint(&mut head, length);
    let pack = || {
        let mut out = zstd::stream::write::Encoder::new(Vec::new(), 3)?;
        out.write_all(&head)?;
        let zeros = vec![0; 1 << 20];
        for _ in 0..mib {
            out.write_all(&zeros)?;
        }
        out.write_all(&[0])?;
        out.finish()
    };
    pack().unwrap_or_default()
}

/// Decisions drawn from bytes, and from a generator seeded by them when they are used up.
#[derive(Debug)]
pub struct Choices<'a> {
    data: &'a [u8],
    state: u64,
}

impl<'a> Choices<'a> {
    /// From these bytes.
    pub fn new(data: &'a [u8]) -> Self {
        let seed = data.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { data, state: seed }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        if let Some((first, rest)) = self.data.split_first_chunk::<4>() {
            self.data = rest;
            return u64::from(u32::from_le_bytes(*first)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.number() % n.max(1)
    }

    /// Once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let place = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        of[place]
    }
}

/// A batch made by choice, and whether it is what it says.
#[derive(Debug, Clone)]
pub struct Forged {
    /// Its bytes.
    pub bytes: Bytes,
    /// Nothing about it is a lie.
    pub honest: bool,
}

/// Numbers that are wrong in most places.
const WRONG: [i64; 12] = [
    -1,
    -2,
    0,
    1,
    7,
    1 << 20,
    1 << 29,
    i32::MAX as i64,
    i32::MIN as i64,
    1 << 40,
    i64::MAX,
    i64::MIN,
];

/// Makes a batch whose times are near `now` (ms).
pub fn forge(choices: &mut Choices<'_>, now: i64) -> Forged {
    let mut lies = choices.below(3);
    let count = match choices.below(20) {
        0 => 1_000 + choices.below(3_000),
        _ => 1 + choices.below(20),
    };
    let mut body = Vec::new();
    let mut honest = true;
    for place in 0..count {
        let lie = lies > 0 && choices.once_in(count);
        lies -= u64::from(lie);
        honest &= !forge_record(choices, place, lie, &mut body);
    }
    let codec = choices.pick(&[0_i16, 0, 1, 2, 3, 4]);
    let mut packed = pack(choices, codec, &body);
    if choices.once_in(12) {
        honest = false;
        damage(choices, &mut packed);
    }
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    let mut head = Head::new(codec, count, now);
    if choices.once_in(8) {
        honest = false;
        lie_in_head(choices, &mut head);
    }
    let bytes = head.batch(&packed);
    if choices.once_in(30) {
        let mut bytes = bytes.to_vec();
        damage(choices, &mut bytes);
        return Forged {
            bytes: bytes.into(),
            honest: false,
        };
    }
    Forged { bytes, honest }
}

/// Appends a record; returns whether it lies.
fn forge_record(choices: &mut Choices<'_>, place: u64, lie: bool, out: &mut Vec<u8>) -> bool {
    let value = vec![
        u8::try_from(place & 0xff).unwrap_or(0);
        usize::try_from(match choices.below(400) {
            0 => 1 + choices.below(4 << 20),
            _ => choices.below(300),
        })
        .unwrap_or(0)
    ];
    let key = [b'k', u8::try_from(choices.below(4)).unwrap_or(0)];
    let headers: [Header<'_>; 3] = [
        (Some(b"name"), Some(b"value")),
        (Some(b"forebay.due"), Some(&[0xff; 8])),
        (Some(b""), None),
    ];
    let place = i64::try_from(place).unwrap_or(i64::MAX);
    let headers = &headers[..usize::try_from(choices.below(4)).unwrap_or(0)];
    let mut record = Wire {
        offset_delta: place,
        time_delta: place,
        key: (!choices.once_in(3)).then_some(&key[..]),
        value: (!choices.once_in(9)).then_some(&value[..]),
        headers,
        ..Wire::default()
    };
    if !lie {
        record.put(out);
        return false;
    }
    let wrong = choices.pick(&WRONG);
    let nameless: [Header<'_>; 1] = [(None, Some(b"x"))];
    match choices.below(6) {
        0 => record.offset_delta = wrong,
        1 => record.time_delta = wrong,
        2 => record.longer = wrong,
        3 => record.value_longer = wrong,
        4 => record.header_count = Some(wrong),
        _ => record.headers = &nameless,
    }
    record.put(out);
    true
}

fn pack(choices: &mut Choices<'_>, codec: i16, body: &[u8]) -> Vec<u8> {
    match codec {
        1 if choices.once_in(2) => {
            let (first, second) = body.split_at(body.len() / 2);
            [compress(1, first), compress(1, second)].concat()
        }
        2 if choices.once_in(2) => {
            let block = usize::try_from(100 + choices.below(70_000)).unwrap_or(100);
            framed(body, block)
        }
        _ => compress(codec, body),
    }
}

fn damage(choices: &mut Choices<'_>, bytes: &mut Vec<u8>) {
    let at = usize::try_from(choices.below(bytes.len() as u64)).unwrap_or(0);
    match choices.below(4) {
        0 => bytes.truncate(at),
        1 => bytes.extend(vec![7; at.min(40) + 1]),
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << choices.below(8);
            }
        }
        _ => {
            let end = bytes.len().min(at + 16);
            bytes[at..end].fill(0xff);
        }
    }
}

fn lie_in_head(choices: &mut Choices<'_>, head: &mut Head) {
    let wrong = choices.pick(&WRONG);
    // Cut off on purpose: any number will do.
    #[allow(clippy::cast_possible_truncation, reason = "see above")]
    let small = wrong as i32;
    match choices.below(7) {
        0 => head.attributes |= 1 << choices.below(16),
        1 => head.attributes ^= i16::try_from(choices.below(8)).unwrap_or(1),
        2 => (head.count, head.last_delta) = (small, small.wrapping_sub(1)),
        3 => head.last_delta = small,
        4 => head.base_timestamp = wrong,
        5 => head.max_timestamp = wrong,
        _ => head.producer = (wrong, -1, small),
    }
}
