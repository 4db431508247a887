//! Producer ids: never given twice, whatever crashes in between.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use storage::{Catalog, Expected};
use tokio::sync::Mutex;

use crate::{Error, Result};

const KEY: &str = "producers/next";
/// Ids reserved with one durable write; a crash wastes at most this many of 2^63.
const BLOCK: i64 = 1000;

/// Gives out ids from a reserved block.
pub(super) struct ProducerIds {
    catalog: Arc<dyn Catalog>,
    // An async lock: the caller that finds the block empty reserves the next one while the others wait for it.
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    pub(super) fn new(catalog: Arc<dyn Catalog>) -> Self {
        Self {
            catalog,
            block: Mutex::new(0..0),
        }
    }

    pub(super) async fn next(&self) -> Result<i64> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            *block = self.reserve().await?;
        }
        block.next().ok_or(Error::Unavailable)
    }

    async fn reserve(&self) -> Result<Range<i64>> {
        let stored = self.catalog.get(KEY).await?;
        let (expected, from) = match stored {
            None => (Expected::Absent, 0),
            Some(document) => {
                let text = std::str::from_utf8(&document.value).ok();
                let from = text.and_then(|t| t.parse().ok());
                let from = from.ok_or_else(|| {
                    Error::Storage("the producer id counter is not a number".into())
                })?;
                (Expected::Version(document.version), from)
            }
        };
        let upto = from + BLOCK;
        self.catalog
            .put_if(KEY, expected, Some(Bytes::from(upto.to_string())))
            .await?;
        Ok(from..upto)
    }
}
