//! A whole request body: its room is taken from the connection's account as it arrives, never as it is announced.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use hyper::body::Body as HttpBody;

use crate::Permit;

/// Room made for a body at first; it doubles as bytes arrive.
const STEP_BYTES: usize = 16 << 10;

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncollected {
    /// It has more bytes than allowed, or says so.
    TooLarge,
    /// It broke off, or did not come in time.
    Broken,
}

/// Reads a body of at most `most` bytes, waiting for room for them, which is added to `permit`.
pub async fn collect(
    mut body: Body,
    permit: &mut Permit,
    most: usize,
) -> Result<Bytes, Uncollected> {
    if body.size_hint().lower() > most as u64 {
        return Err(Uncollected::TooLarge);
    }
    let Some(first) = next(&mut body).await? else {
        return Ok(Bytes::new());
    };
    check(first.len(), most)?;
    let before = permit.bytes();
    if body.is_end_stream() {
        permit.grow_to(before + first.len()).await;
        return Ok(first);
    }
    let _unfinished = permit.account().unfinished();
    let mut whole = BytesMut::new();
    let mut more = Some(first);
    while let Some(data) = more {
        let bytes = whole.len() + data.len();
        check(bytes, most)?;
        if bytes > whole.capacity() {
            let room = bytes.max(STEP_BYTES).max(whole.capacity() * 2).min(most);
            permit.grow_to(before + room).await;
            whole.reserve(room - whole.len());
        }
        whole.extend_from_slice(&data);
        drop(data);
        more = next(&mut body).await?;
    }
    Ok(whole.freeze())
}

fn check(bytes: usize, most: usize) -> Result<(), Uncollected> {
    if bytes > most {
        Err(Uncollected::TooLarge)
    } else {
        Ok(())
    }
}

/// The next piece that has any bytes.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Uncollected> {
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| Uncollected::Broken)?;
        if let Ok(data) = frame.into_data()
            && !data.is_empty()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}
