//! What the HTTP server allows a client.

use std::time::Duration;

/// What the HTTP server allows a client.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// For the whole request head; also how long an idle connection is kept.
    pub header_read: Duration,
    /// For the whole request body, from its first byte asked for.
    pub body_read: Duration,
    /// Request line and headers together; at least 8 KiB.
    pub header_bytes_max: usize,
    /// Header lines in one request.
    pub headers_max: usize,
    /// Bytes in one request body.
    pub body_bytes_max: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            header_read: Duration::from_mins(1),
            body_read: Duration::from_mins(1),
            header_bytes_max: 32 << 10,
            headers_max: 100,
            body_bytes_max: 4 << 20,
        }
    }
}
