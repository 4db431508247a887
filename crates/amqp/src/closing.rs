//! How a connection ends: the reason is said or the peer's close is answered, and then what the peer still sends is
//! read and dropped until it closes the connection, or time is up. A socket that is closed with something unread resets
//! the connection, and the peer would lose what it was sent.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use crate::error::Fault;
use crate::link::{FrameReader, FrameWriter};
use crate::wire::{FrameKind, Method, connection};

/// How long the peer may take to answer and to close its end.
const FAREWELL_TIME: Duration = Duration::from_secs(10);

/// Sends the reason, waits until the peer has answered it, and drops what it sends until it is gone.
pub(crate) async fn close(
    frame_reader: &mut FrameReader,
    mut frame_writer: FrameWriter,
    fault: &Fault,
    (class_id, method_id): (u16, u16),
) -> io::Result<()> {
    let text = fault.text();
    let close = connection::Close {
        reply_code: fault.code.number(),
        reply_text: text.as_bytes(),
        class_id,
        method_id,
    };
    // Everything in it fits.
    let _ = frame_writer.frames.method(0, &close);
    let farewell = async {
        frame_writer.send().await?;
        while !is_answered(frame_reader) {
            if frame_reader.read().await? == 0 {
                return Ok(());
            }
        }
        frame_writer.close().await?;
        drain(frame_reader).await
    };
    timeout(FAREWELL_TIME, farewell).await.unwrap_or(Ok(()))
}

/// Sends what is written, closes our direction, and drops what the peer sends until it is gone.
pub(crate) async fn leave(
    frame_reader: &mut FrameReader,
    frame_writer: FrameWriter,
) -> io::Result<()> {
    let farewell = async {
        frame_writer.close().await?;
        drain(frame_reader).await
    };
    timeout(FAREWELL_TIME, farewell).await.unwrap_or(Ok(()))
}

async fn drain(frame_reader: &mut FrameReader) -> io::Result<()> {
    loop {
        frame_reader.received().clear();
        match frame_reader.read().await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // It has what it wanted, and did not wait for the end.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Whether the peer has answered it, or cannot be understood any more.
fn is_answered(frame_reader: &mut FrameReader) -> bool {
    let Ok(frames) = frame_reader.frames() else {
        return true;
    };
    frames.iter().any(|frame| {
        frame.channel == 0
            && frame.kind == FrameKind::Method
            && matches!(
                Method::decode(frame.payload),
                Ok(Method::Connection(
                    connection::Method::CloseOk(_) | connection::Method::Close(_)
                ))
            )
    })
}
