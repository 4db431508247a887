//! Field tables: order, limits and the two kinds of equality.

use proptest::prelude::*;

use super::random::{RandomSource, Style};
use crate::wire::{
    Array, Error, Reader, TABLE_DEPTH_MAX, TABLE_VALUES_MAX, Table, TableBuilder, Value, fuzz,
};

fn long(content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("small");
    [&length.to_be_bytes(), content].concat()
}

fn table(pairs: &[(&[u8], Value<'_>)]) -> TableBuilder {
    let mut builder = TableBuilder::new();
    for (name, value) in pairs {
        builder.push(name, *value).expect("short");
    }
    builder
}

#[test]
fn every_letter() {
    let bytes = b"\x01atB\0\0\0\x01";
    assert!(Table::decode(bytes).is_err(), "letters are not guessed");
    let bytes = b"\x01at\x02\x01bb\xff\x01cB\xff\x01ds\xff\xfe\x01eu\xff\xfe\x01fI\xff\xff\xff\xfd\x01gi\xff\xff\xff\xfd\
        \x01hl\xff\xff\xff\xff\xff\xff\xff\xfc\x01iL\0\0\0\0\0\0\0\x01\x01jf\x3f\x80\0\0\x01kd\x3f\xf0\0\0\0\0\0\0\
        \x01lD\x02\0\0\x01\x00\x01mS\0\0\0\x01\xff\x01nA\0\0\0\x01V\x01oT\0\0\0\0\0\0\0\x05\x01pF\0\0\0\0\x01qV\
        \x01xx\0\0\0\x01y";
    let table = Table::decode(bytes).expect("sound");
    let values: Vec<Value<'_>> = table.iter().map(|(_, value)| value).collect();
    let expected = [
        Value::Bool(true),
        Value::I8(-1),
        Value::U8(255),
        Value::I16(-2),
        Value::U16(65_534),
        Value::I32(-3),
        Value::U32(4_294_967_293),
        Value::I64(-4),
        Value::I64(1),
        Value::F32(1.0),
        Value::F64(1.0),
        Value::Decimal(2, 256),
        Value::Long(b"\xff"),
        values[13],
        Value::Timestamp(5),
        Value::Table(Table::EMPTY),
        Value::Void,
        Value::Bytes(b"y"),
    ];
    assert_eq!(values, expected);
    let Value::Array(array) = values[13] else {
        panic!("no array");
    };
    assert_eq!(array.iter().collect::<Vec<_>>(), [Value::Void]);
    fuzz::table(bytes);
}

#[test]
fn order_and_duplicates_stay() {
    let built = table(&[
        (b"z", Value::I32(1)),
        (b"\xff", Value::Void),
        (b"z", Value::I32(2)),
    ]);
    let names: Vec<&[u8]> = built.as_table().iter().map(|(name, _)| name).collect();
    assert_eq!(names, [&b"z"[..], b"\xff", b"z"]);
    assert_eq!(built.as_table().find(b"z"), Some(Value::I32(1)));
    assert_eq!(built.as_table().find(b"y"), None);
}

#[test]
fn names_have_a_limit() {
    let mut builder = TableBuilder::new();
    builder.push(&[b'n'; 255], Value::Void).expect("short");
    let before = builder.as_table().as_bytes().len();
    assert!(builder.push(&[b'n'; 256], Value::Void).is_err());
    assert_eq!(builder.as_table().as_bytes().len(), before);
}

#[test]
fn depth_has_a_limit() {
    let tables = |depth: usize| {
        (1..depth).fold(Vec::new(), |inner, _| {
            [b"\x01nF", &long(&inner)[..]].concat()
        })
    };
    Table::decode(&tables(TABLE_DEPTH_MAX)).expect("just deep enough");
    let refusal = Table::decode(&tables(TABLE_DEPTH_MAX + 1)).expect_err("too deep");
    assert!(
        matches!(
            refusal,
            Error::Malformed {
                why: "a table too deep",
                ..
            }
        ),
        "{refusal}"
    );
    let abyss = tables(10_000);
    assert!(Table::decode(&abyss).is_err());
}

#[test]
fn the_number_of_values_has_a_limit() {
    let voids = |count: usize| [b"\x01nA", &long(&vec![b'V'; count])[..]].concat();
    Table::decode(&voids(TABLE_VALUES_MAX - 1)).expect("just few enough");
    let refusal = Table::decode(&voids(TABLE_VALUES_MAX)).expect_err("too many");
    assert!(
        matches!(
            refusal,
            Error::Malformed {
                why: "a table of too many values",
                ..
            }
        ),
        "{refusal}"
    );
}

#[test]
fn integers_are_equal_by_value() {
    let same = |one: Value<'_>, other: Value<'_>| {
        assert!(
            one.is_equivalent(&other) && other.is_equivalent(&one),
            "{one:?} {other:?}"
        );
    };
    let differs = |one: Value<'_>, other: Value<'_>| {
        assert!(
            !one.is_equivalent(&other) && !other.is_equivalent(&one),
            "{one:?} {other:?}"
        );
    };
    for value in [
        Value::I8(60),
        Value::U8(60),
        Value::I16(60),
        Value::U16(60),
        Value::I32(60),
        Value::U32(60),
    ] {
        same(value, Value::I64(60));
        differs(value, Value::I64(61));
        differs(value, Value::Timestamp(60));
        differs(value, Value::Long(b"60"));
        differs(value, Value::F64(60.0));
    }
    same(Value::F32(0.5), Value::F64(0.5));
    same(Value::F64(f64::NAN), Value::F64(f64::NAN));
    differs(Value::Bool(true), Value::U8(1));
    differs(Value::Long(b"x"), Value::Bytes(b"x"));
    same(Value::Void, Value::Void);
}

#[test]
fn tables_are_equal_in_any_order() {
    let one = table(&[(b"a", Value::I8(1)), (b"b", Value::Void)]);
    let other = table(&[(b"b", Value::Void), (b"a", Value::I64(1))]);
    assert!(one.as_table().is_equivalent(&other.as_table()));
    assert_ne!(one.as_table(), other.as_table());
    for different in [
        table(&[(b"a", Value::I8(1))]),
        table(&[(b"a", Value::I8(1)), (b"c", Value::Void)]),
        table(&[
            (b"a", Value::I8(1)),
            (b"b", Value::Void),
            (b"b", Value::Void),
        ]),
    ] {
        assert!(!one.as_table().is_equivalent(&different.as_table()));
        assert!(!different.as_table().is_equivalent(&one.as_table()));
    }
    assert!(Array::default().is_equivalent(&Array::default()));
}

#[test]
fn errors_tell_the_place_in_the_frame() {
    let frame = [&[9, 9][..], &long(b"\x01nQ")].concat();
    let mut r = Reader::new(&frame);
    r.u16().expect("there");
    let refusal = r.table().expect_err("no such type");
    let why = "unknown type of value in front";
    assert_eq!(refusal, Error::Malformed { at: 9, why });
}

proptest! {
    #[test]
    fn tables_survive(seed: u64) {
        let bytes = RandomSource::new(seed, Style::Any).table(4);
        Table::decode(&bytes).expect("sound");
        fuzz::table(&bytes);
    }

    #[test]
    fn cut_tables_are_no_shorter_tables(seed: u64) {
        let bytes = RandomSource::new(seed, Style::Any).table(3);
        for cut in 0..bytes.len() {
            fuzz::table(&bytes[..cut]);
        }
    }
}
