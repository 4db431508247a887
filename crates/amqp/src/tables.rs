//! Argument tables between the wire's form and the engine's.

use bytes::Bytes;
use engine::exchange;

use crate::wire::{Table, Value};

/// A table as the engine keeps it, in its own order.
pub(crate) fn arguments(table: Table<'_>) -> exchange::Arguments {
    let entry = |(name, value): (&[u8], Value<'_>)| {
        let name = String::from_utf8_lossy(name).into_owned();
        (name, to_engine(&value))
    };
    table.iter().map(entry).collect()
}

/// A value as the engine has it.
pub(crate) fn to_engine(value: &Value<'_>) -> exchange::Value {
    use exchange::Value as Ours;
    match *value {
        Value::Void => Ours::Void,
        Value::Bool(value) => Ours::Bool(value),
        Value::F32(value) => Ours::Float(value.into()),
        Value::F64(value) => Ours::Float(value),
        Value::Long(value) => Ours::Text(Bytes::copy_from_slice(value)),
        Value::Timestamp(value) => Ours::Time(value),
        Value::Array(values) => Ours::Array(values.iter().map(|v| to_engine(&v)).collect()),
        Value::Table(table) => Ours::Table(arguments(table)),
        Value::Bytes(value) => Ours::Other {
            kind: b'x',
            bytes: Bytes::copy_from_slice(value),
        },
        Value::Decimal(scale, number) => {
            let mut bytes = vec![scale];
            bytes.extend_from_slice(&number.to_be_bytes());
            Ours::Other {
                kind: b'D',
                bytes: Bytes::from(bytes),
            }
        }
        Value::I8(_)
        | Value::U8(_)
        | Value::I16(_)
        | Value::U16(_)
        | Value::I32(_)
        | Value::U32(_)
        | Value::I64(_) => Ours::Int(value.integer().unwrap_or_default()),
    }
}
