//! What one connection holds of a budget, and the permits its parts hold of that.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

use super::holders::{Held, LOOK, Reasons};
use super::shared::{Budget, FREE_BYTES, PIECE_BYTES, SMALL_PIECE_BYTES};
use super::waiters::{Grant, Place};

/// A connection's account. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Account(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    budget: Budget,
    name: u64,
    protocol: &'static str,
    peer: SocketAddr,
    balance: Mutex<Balance>,
    /// What the balance has taken, for display.
    taken: AtomicUsize,
    received: AtomicU64,
    sent: AtomicU64,
    /// Things the peer has begun and not finished, and things it has not read.
    unfinished: AtomicUsize,
    unsent: AtomicUsize,
    /// Things that are kept for as long as the peer, or others, like.
    parked: AtomicUsize,
    /// Whether it has to go.
    is_evicted: AtomicBool,
    /// Permits that wait for room.
    waits: AtomicUsize,
    evicted: Notify,
}

#[derive(Debug, Default)]
struct Balance {
    /// Bytes in use.
    held: usize,
    /// Bytes of its share of the budget.
    taken: usize,
    /// Bytes beyond its share.
    excess: usize,
}

impl Balance {
    /// What has to be taken before so many more can be held.
    fn lacks(&self, more: usize) -> usize {
        (self.held + more).saturating_sub(FREE_BYTES + self.taken + self.excess)
    }

    fn has(&self) -> usize {
        self.taken + self.excess
    }
}

impl Budget {
    /// The account of a connection; `protocol` and `peer` are what an operator is shown.
    pub fn account(&self, protocol: &'static str, peer: SocketAddr) -> Account {
        let name = self.0.names.fetch_add(1, Relaxed);
        Account::new(self.clone(), name, protocol, peer)
    }
}

impl Account {
    fn new(budget: Budget, name: u64, protocol: &'static str, peer: SocketAddr) -> Self {
        Self(Arc::new(Inner {
            budget,
            name,
            protocol,
            peer,
            balance: Mutex::default(),
            taken: AtomicUsize::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            unfinished: AtomicUsize::new(0),
            unsent: AtomicUsize::new(0),
            parked: AtomicUsize::new(0),
            is_evicted: AtomicBool::new(false),
            waits: AtomicUsize::new(0),
            evicted: Notify::new(),
        }))
    }

    /// The budget it is an account of.
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// The connection's peer.
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// A permit for nothing, to be grown.
    pub fn permit(&self) -> Permit {
        Permit {
            account: self.clone(),
            bytes: 0,
            wait: None,
        }
    }

    /// Whether others wait for room: what is optional should be left out.
    pub fn is_scarce(&self) -> bool {
        self.0.budget.0.waiting.load(Relaxed) > 0
    }

    /// The peer has begun something and what is missing has not come, until this is dropped.
    pub fn unfinished(&self) -> Owed {
        Owed::new(self, Owing::Input)
    }

    /// Something is kept for as long as the peer likes, or until others have come, until this is dropped: an open
    /// transaction, a request that waits for others.
    pub fn parked(&self) -> Owed {
        Owed::new(self, Owing::End)
    }

    /// Whether the connection has to go, because it holds memory without progress while others wait.
    pub fn is_evicted(&self) -> bool {
        self.0.is_evicted.load(Relaxed)
    }

    /// There is something for the peer that it has not read, until this is dropped.
    pub fn unsent(&self) -> Owed {
        Owed::new(self, Owing::Reading)
    }

    /// Resolves when the connection has to go, because it holds memory without progress while others wait.
    pub(crate) async fn evicted(&self) {
        self.0.evicted.notified().await;
    }

    pub(crate) fn note_received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Relaxed);
    }

    pub(crate) fn note_sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Relaxed);
    }

    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.0.balance().has()
    }

    #[cfg(test)]
    pub(super) fn has_unsent(&self) -> bool {
        self.0.has_unsent()
    }
}

impl Held for Inner {
    fn client(&self) -> (&'static str, SocketAddr) {
        (self.protocol, self.peer)
    }

    fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    fn moved(&self) -> (u64, u64) {
        (self.received.load(Relaxed), self.sent.load(Relaxed))
    }

    fn reasons(&self) -> Reasons {
        Reasons {
            lacks_input: self.unfinished.load(Relaxed) > 0,
            has_unsent: self.has_unsent(),
            is_parked: self.parked.load(Relaxed) > 0,
        }
    }

    fn evict(&self) {
        self.is_evicted.store(true, Relaxed);
        self.evicted.notify_one();
    }
}

impl Inner {
    fn balance(&self) -> MutexGuard<'_, Balance> {
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_unsent(&self) -> bool {
        self.unsent.load(Relaxed) > 0
    }

    fn try_hold(self: &Arc<Self>, more: usize) -> bool {
        let mut balance = self.balance();
        let lacks = balance.lacks(more);
        if lacks > 0 {
            let Some(taken) = self.try_take(balance.has(), lacks) else {
                return false;
            };
            balance.taken += taken;
            self.note(&balance, taken);
        }
        balance.held += more;
        true
    }

    fn try_take(&self, have: usize, lacks: usize) -> Option<usize> {
        let shared = &self.budget.0;
        let least = lacks.next_multiple_of(SMALL_PIECE_BYTES);
        let fits = |bytes: &usize| shared.try_take(have, *bytes, false);
        [shared.piece(lacks), least].into_iter().find(fits)
    }

    /// Holds more whether there is room or not.
    fn hold(self: &Arc<Self>, more: usize) {
        if self.try_hold(more) {
            return;
        }
        let mut balance = self.balance();
        let lacks = balance.lacks(more).next_multiple_of(SMALL_PIECE_BYTES);
        self.budget.0.used.fetch_add(lacks, Relaxed);
        balance.taken += lacks;
        balance.held += more;
        self.note(&balance, lacks);
    }

    fn credit(self: &Arc<Self>, grant: Grant) {
        let mut balance = self.balance();
        let (Grant::Share(bytes) | Grant::Excess(bytes)) = grant;
        match grant {
            Grant::Share(_) => balance.taken += bytes,
            Grant::Excess(_) => balance.excess += bytes,
        }
        self.note(&balance, bytes);
    }

    /// Notes in the budget that the account, which has just taken this much, holds some.
    fn note(self: &Arc<Self>, balance: &Balance, taken: usize) {
        self.taken.store(balance.has(), Relaxed);
        if balance.has() == taken && taken > 0 {
            let shared = &self.budget.0;
            let account: Weak<dyn Held> = Arc::<Self>::downgrade(self);
            shared.state().holders.add(self.name, account);
        }
    }

    fn release(&self, bytes: usize) {
        let mut balance = self.balance();
        balance.held -= bytes;
        self.give_back(&mut balance);
    }

    /// Gives back what is not needed: all of it when nothing is held or others wait, all but a piece otherwise.
    fn give_back(&self, balance: &mut Balance) {
        let shared = &self.budget.0;
        let needed = balance.held.saturating_sub(FREE_BYTES);
        let mut surplus = balance.has().saturating_sub(needed);
        if surplus == 0 {
            return;
        }
        let excess = surplus.min(balance.excess);
        balance.excess -= excess;
        surplus -= excess;
        if balance.held > 0 && shared.waiting.load(Relaxed) == 0 {
            surplus = surplus.saturating_sub(PIECE_BYTES);
        }
        balance.taken -= surplus;
        self.taken.store(balance.has(), Relaxed);
        if excess + surplus > 0 && balance.has() == 0 {
            shared.state().holders.remove(self.name);
        }
        if excess > 0 {
            shared.give_back_excess(self.name, excess);
        }
        if surplus > 0 {
            shared.give_back(surplus);
        }
        if self.waits.load(Relaxed) > 0 {
            shared.moved_up(self.name, balance.has());
        }
    }

    /// Lines up for what so many more bytes need. None when it was there after all.
    fn line_up(self: &Arc<Self>, more: usize) -> Option<Box<Wait>> {
        let shared = &self.budget.0;
        let balance = self.balance();
        let need = balance.lacks(more).next_multiple_of(SMALL_PIECE_BYTES);
        let have = balance.has();
        drop(balance);
        let mut state = shared.state();
        if let Some((name, taken)) = &mut state.excess
            && *name == self.name
            && *taken + need <= shared.spare
        {
            *taken += need;
            drop(state);
            self.credit(Grant::Excess(need));
            return None;
        }
        let place = Arc::new(Place::default());
        let age = state.waiters.add(self.name, have, need, &place);
        shared.waiting.store(state.waiters.len(), SeqCst);
        // Something may have been given back since it was looked for.
        shared.serve(&mut state);
        if let Some(grant) = place.take() {
            drop(state);
            self.credit(grant);
            return None;
        }
        shared.waits.fetch_add(1, Relaxed);
        self.waits.fetch_add(1, Relaxed);
        shared.warn(&mut state);
        Some(Box::new(Wait {
            place,
            age,
            look: Box::pin(sleep(LOOK)),
        }))
    }

    /// Leaves the line; what was given meanwhile goes back.
    fn leave(self: &Arc<Self>, wait: &Wait) {
        let shared = &self.budget.0;
        self.waits.fetch_sub(1, Relaxed);
        let mut state = shared.state();
        state.waiters.remove(wait.age);
        shared.waiting.store(state.waiters.len(), SeqCst);
        drop(state);
        if let Some(grant) = wait.place.take() {
            self.credit(grant);
            self.give_back(&mut self.balance());
        }
    }
}

/// A place in the line.
#[derive(Debug)]
struct Wait {
    place: Arc<Place>,
    age: u64,
    /// An account that waits looks now and then for those that make it wait.
    look: Pin<Box<Sleep>>,
}

/// Bytes of an account, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    account: Account,
    bytes: usize,
    wait: Option<Box<Wait>>,
}

impl Permit {
    /// The account it is of.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Bytes it is for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Grows to so many bytes in all, if there is room now.
    pub fn try_grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 && !self.account.0.try_hold(more) {
            return false;
        }
        self.bytes += more;
        true
    }

    /// Waits for room for so many bytes in all. Its place in the line stays when this is not polled any more, until the
    /// permit is dropped.
    pub fn poll_grow_to(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        loop {
            if let Some(wait) = &mut self.wait {
                while let Poll::Ready(()) = wait.look.as_mut().poll(cx) {
                    self.account.0.budget.0.look();
                    wait.look.set(sleep(LOOK));
                }
                let grant = ready!(wait.place.poll(cx));
                self.wait = None;
                self.account.0.waits.fetch_sub(1, Relaxed);
                self.account.0.credit(grant);
            }
            if self.try_grow_to(bytes) {
                return Poll::Ready(());
            }
            self.wait = self.account.0.line_up(bytes - self.bytes);
        }
    }

    /// Waits for room for so many bytes in all. What is larger than [`Budget::request_bytes_max`] may never find it.
    pub async fn grow_to(&mut self, bytes: usize) {
        poll_fn(|cx| self.poll_grow_to(cx, bytes)).await;
    }

    /// Is for so many bytes from now on, whether there is room or not: for what is there already, and for what cannot
    /// be known before. Should exceed what was asked for by little.
    pub fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.account.0.hold(bytes - self.bytes);
        } else if bytes < self.bytes {
            self.account.0.release(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Everything it is for, as another permit.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let bytes = std::mem::take(&mut self.bytes);
        Self {
            account: self.account.clone(),
            bytes,
            wait: self.wait.take(),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(wait) = self.wait.take() {
            self.account.0.leave(&wait);
        }
        self.set(0);
    }
}

/// Something a peer has to do before memory is free again.
#[derive(Debug)]
pub struct Owed {
    account: Account,
    what: Owing,
}

/// What that is.
#[derive(Debug, Clone, Copy)]
enum Owing {
    /// The rest of what it began to send.
    Input,
    /// To read what was sent.
    Reading,
    /// To end what it keeps open.
    End,
}

impl Owed {
    fn new(account: &Account, what: Owing) -> Self {
        let owed = Self {
            account: account.clone(),
            what,
        };
        owed.count().fetch_add(1, Relaxed);
        owed
    }

    fn count(&self) -> &AtomicUsize {
        let inner = &self.account.0;
        match self.what {
            Owing::Input => &inner.unfinished,
            Owing::Reading => &inner.unsent,
            Owing::End => &inner.parked,
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Relaxed);
    }
}

/// Bytes for a peer with the room they take, which is given back when the last of them was sent.
#[derive(Debug)]
pub struct HeldBytes<B> {
    bytes: B,
    _permit: Permit,
    _unsent: Owed,
}

impl<B: AsRef<[u8]> + Send + 'static> HeldBytes<B> {
    /// Has `bytes`, which take so much memory, hold room for it until all of them are dropped; what the permit is for
    /// besides is given back.
    pub fn of(bytes: B, takes: usize, mut permit: Permit) -> Bytes {
        permit.set(takes);
        let unsent = permit.account().unsent();
        Bytes::from_owner(Self {
            bytes,
            _permit: permit,
            _unsent: unsent,
        })
    }
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for HeldBytes<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// A permit that several parts of a connection grow.
#[derive(Clone, Debug)]
pub struct SharedPermit(Arc<Mutex<Permit>>);

impl SharedPermit {
    /// For nothing, to be grown.
    pub fn new(account: &Account) -> Self {
        Self(Arc::new(Mutex::new(account.permit())))
    }

    fn permit(&self) -> MutexGuard<'_, Permit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes it is for.
    pub fn bytes(&self) -> usize {
        self.permit().bytes()
    }

    /// The most one account finds room for sooner or later, whatever others hold.
    pub fn bytes_max(&self) -> usize {
        self.permit().account().budget().request_bytes_max()
    }

    /// Grows by so many bytes, if there is room now.
    pub fn try_take(&self, bytes: usize) -> bool {
        let mut permit = self.permit();
        let all = permit.bytes() + bytes;
        permit.try_grow_to(all)
    }

    /// Waits until it has grown by so many bytes.
    pub fn poll_take(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        let mut permit = self.permit();
        let all = permit.bytes() + bytes;
        permit.poll_grow_to(cx, all)
    }

    /// See [`Permit::set`].
    pub fn set(&self, bytes: usize) {
        self.permit().set(bytes);
    }

    /// Shrinks by so many bytes.
    pub fn give_back(&self, bytes: usize) {
        let mut permit = self.permit();
        let left = permit.bytes().saturating_sub(bytes);
        permit.set(left);
    }

    /// See [`Permit::take`].
    pub fn take(&self) -> Permit {
        self.permit().take()
    }
}
