//! How a connection ends when the broker ends it: it says why, and waits a little for the peer to have heard it.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use crate::error::Fault;
use crate::link::{Inlet, Outlet};
use crate::wire::{FrameKind, Method, connection};

/// How long the peer may take to hear it.
const FAREWELL_TIME: Duration = Duration::from_secs(5);

/// Says why, and waits until the peer has heard it or is gone; what it sends meanwhile is dropped.
pub(crate) async fn close(
    inlet: &mut Inlet,
    outlet: &mut Outlet,
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
                break;
            }
        }
        Ok(())
    };
    timeout(FAREWELL_TIME, farewell).await.unwrap_or(Ok(()))
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
