//! The methods, a module per class of the specification. A class is one table of names, numbers and arguments; a macro
//! makes of it the structs, their two directions, and the enum to match on.

use std::fmt;

use super::{Error, Reader, Result, Writer};

/// A method's arguments, with what the method is called.
pub trait Arguments<'a>: Sized + Copy + fmt::Debug {
    /// Number of the class.
    const CLASS: u16;
    /// Number of the method within the class.
    const METHOD: u16;
    /// Class and method, as `queue.declare`.
    const NAME: &'static str;

    /// Reads the arguments, up to the end of the payload.
    fn decode(r: &mut Reader<'a>) -> Result<Self>;

    /// Writes the arguments. What does not fit is noted by the writer.
    fn encode(&self, w: &mut Writer);
}

/// The Rust type of an argument.
macro_rules! argument_type {
    (u8) => { u8 };
    (u16) => { u16 };
    (u32) => { u32 };
    (u64) => { u64 };
    (bit) => { bool };
    (short) => { &'a [u8] };
    (long) => { &'a [u8] };
    (table) => { $crate::wire::Table<'a> };
}

/// One class. A method reads: number, name, Rust name with the lifetime when it borrows, reserved arguments in front in
/// brackets, arguments, reserved arguments behind. Reserved ones are ignored when read and empty when written.
macro_rules! class {
    ($class:literal $class_name:literal $(<$any:lifetime>)?;
    $($(#[$doc:meta])* $number:literal $name:literal $method:ident $(<$life:lifetime>)?
        [$($before:ident)*] { $($argument:ident: $kind:ident),* $(,)? } [$($behind:ident)*])*) => {
        use crate::wire::{Arguments, Error, Reader, Result, Writer};

        /// Number of the class.
        pub const CLASS: u16 = $class;

        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
            pub struct $method $(<$life>)? {
                $(pub $argument: argument_type!($kind),)*
            }

            impl<'a> Arguments<'a> for $method $(<$life>)? {
                const CLASS: u16 = $class;
                const METHOD: u16 = $number;
                const NAME: &'static str = concat!($class_name, ".", $name);

                #[inline]
                fn decode(r: &mut Reader<'a>) -> Result<Self> {
                    $(r.$before()?;)*
                    $(let $argument = r.$kind()?;)*
                    $(r.$behind()?;)*
                    r.finish()?;
                    Ok(Self { $($argument),* })
                }

                #[inline]
                #[allow(unused_variables, reason = "not every method has arguments")]
                fn encode(&self, w: &mut Writer) {
                    $(w.$before(Default::default());)*
                    $(w.$kind(self.$argument);)*
                    $(w.$behind(Default::default());)*
                }
            }
        )*

        /// Any method of the class.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Method $(<$any>)? {
            $($(#[$doc])* $method($method $(<$life>)?),)*
        }

        impl<'a> Method $(<$any>)? {
            #[inline]
            pub(super) fn decode(method: u16, r: &mut Reader<'a>) -> Result<Self> {
                match method {
                    $($number => $method::decode(r).map(Self::$method),)*
                    _ => Err(Error::UnknownMethod { class: CLASS, method }),
                }
            }

            pub(super) fn write(&self, channel: u16, w: &mut Writer) -> Result<()> {
                match self {
                    $(Self::$method(arguments) => w.method(channel, arguments),)*
                }
            }

            /// Number of the method within the class.
            pub const fn number(&self) -> u16 {
                match self {
                    $(Self::$method(_) => $number,)*
                }
            }

            /// Class and method, as `queue.declare`.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$method(_) => concat!($class_name, ".", $name),)*
                }
            }
        }

        /// How each method looks on the wire, for tests that do not trust the code above.
        #[cfg(test)]
        pub(crate) const SHAPES: &[crate::wire::tests::Shape] = &[
            $(crate::wire::tests::Shape {
                class: $class,
                method: $number,
                name: concat!($class_name, ".", $name),
                before: &[$(stringify!($before)),*],
                arguments: &[$(stringify!($kind)),*],
                behind: &[$(stringify!($behind)),*],
            },)*
        ];
    };
}

macro_rules! classes {
    ($($(#[$doc:meta])* $module:ident $class:ident $(<$any:lifetime>)?;)*) => {
        $(
            #[allow(missing_docs, reason = "arguments carry the names of the specification, which documents them")]
            #[allow(clippy::struct_excessive_bools, reason = "the shape follows the specification, not taste")]
            pub mod $module;
        )*

        /// Any method, sorted by class.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Method<'a> {
            $($(#[$doc])* $class($module::Method $(<$any>)?),)*
        }

        impl<'a> Method<'a> {
            /// Reads a method frame's payload.
            #[inline]
            pub fn decode(payload: &'a [u8]) -> Result<Self> {
                let mut r = Reader::new(payload);
                let (class, method) = (r.u16()?, r.u16()?);
                match class {
                    $($module::CLASS => $module::Method::decode(method, &mut r).map(Self::$class),)*
                    _ => Err(Error::UnknownMethod { class, method }),
                }
            }

            /// Writes a method frame. A failure leaves no trace of it.
            pub fn write(&self, channel: u16, w: &mut Writer) -> Result<()> {
                match self {
                    $(Self::$class(method) => method.write(channel, w),)*
                }
            }

            /// Numbers of class and method, as a close method names what failed.
            pub const fn numbers(&self) -> (u16, u16) {
                match self {
                    $(Self::$class(method) => ($module::CLASS, method.number()),)*
                }
            }

            /// Class and method, as `queue.declare`.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$class(method) => method.name(),)*
                }
            }
        }

        #[cfg(test)]
        pub(crate) const SHAPES: &[&[crate::wire::tests::Shape]] = &[$($module::SHAPES),*];
    };
}

classes! {
    /// A connection's life.
    connection Connection<'a>;
    /// A channel's life.
    channel Channel<'a>;
    /// Tickets of old clients.
    access Access<'a>;
    /// Exchanges and their bindings to one another.
    exchange Exchange<'a>;
    /// Queues and their bindings.
    queue Queue<'a>;
    /// Messages.
    basic Basic<'a>;
    /// Acknowledgements to producers.
    confirm Confirm;
    /// Transactions.
    tx Tx;
}
