//! The content header: how long a message's body is, and its properties. They are kept as the bytes they came in, so
//! that a consumer gets what the producer wrote; [`Properties::decode`] looks into them where the broker has to.

use bytes::Bytes;

use super::{Reader, Result, Table, Writer};

/// What stands in front of the properties in a header frame's payload: class, weight, and the length of the body.
pub const CONTENT_HEADER_BYTES: usize = 2 + 2 + 8;

/// The payload of a header frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// The class of the method in front; messages are always of class `basic`.
    pub class: u16,
    /// Bytes of the body that follows.
    pub body_bytes: u64,
    /// Flags and values of the properties, not looked into.
    pub properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    /// Takes a header frame's payload apart, in constant time.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Self> {
        let mut r = Reader::new(payload);
        let class = r.u16()?;
        if r.u16()? != 0 {
            return Err(r.malformed("a weight in front"));
        }
        Ok(Self {
            class,
            body_bytes: r.u64()?,
            properties: r.rest(),
        })
    }
}

macro_rules! properties {
    ($($(#[$doc:meta])* $bit:literal $name:ident: $kind:ident $type:ty,)*) => {
        /// What a producer says about a message. Absent is not the same as empty.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Properties<'a> {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        impl<'a> Properties<'a> {
            /// Looks into the properties of a [`ContentHeader`].
            pub fn decode(bytes: &'a [u8]) -> Result<Self> {
                let mut r = Reader::new(bytes);
                let flags = r.u16()?;
                if flags & UNKNOWN_FLAGS != 0 {
                    return Err(r.malformed("unknown property flags in front"));
                }
                let mut properties = Self::default();
                $(if flags & (1 << $bit) != 0 {
                    properties.$name = Some(r.$kind()?);
                })*
                r.finish()?;
                Ok(properties)
            }

            fn write(&self, w: &mut Writer) {
                let mut flags = 0;
                $(if self.$name.is_some() {
                    flags |= 1 << $bit;
                })*
                w.u16(flags);
                $(if let Some(value) = self.$name {
                    w.$kind(value);
                })*
            }
        }
    };
}

/// One says that more flags follow, which no property needs; the other has no meaning.
const UNKNOWN_FLAGS: u16 = 0b11;

properties! {
    /// MIME type of the body.
    15 content_type: short &'a [u8],
    /// MIME encoding of the body.
    14 content_encoding: short &'a [u8],
    /// Headers of the application's, and some of the broker's.
    13 headers: table Table<'a>,
    /// 2 when the message is to survive a restart, otherwise 1.
    12 delivery_mode: u8 u8,
    /// Higher is sooner.
    11 priority: u8 u8,
    /// What this message answers.
    10 correlation_id: short &'a [u8],
    /// Where to answer.
    9 reply_to: short &'a [u8],
    /// Milliseconds to live, in digits.
    8 expiration: short &'a [u8],
    /// The application's name for the message.
    7 message_id: short &'a [u8],
    /// Seconds since 1970.
    6 timestamp: u64 u64,
    /// What the application calls this kind of message; `type` in the specification.
    5 kind: short &'a [u8],
    /// Who sent it; the broker vouches for it.
    4 user_id: short &'a [u8],
    /// Which application sent it.
    3 app_id: short &'a [u8],
    /// Of no use.
    2 cluster_id: short &'a [u8],
}

impl Properties<'_> {
    /// The bytes of properties without any.
    pub const NONE: &'static [u8] = &[0, 0];

    /// The bytes a content header carries.
    pub fn encode(&self) -> Result<Bytes> {
        let mut w = Writer::bare();
        w.whole(|w| self.write(w))?;
        Ok(w.into_gathered())
    }
}
