//! Reply codes: the numbers, names and weight of what a broker answers instead of doing what it was asked.

/// Longest reply text, bytes: it is a short string.
pub const REPLY_TEXT_BYTES_MAX: usize = 255;

macro_rules! reply_codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal $name:literal,)*) => {
        /// Why a connection or channel is closed, or a message returned.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum ReplyCode {
            $($(#[$doc])* $variant = $number,)*
        }

        impl ReplyCode {
            /// All codes, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The number on the wire.
            pub const fn number(self) -> u16 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }

            /// The name reply texts begin with.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

reply_codes! {
    /// Nothing is wrong: a peer that leaves says so.
    Success = 200 "REPLY_SUCCESS",
    /// The content is too large.
    ContentTooLarge = 311 "CONTENT_TOO_LARGE",
    /// A mandatory message reached no queue.
    NoRoute = 312 "NO_ROUTE",
    /// An immediate message reached no consumer.
    NoConsumers = 313 "NO_CONSUMERS",
    /// An operator closed the connection.
    ConnectionForced = 320 "CONNECTION_FORCED",
    /// There is no such virtual host.
    InvalidPath = 402 "INVALID_PATH",
    /// The principal may not do that.
    AccessRefused = 403 "ACCESS_REFUSED",
    /// There is no such thing.
    NotFound = 404 "NOT_FOUND",
    /// Another client has exclusive use of it.
    ResourceLocked = 405 "RESOURCE_LOCKED",
    /// The thing is not as the client says.
    PreconditionFailed = 406 "PRECONDITION_FAILED",
    /// Bytes that are no frame.
    FrameError = 501 "FRAME_ERROR",
    /// A frame with values that cannot be.
    SyntaxError = 502 "SYNTAX_ERROR",
    /// A method that does not exist, or not in this place.
    CommandInvalid = 503 "COMMAND_INVALID",
    /// A channel that is not open, or already is.
    ChannelError = 504 "CHANNEL_ERROR",
    /// A frame that does not belong here.
    UnexpectedFrame = 505 "UNEXPECTED_FRAME",
    /// The broker lacks what it takes.
    ResourceError = 506 "RESOURCE_ERROR",
    /// Forbidden for every principal.
    NotAllowed = 530 "NOT_ALLOWED",
    /// The broker has no such feature.
    NotImplemented = 540 "NOT_IMPLEMENTED",
    /// The broker is at fault.
    InternalError = 541 "INTERNAL_ERROR",
}

impl ReplyCode {
    /// Whether it ends the whole connection; the others end a channel, or nothing.
    pub const fn is_hard(self) -> bool {
        matches!(
            self,
            Self::ConnectionForced
                | Self::InvalidPath
                | Self::FrameError
                | Self::SyntaxError
                | Self::CommandInvalid
                | Self::ChannelError
                | Self::UnexpectedFrame
                | Self::ResourceError
                | Self::NotAllowed
                | Self::NotImplemented
                | Self::InternalError
        )
    }

    /// `NAME - explanation`, cut to what a short string can hold, never within a character.
    pub fn text(self, explanation: &str) -> String {
        let mut text = format!("{} - {explanation}", self.name());
        text.truncate(text.floor_char_boundary(REPLY_TEXT_BYTES_MAX));
        text
    }
}

impl TryFrom<u16> for ReplyCode {
    type Error = u16;

    fn try_from(number: u16) -> Result<Self, u16> {
        let found = Self::ALL.iter().find(|code| code.number() == number);
        found.copied().ok_or(number)
    }
}
