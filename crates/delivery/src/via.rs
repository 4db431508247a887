//! How a message came: the exchange it was published to, and its keys, as one reserved header.
//!
//! Its value is text: the exchange's name, and each key behind a line feed. Control characters, `%` and what is no
//! UTF-8 stand as `%` and two hexadecimal digits. Older versions wrote each name behind two bytes of length, the first
//! of which is always zero.

use bytes::{Buf, BufMut, Bytes};

/// Longest key that is kept: what is longer fits no binding.
const KEY_BYTES_MAX: usize = u16::MAX as usize;

/// The header's value. A key too long for any binding is left out.
pub fn encode(exchange: &[u8], keys: &[Bytes]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    escape(&mut out, exchange);
    for key in keys.iter().filter(|key| key.len() <= KEY_BYTES_MAX) {
        out.put_u8(b'\n');
        escape(&mut out, key);
    }
    out
}

fn escape(out: &mut Vec<u8>, name: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let is_text = std::str::from_utf8(name).is_ok();
    let stays = |byte: u8| !byte.is_ascii_control() && byte != b'%' && (byte.is_ascii() || is_text);
    if name.iter().all(|byte| stays(*byte)) {
        return out.extend_from_slice(name);
    }
    for byte in name {
        if stays(*byte) {
            out.push(*byte);
        } else {
            let digit = |half: u8| DIGITS[usize::from(half & 0xf)];
            out.extend([b'%', digit(byte >> 4), digit(*byte)]);
        }
    }
}

/// The exchange and the keys; what is cut short ends there.
pub fn decode(value: Bytes) -> (Option<Bytes>, Vec<Bytes>) {
    if value.first() == Some(&0) {
        return decode_binary(value);
    }
    let mut names = value
        .split(|byte| *byte == b'\n')
        .map(|name| unescape(&value, name));
    (names.next(), names.collect())
}

fn unescape(value: &Bytes, name: &[u8]) -> Bytes {
    if !name.contains(&b'%') {
        return value.slice_ref(name);
    }
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut out = Vec::with_capacity(name.len());
    let mut at = 0;
    while let Some(byte) = name.get(at) {
        let escaped = (*byte == b'%')
            .then(|| digit(name.get(at + 1)).zip(digit(name.get(at + 2))))
            .flatten();
        if let Some((high, low)) = escaped {
            out.push(u8::try_from(high << 4 | low).unwrap_or_default());
            at += 3;
        } else {
            out.push(*byte);
            at += 1;
        }
    }
    out.into()
}

fn decode_binary(mut value: Bytes) -> (Option<Bytes>, Vec<Bytes>) {
    let mut names = std::iter::from_fn(|| {
        let length = usize::from(value.try_get_u16().ok()?);
        (length <= value.len()).then(|| value.split_to(length))
    });
    let exchange = names.next();
    (exchange, names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn what_was_written_is_read_again() {
        let strange = Bytes::from_static(b"\xff%\n\0a");
        for (exchange, keys) in [
            (name(""), vec![]),
            (name("x"), vec![name("")]),
            (name("x"), vec![name("a.b"), name("c")]),
            (name("grüße"), vec![name("100%"), name("a\nb")]),
            (strange.clone(), vec![strange]),
        ] {
            let coded = encode(&exchange, &keys);
            assert!(std::str::from_utf8(&coded).is_ok(), "{coded:?}");
            assert_eq!(decode(coded.into()), (Some(exchange), keys));
        }
        let long = Bytes::from(vec![b'k'; 70_000]);
        let coded = Bytes::from(encode(b"x", &[long, name("k")]));
        assert_eq!(decode(coded).1, [name("k")]);
    }

    #[test]
    fn it_is_text() {
        assert_eq!(encode(b"orders", &[name("eu.new")]), b"orders\neu.new");
        assert_eq!(encode(b"", &[name("a%\n")]), b"\na%25%0A");
        assert_eq!(decode(name("x\na%2")), (Some(name("x")), vec![name("a%2")]));
    }

    #[test]
    fn what_older_versions_wrote_is_read() {
        let old = |value: &'static [u8]| decode(Bytes::from_static(value));
        assert_eq!(old(b"\0\0\0\x01k"), (Some(name("")), vec![name("k")]));
        assert_eq!(old(b"\0\x01x\0\0"), (Some(name("x")), vec![name("")]));
        assert_eq!(
            old(b"\0\x01x\0\x05k"),
            (Some(name("x")), vec![]),
            "cut short"
        );
    }
}
