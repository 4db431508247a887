//! The timekeeper: notices when the wall clock jumps, and keeps what the next start must know about time.

use std::sync::{Arc, Weak};
use std::time::Duration;

use storage::Expected;
use storage::supervisor::Owner;

use super::documents::encode;
use super::{Inner, Parts};
use crate::time::{Time, Timeline};
use crate::{Error, Result};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);
/// Looks after which it keeps the time although the clock has not jumped.
const KEPT_AFTER: u32 = 60;

const KEY: &str = "clock/timeline";

/// The broker's clock, which goes on where the last process ended.
pub(super) async fn recover(parts: &Parts) -> Result<Arc<Time>> {
    let stored = parts.catalog.get(KEY).await?;
    let earlier = stored
        .map(|stored| serde_json::from_slice::<Timeline>(&stored.value))
        .transpose()
        .map_err(|error| Error::Storage(format!("document {KEY}: {error}")))?;
    Ok(Arc::new(Time::new(Arc::clone(&parts.clock), earlier)))
}

/// Looks once a second, until the broker is gone.
pub(super) async fn run(inner: Weak<Inner>, owner: Owner) {
    // What the start found out is kept at once.
    let mut looks = KEPT_AFTER;
    loop {
        let Some(strong) = inner.upgrade() else {
            return;
        };
        owner.turn();
        let jump = strong.clock.look();
        if let Some(by_ms) = jump {
            tracing::warn!(by_ms, "the wall clock has jumped");
        }
        if jump.is_some() || looks >= KEPT_AFTER {
            looks = 0;
            keep(&strong).await;
        }
        looks += 1;
        drop(strong);
        owner.rest();
        tokio::time::sleep(EVERY).await;
    }
}

/// Keeps what the next start must know. Without it that start goes by what was kept before, so failing does no more
/// than that.
pub(super) async fn keep(inner: &Inner) {
    let document = Some(encode(&inner.clock.timeline()));
    let kept = inner.catalog.put_if(KEY, Expected::Any, document).await;
    if let Err(error) = kept {
        tracing::debug!(%error, "the time was not kept");
    }
}
