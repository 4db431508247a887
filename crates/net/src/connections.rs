//! Who is connected, over all listeners, and the means to end a connection.
//!
//! What is known of a connection beyond its addresses comes from the frontend that serves it. An entry lives as long as
//! its connection; the table is locked when a connection begins or ends and when they are listed, never for a request.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

/// How long a connection that is to end may take to say goodbye before it is cut.
const FAREWELL_TIME: Duration = Duration::from_secs(5);
/// Longest text kept of what a client calls itself, bytes.
const CLIENT_BYTES_MAX: usize = 256;

/// What time it is, ms since 1970.
pub type Now = Box<dyn Fn() -> u64 + Send + Sync>;

/// The connections of all listeners that share it.
#[derive(Clone)]
pub struct Connections(Arc<Table>);

struct Table {
    now: Now,
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Entry>>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("open", &self.lock().len())
            .finish()
    }
}

impl Default for Connections {
    /// None, at an unknown time.
    fn default() -> Self {
        Self::new(Box::new(|| 0))
    }
}

impl Connections {
    /// None yet.
    pub fn new(now: Now) -> Self {
        Self(Arc::new(Table {
            now,
            next: AtomicU64::new(1),
            open: Mutex::default(),
        }))
    }

    /// At most `max` of them in the order they began, behind the one called `after`.
    pub fn page(&self, after: u64, max: usize) -> Vec<Arc<Entry>> {
        let open = self.lock();
        let behind = open.range(after.saturating_add(1)..);
        behind
            .take(max)
            .map(|(_, entry)| Arc::clone(entry))
            .collect()
    }

    /// The one called so.
    pub fn get(&self, id: u64) -> Option<Arc<Entry>> {
        self.lock().get(&id).cloned()
    }

    pub(crate) fn enter(&self, listener: &'static str, peer: SocketAddr) -> Present {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry {
            id,
            listener,
            peer,
            since_ms: (self.0.now)(),
            facts: Mutex::default(),
            is_closing: AtomicBool::new(false),
            closing: Notify::new(),
        });
        self.lock().insert(id, Arc::clone(&entry));
        Present {
            table: self.clone(),
            entry,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Entry>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a frontend adds about a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Who logged in.
    pub user: Option<Arc<str>>,
    /// The vhost that was opened.
    pub vhost: Option<Arc<str>>,
    /// What the client calls itself.
    pub client: Option<Arc<str>>,
    /// By what the engine knows those who consume through it.
    pub session: Option<u128>,
}

/// One connection.
#[derive(Debug)]
pub struct Entry {
    id: u64,
    listener: &'static str,
    peer: SocketAddr,
    since_ms: u64,
    facts: Mutex<Facts>,
    is_closing: AtomicBool,
    closing: Notify,
}

impl Entry {
    /// One that is in no table, for a connection without a listener.
    pub(crate) fn alone(peer: SocketAddr) -> Arc<Self> {
        let nowhere = Connections::default();
        Arc::clone(&nowhere.enter("", peer).entry)
    }

    /// Its name; none has it twice in the life of the process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The listener it came through.
    pub fn listener(&self) -> &'static str {
        self.listener
    }

    /// The other end's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// When it began, ms since 1970.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// What is known of it.
    pub fn facts(&self) -> Facts {
        self.lock().clone()
    }

    /// Says who logged in.
    pub fn set_user(&self, user: &Arc<str>) {
        self.lock().user = Some(Arc::clone(user));
    }

    /// Says which vhost was opened.
    pub fn set_vhost(&self, vhost: &str) {
        self.lock().vhost = Some(Arc::from(vhost));
    }

    /// Says what the client calls itself; of a long text the beginning is kept.
    pub fn set_client(&self, client: &str) {
        let end = client.floor_char_boundary(CLIENT_BYTES_MAX);
        self.lock().client = Some(Arc::from(&client[..end]));
    }

    /// Says by what the engine knows those who consume through it.
    pub fn set_session(&self, session: u128) {
        self.lock().session = Some(session);
    }

    /// Asks the connection to end; it is cut when it does not.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.closing.notify_waiters();
    }

    /// Returns when the connection is to end.
    pub async fn closing(&self) {
        let closing = self.closing.notified();
        if !self.is_closing.load(Ordering::Acquire) {
            closing.await;
        }
    }

    /// Returns when it was to end and had the time to do so.
    pub(crate) async fn overdue(&self) {
        self.closing().await;
        sleep(FAREWELL_TIME).await;
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry that leaves the table when this is dropped.
#[derive(Debug)]
pub(crate) struct Present {
    table: Connections,
    pub(crate) entry: Arc<Entry>,
}

impl Drop for Present {
    fn drop(&mut self) {
        self.table.lock().remove(&self.entry.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> SocketAddr {
        "127.0.0.1:7".parse().unwrap()
    }

    #[tokio::test]
    async fn a_connection_is_known_until_it_ends() {
        let all = Connections::new(Box::new(|| 42));
        let (one, two) = (all.enter("kafka", peer()), all.enter("amqp", peer()));
        let ids =
            |after, max| -> Vec<u64> { all.page(after, max).iter().map(|e| e.id()).collect() };
        assert_eq!(ids(0, 10), [1, 2]);
        assert_eq!(ids(0, 1), [1]);
        assert_eq!(ids(1, 1), [2]);
        let known = all.get(2).unwrap();
        assert_eq!((known.listener(), known.since_ms()), ("amqp", 42));
        two.entry.set_user(&Arc::from("shop"));
        two.entry.set_client(&"ü".repeat(200));
        let facts = known.facts();
        assert_eq!(facts.user.as_deref(), Some("shop"));
        assert_eq!(facts.client.unwrap().len(), CLIENT_BYTES_MAX);
        drop(two);
        assert_eq!(ids(0, 10), [1]);
        assert!(all.get(2).is_none());
        drop(one);
    }

    #[tokio::test]
    async fn waiters_for_the_end_are_notified_before_and_after() {
        let all = Connections::default();
        let one = all.enter("kafka", peer());
        let entry = Arc::clone(&one.entry);
        let waiting = tokio::spawn(async move { entry.closing().await });
        tokio::task::yield_now().await;
        all.get(1).unwrap().close();
        waiting.await.unwrap();
        one.entry.closing().await;
    }
}
