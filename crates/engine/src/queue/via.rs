//! How a message came: the exchange it was published to, and its keys, as one reserved header.
//!
//! Each name is two bytes of length and the bytes; the exchange's comes first.

use bytes::{Buf, BufMut, Bytes};

/// The header's value. A key too long for any binding is left out.
pub(crate) fn encode(exchange: &[u8], keys: &[Bytes]) -> Vec<u8> {
    let keys = keys.iter().map(|key| &key[..]);
    let mut out = Vec::with_capacity(64);
    for name in std::iter::once(exchange).chain(keys) {
        if let Ok(length) = u16::try_from(name.len()) {
            out.put_u16(length);
            out.put_slice(name);
        }
    }
    out
}

/// The exchange and the keys; what is cut short ends there.
pub(crate) fn decode(mut value: Bytes) -> (Option<Bytes>, Vec<Bytes>) {
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

    #[test]
    fn what_was_written_is_read_again() {
        let name = |text: &'static str| Bytes::from_static(text.as_bytes());
        let long = Bytes::from(vec![b'k'; 70_000]);
        for (exchange, keys) in [
            ("", vec![]),
            ("x", vec![name("")]),
            ("x", vec![name("a.b"), name("c")]),
        ] {
            let coded = Bytes::from(encode(exchange.as_bytes(), &keys));
            assert_eq!(decode(coded), (Some(name(exchange)), keys));
        }
        let coded = Bytes::from(encode(b"x", &[long, name("k")]));
        assert_eq!(decode(coded.clone()).1, [name("k")]);
        assert_eq!(decode(coded.slice(..4)), (Some(name("x")), vec![]));
        assert_eq!(decode(Bytes::new()), (None, vec![]));
    }
}
