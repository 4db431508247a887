//! How a connection ends: the reason is said or the peer's close is answered, and then what the peer still sends is read
//! and dropped until it closes the connection, or time is up. A socket that is closed with something unread resets the
//! connection, and the peer would lose what it was told.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use crate::error::Fault;
use crate::link::{Inlet, Outlet};
use crate::wire::{FrameKind, Method, connection};

/// How long the peer may take to hear it and to close its end.
const FAREWELL_TIME: Duration = Duration::from_secs(10);

/// Says why, waits until the peer has heard it, and drops what it sends until it is gone.
pub(crate) async fn close(
    inlet: &mut Inlet,
    mut outlet: Outlet,
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
    let _ = outlet.frames.method(0, &close);
    let farewell = async {
        outlet.send().await?;
        while !heard(inlet) {
            if inlet.read().await? == 0 {
                return Ok(());
            }
        }
        outlet.close().await?;
        drain(inlet).await
    };
    timeout(FAREWELL_TIME, farewell).await.unwrap_or(Ok(()))
}

/// Sends what is written, closes our direction, and drops what the peer sends until it is gone.
pub(crate) async fn leave(inlet: &mut Inlet, outlet: Outlet) -> io::Result<()> {
    let farewell = async {
        outlet.close().await?;
        drain(inlet).await
    };
    timeout(FAREWELL_TIME, farewell).await.unwrap_or(Ok(()))
}

async fn drain(inlet: &mut Inlet) -> io::Result<()> {
    loop {
        inlet.received().clear();
        match inlet.read().await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // It has what it wanted, and did not wait for the end.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Whether the peer has heard it, or cannot be understood any more.
fn heard(inlet: &mut Inlet) -> bool {
    let Ok(frames) = inlet.frames() else {
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
