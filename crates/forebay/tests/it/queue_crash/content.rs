//! What messages say: bodies and attributes made by chance, and their checksums worked out here once more.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::random::RandomSource;

/// Characters that have to be escaped or take several bytes on some way, among plain ones.
const LETTERS: [char; 12] = [
    'a',
    'Z',
    '0',
    ' ',
    '"',
    '\\',
    '\n',
    '\t',
    '&',
    'é',
    '\u{4e2d}',
    '\u{1f600}',
];

/// The only bytes that are sent as such, and how they look on the wire.
const BLOB_BYTES: [u8; 6] = [0, 1, 2, 0xfd, 0xfe, 0xff];
const BLOB: &str = "AAEC/f7/";

/// An attribute: its type and, as text, its value.
pub(crate) type Attributes = BTreeMap<String, (String, String)>;

/// A body nobody else has; its number is the first thing in it.
pub(crate) fn body(number: usize, random: &mut RandomSource) -> String {
    let letters = match random.pick(0..40) {
        0 => random.pick(5_000..60_000),
        1..=5 => random.pick(300..2_000),
        _ => random.pick(0..200),
    };
    let filler = (0..letters).map(|_| LETTERS[random.index(LETTERS.len())]);
    format!("{number}:{}", filler.collect::<String>())
}

/// The number of a body's message.
pub(crate) fn number(body: &str) -> Option<usize> {
    body.split_once(':')?.0.parse().ok()
}

/// Some attributes, of every type.
pub(crate) fn attributes(random: &mut RandomSource) -> Attributes {
    let all = [
        ("colour", "String", "blue & \"green\""),
        ("weight", "Number", "12.50"),
        ("blob", "Binary", BLOB),
        ("label.x", "String.label", "\u{e9}"),
    ];
    let chosen = all.into_iter().filter(|_| random.once_in(4));
    chosen
        .map(|(name, kind, value)| (name.to_owned(), (kind.to_owned(), value.to_owned())))
        .collect()
}

fn value_member(kind: &str) -> &'static str {
    if kind.starts_with("Binary") {
        "BinaryValue"
    } else {
        "StringValue"
    }
}

/// Attributes as they are sent.
pub(crate) fn to_json(attributes: &Attributes) -> Value {
    let each = attributes.iter().map(|(name, (kind, value))| {
        let value = json!({ "DataType": kind, value_member(kind): value });
        (name.clone(), value)
    });
    Value::Object(each.collect())
}

/// Attributes as they were received.
pub(crate) fn from_json(value: &Value) -> Attributes {
    let each = value.as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    each.map(|(name, value)| {
        let kind = text(&value["DataType"]);
        let content = text(&value[value_member(&kind)]);
        (name.clone(), (kind, content))
    })
    .collect()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap();
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// A body's checksum.
pub(crate) fn md5_of_body(body: &str) -> String {
    hex(&Md5::digest(body))
}

/// The checksum of attributes; `None` when there are none.
pub(crate) fn md5_of_attributes(attributes: &Attributes) -> Option<String> {
    let mut bytes = Vec::new();
    let put = |bytes: &mut Vec<u8>, part: &[u8]| {
        bytes.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        bytes.extend(part);
    };
    for (name, (kind, value)) in attributes {
        put(&mut bytes, name.as_bytes());
        put(&mut bytes, kind.as_bytes());
        if value == BLOB {
            bytes.push(2);
            put(&mut bytes, &BLOB_BYTES);
        } else {
            bytes.push(1);
            put(&mut bytes, value.as_bytes());
        }
    }
    (!attributes.is_empty()).then(|| hex(&Md5::digest(&bytes)))
}
