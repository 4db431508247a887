//! Bugs of owners: what names or holds the text `planted-bug` makes the one that works on it panic or hang.
//!
//! They sit at the seams of the engine, so that the real owner meets them in the midst of its real work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use engine::Parts;
use security::{Authorizer, Principal, Resource, Verb};
use storage::local::Stopwatch;
use storage::{
    Append, Bounds, BoxFuture, Catalog, Change, Document, Durability, Expected, Found, Lease, Log,
    Lsn, Progress, Read, Result, Seek, StreamId, Trim,
};
use tokio::sync::{broadcast, watch};

use super::{PLANTED, PlantedBug};

/// What sets a bug off.
const TEXT: &str = "planted-bug";

/// The journal panics at its next sync.
static JOURNAL_PANICS: AtomicBool = AtomicBool::new(false);

/// The engine's parts as the planted bug wants them.
pub(crate) fn wrap_engine(parts: Parts) -> Parts {
    let Some(bug) = PLANTED.get().copied() else {
        return parts;
    };
    match bug {
        PlantedBug::AckBeforeSync | PlantedBug::WallClock => parts,
        PlantedBug::ControllerPanics | PlantedBug::ControllerHangs => Parts {
            catalog: Arc::new(BuggyCatalog(parts.catalog, bug)),
            ..parts
        },
        PlantedBug::OwnerPanics | PlantedBug::OwnerHangs | PlantedBug::JournalPanics => Parts {
            log: Arc::new(BuggyLog(parts.log, bug)),
            ..parts
        },
        PlantedBug::ConnectionPanics => Parts {
            authorizer: Arc::new(BuggyAuthorizer),
            ..parts
        },
    }
}

/// The stopwatch that the journal looks at when it syncs.
pub(crate) fn wrap_stopwatch(watch: Stopwatch) -> Stopwatch {
    if PLANTED.get() != Some(&PlantedBug::JournalPanics) {
        return watch;
    }
    Stopwatch::new(|| {
        assert!(
            !JOURNAL_PANICS.load(Ordering::Acquire),
            "planted: the journal panics"
        );
        Duration::ZERO
    })
}

struct BuggyCatalog(Arc<dyn Catalog>, PlantedBug);

impl BuggyCatalog {
    /// Panics or hangs where the key is the planted one, otherwise writes.
    fn trip<'a>(&self, key: &str, write: BoxFuture<'a, Result<u64>>) -> BoxFuture<'a, Result<u64>> {
        if !key.contains(TEXT) {
            return write;
        }
        assert!(
            self.1 == PlantedBug::ControllerHangs,
            "planted: the controller panics"
        );
        Box::pin(std::future::pending())
    }
}

impl Catalog for BuggyCatalog {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Document>>> {
        self.0.get(key)
    }

    fn put_if<'a>(
        &'a self,
        key: &'a str,
        expected: Expected,
        value: Option<Bytes>,
    ) -> BoxFuture<'a, Result<u64>> {
        self.trip(key, self.0.put_if(key, expected, value))
    }

    fn put_vital<'a>(
        &'a self,
        key: &'a str,
        expected: Expected,
        value: Bytes,
    ) -> BoxFuture<'a, Result<u64>> {
        self.trip(key, self.0.put_vital(key, expected, value))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<(String, Document)>>> {
        self.0.list(prefix)
    }

    fn watch(&self) -> broadcast::Receiver<Change> {
        self.0.watch()
    }

    fn lease<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Lease>> {
        self.0.lease(name)
    }
}

struct BuggyLog(Arc<dyn Log>, PlantedBug);

impl BuggyLog {
    fn meets(&self, appends: &[Append]) {
        let holds = |bytes: &Bytes| {
            let mut places = bytes.windows(TEXT.len());
            places.any(|place| place == TEXT.as_bytes())
        };
        if !appends.iter().any(|append| holds(append.batch.body())) {
            return;
        }
        match self.1 {
            PlantedBug::JournalPanics => JOURNAL_PANICS.store(true, Ordering::Release),
            PlantedBug::OwnerHangs => loop {
                std::thread::park();
            },
            _ => panic!("planted: a task that holds a partition panics"),
        }
    }
}

impl Log for BuggyLog {
    fn append(&self, appends: Vec<Append>, durability: Durability) -> Result<Lsn> {
        self.meets(&appends);
        self.0.append(appends, durability)
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.0.progress()
    }

    fn read(&self, stream: StreamId, from: u64, until: u64, max_bytes: usize) -> Read {
        self.0.read(stream, from, until, max_bytes)
    }

    fn bounds(&self, stream: StreamId) -> Option<Bounds> {
        self.0.bounds(stream)
    }

    fn seek(&self, stream: StreamId, seek: Seek) -> BoxFuture<'_, Result<Option<Found>>> {
        self.0.seek(stream, seek)
    }

    fn trim(&self, stream: StreamId, trim: Trim) -> Result<Lsn> {
        self.0.trim(stream, trim)
    }
}

struct BuggyAuthorizer;

impl Authorizer for BuggyAuthorizer {
    fn allows(&self, _: &Principal, _: Verb, resource: Resource<'_>) -> bool {
        let (Resource::Topic(name) | Resource::Queue(name)) = resource else {
            return true;
        };
        assert!(!name.contains(TEXT), "planted: a connection panics");
        true
    }
}
