//! One value of a table: its type letter, its content, and when two of them mean the same.

use super::raw::{Array, Table};
use crate::wire::{Reader, Result, Writer};

/// A value, with the type letter it has on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`, and `L` when decoding
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: digits after the point, and the number without the point
    Decimal(u8, u32),
    /// `S`: bytes in any encoding
    Long(&'a [u8]),
    /// `A`
    Array(Array<'a>),
    /// `T`: seconds since 1970
    Timestamp(u64),
    /// `F`
    Table(Table<'a>),
    /// `V`
    Void,
    /// `x`: bytes that are no text
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// One value, without a look into tables and arrays.
    #[inline]
    pub(super) fn decode(r: &mut Reader<'a>) -> Result<Self> {
        Ok(match r.u8()? {
            b't' => Self::Bool(r.u8()? != 0),
            b'b' => Self::I8(r.fixed().map(i8::from_be_bytes)?),
            b'B' => Self::U8(r.u8()?),
            b's' => Self::I16(r.fixed().map(i16::from_be_bytes)?),
            b'u' => Self::U16(r.u16()?),
            b'I' => Self::I32(r.fixed().map(i32::from_be_bytes)?),
            b'i' => Self::U32(r.u32()?),
            b'l' | b'L' => Self::I64(r.fixed().map(i64::from_be_bytes)?),
            b'f' => Self::F32(r.fixed().map(f32::from_be_bytes)?),
            b'd' => Self::F64(r.fixed().map(f64::from_be_bytes)?),
            b'D' => Self::Decimal(r.u8()?, r.u32()?),
            b'S' => Self::Long(r.long()?),
            b'A' => Self::Array(Array { bytes: r.long()? }),
            b'T' => Self::Timestamp(r.u64()?),
            b'F' => Self::Table(Table { bytes: r.long()? }),
            b'V' => Self::Void,
            b'x' => Self::Bytes(r.long()?),
            _ => return Err(r.malformed("unknown type of value in front")),
        })
    }

    pub(super) fn encode(&self, w: &mut Writer) {
        match *self {
            Self::Bool(value) => w.put(&[b't', u8::from(value)]),
            Self::I8(value) => w.put_typed(b'b', value.to_be_bytes()),
            Self::U8(value) => w.put(&[b'B', value]),
            Self::I16(value) => w.put_typed(b's', value.to_be_bytes()),
            Self::U16(value) => w.put_typed(b'u', value.to_be_bytes()),
            Self::I32(value) => w.put_typed(b'I', value.to_be_bytes()),
            Self::U32(value) => w.put_typed(b'i', value.to_be_bytes()),
            Self::I64(value) => w.put_typed(b'l', value.to_be_bytes()),
            Self::F32(value) => w.put_typed(b'f', value.to_be_bytes()),
            Self::F64(value) => w.put_typed(b'd', value.to_be_bytes()),
            Self::Decimal(scale, number) => {
                w.put(&[b'D', scale]);
                w.u32(number);
            }
            Self::Long(value) => w.put_long(b'S', value),
            Self::Array(value) => w.put_long(b'A', value.bytes),
            Self::Timestamp(value) => w.put_typed(b'T', value.to_be_bytes()),
            Self::Table(value) => w.put_long(b'F', value.bytes),
            Self::Void => w.put(b"V"),
            Self::Bytes(value) => w.put_long(b'x', value),
        }
    }

    /// The value of any integer type; timestamps are none.
    pub fn integer(&self) -> Option<i64> {
        match *self {
            Self::I8(value) => Some(value.into()),
            Self::U8(value) => Some(value.into()),
            Self::I16(value) => Some(value.into()),
            Self::U16(value) => Some(value.into()),
            Self::I32(value) => Some(value.into()),
            Self::U32(value) => Some(value.into()),
            Self::I64(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes of a string.
    pub fn string(&self) -> Option<&'a [u8]> {
        match *self {
            Self::Long(value) => Some(value),
            _ => None,
        }
    }

    /// The name error texts give this type.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::I8(_) => "byte",
            Self::U8(_) => "unsignedbyte",
            Self::I16(_) => "short",
            Self::U16(_) => "unsignedshort",
            Self::I32(_) => "signedint",
            Self::U32(_) => "unsignedint",
            Self::I64(_) => "long",
            Self::F32(_) => "float",
            Self::F64(_) => "double",
            Self::Decimal(..) => "decimal",
            Self::Long(_) => "longstr",
            Self::Array(_) => "array",
            Self::Timestamp(_) => "timestamp",
            Self::Table(_) => "table",
            Self::Void => "void",
            Self::Bytes(_) => "binary",
        }
    }

    pub(super) fn float(&self) -> Option<f64> {
        match *self {
            Self::F32(value) => Some(value.into()),
            Self::F64(value) => Some(value),
            _ => None,
        }
    }
}
