//! Message groups: the messages of a queue partition that are ready, sorted by who must wait for whom.
//!
//! A queue partition without keys has one group. With keys each key has one while it has messages, and the set of
//! groups that can give something is kept in order of their oldest message, so that the next one is found at once
//! however many keys and messages there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::ensure::ensure;
use crate::place::{Behind, Place};
use crate::runs::Runs;

/// Number of a group; given anew when the group is gone.
pub type MessageGroupId = u32;

/// Keys up to this size are kept as they are; of longer ones a digest: a few bytes that open to a long key must not
/// take its length for as long as there are messages of it.
pub(crate) const KEY_BYTES_MAX: usize = 256;

/// A group's level, and its key as it is kept. Room for the longest that is kept.
struct Name([u8; 1 + KEY_BYTES_MAX], usize);

impl Name {
    fn new(level: u8, key: &[u8]) -> Self {
        let digest;
        let key = if key.len() <= KEY_BYTES_MAX {
            key
        } else {
            digest = Sha256::digest(key);
            &digest[..]
        };
        let mut name = [0; 1 + KEY_BYTES_MAX];
        name[0] = level;
        name[1..=key.len()].copy_from_slice(key);
        Self(name, 1 + key.len())
    }

    fn as_slice(&self) -> &[u8] {
        &self.0[..self.1]
    }
}

/// What a group takes in memory, its key left out, bytes: itself and its places in the tables; an estimate.
pub(crate) const GROUP_BYTES: usize = 256;
/// What a group takes besides once one of its messages was delivered or delayed.
const TOUCHED_BYTES: usize = 144;
/// Room for keys that nobody takes for too much.
const SPARE_MAX: usize = 4096;
/// What a message takes in a set of offsets.
const OFFSET_BYTES: usize = 14;
/// What a message takes that was put behind others.
const BEHIND_BYTES: usize = 80;

/// Messages of one key, or of none.
#[derive(Debug, Default)]
pub(crate) struct MessageGroup {
    /// Level and key; absent for the group of all messages without one.
    name: Option<Arc<[u8]>>,
    /// Priority.
    pub level: u8,
    /// Only in order: while a message is held, those behind it wait.
    pub ordered: bool,
    /// Never leased.
    ready: Runs,
    /// At which place the group is listed: that of its next message.
    listed: Option<Place>,
    /// Of messages that were delivered or delayed. Few groups have any.
    touched: Option<Box<Touched>>,
}

/// What a group knows of messages that were delivered or delayed.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Ready again at their own places, after a delivery or after a delay.
    returned: BTreeSet<u64>,
    /// Ready again, and put behind others.
    behind: Option<Box<Behind>>,
    /// Leased, or waiting for a retry.
    held: BTreeSet<u64>,
    /// Delayed ones, which do not hold up others but keep the group alive.
    pub delayed: u64,
    /// Messages in flight.
    pub leased: u32,
    /// How long receivers held this group's messages of late.
    pub busy: Busy,
}

/// Of a group none of whose messages was touched.
static UNTOUCHED: Touched = Touched {
    returned: BTreeSet::new(),
    behind: None,
    held: BTreeSet::new(),
    delayed: 0,
    leased: 0,
    busy: Busy {
        millis: 0.0,
        at_ms: 0,
    },
};

impl Touched {
    fn is_over(&self) -> bool {
        let has_ready = !self.returned.is_empty() || self.behind.is_some();
        !has_ready && self.held.is_empty() && self.delayed == 0 && self.leased == 0
    }

    fn behind_len(&self) -> usize {
        self.behind.as_ref().map_or(0, |behind| behind.len())
    }
}

/// A time that fades: halved every minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Busy {
    millis: f64,
    at_ms: u64,
}

const FADE_MS: f64 = 60_000.0;

impl Busy {
    /// How much is left at `now`.
    pub(crate) fn at(self, now: u64) -> f64 {
        let age = now.saturating_sub(self.at_ms) as f64;
        self.millis * (-age / FADE_MS).exp2()
    }

    /// Adds `millis` at `now`.
    pub(crate) fn add(&mut self, millis: u64, now: u64) {
        self.millis = self.at(now) + millis as f64;
        self.at_ms = now;
    }
}

impl MessageGroup {
    /// The key; absent for the group of all messages without one.
    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.name.as_deref().map(|name| &name[1..])
    }

    /// What is known of messages that were delivered or delayed.
    pub(crate) fn touched(&self) -> &Touched {
        self.touched.as_deref().unwrap_or(&UNTOUCHED)
    }

    /// The same, to be changed.
    pub(crate) fn touch(&mut self) -> &mut Touched {
        self.touched.get_or_insert_default()
    }

    /// What its messages take in memory, besides the group itself.
    fn heap_bytes(&self) -> usize {
        let touched = self.touched.as_ref().map_or(0, |touched| {
            let offsets = touched.returned.len() + touched.held.len();
            TOUCHED_BYTES + offsets * OFFSET_BYTES + touched.behind_len() * BEHIND_BYTES
        });
        self.ready.heap_bytes() + touched
    }

    /// The place of the next to be delivered.
    fn head(&self) -> Option<Place> {
        let touched = self.touched();
        let plain = match (touched.returned.first().copied(), self.ready.front()) {
            (Some(returned), Some(ready)) => Some(returned.min(ready)),
            (returned, ready) => returned.or(ready),
        };
        let plain = plain.map(|offset| (Place::own(offset), offset));
        let behind = touched.behind.as_deref().and_then(|behind| {
            if self.ordered {
                behind.by_offset(u64::MAX).next()
            } else {
                behind.by_place(u64::MAX).next()
            }
        });
        let both = plain.into_iter().chain(behind);
        let (place, offset) = both.min_by_key(|of| self.rank(*of))?;
        (offset < self.gate()).then_some(place)
    }

    /// What decides which of two messages of this group comes first.
    fn rank(&self, (place, offset): (Place, u64)) -> Place {
        if self.ordered {
            Place::own(offset)
        } else {
            place
        }
    }

    /// Messages from here on wait for one before them.
    fn gate(&self) -> u64 {
        if !self.ordered {
            return u64::MAX;
        }
        self.touched().held.first().copied().unwrap_or(u64::MAX)
    }

    /// Everything up to and including `last` that is ready and must not be delivered now.
    pub(crate) fn blocked(&self, last: u64) -> impl Iterator<Item = u64> + '_ {
        let gate = self.gate();
        let ready = self.all_ready().take_while(move |offset| *offset <= last);
        ready.filter(move |offset| *offset > gate)
    }

    /// Everything below `upto` that may be delivered now, next first.
    pub(crate) fn available(&self, upto: u64) -> impl Iterator<Item = (Place, u64)> + '_ {
        let upto = upto.min(self.gate());
        let behind = self.touched().behind.as_deref();
        let behind = behind.map(|behind| -> Box<dyn Iterator<Item = (Place, u64)>> {
            if self.ordered {
                Box::new(behind.by_offset(upto))
            } else {
                Box::new(behind.by_place(upto))
            }
        });
        let own = |offset| (Place::own(offset), offset);
        let plain = self.plain(upto).map(own);
        in_turn(plain, behind.into_iter().flatten(), |of| self.rank(*of))
    }

    /// Everything that is ready, lowest first, whether or not it may be delivered.
    fn all_ready(&self) -> impl Iterator<Item = u64> + '_ {
        let behind = self.touched().behind.iter();
        let behind = behind.flat_map(|behind| behind.by_offset(u64::MAX));
        let behind = behind.map(|(_, offset)| offset);
        in_turn(self.plain(u64::MAX), behind, |offset| *offset)
    }

    /// Everything below `upto` that is ready at its own place, rising.
    fn plain(&self, upto: u64) -> impl Iterator<Item = u64> + '_ {
        let returned = self.touched().returned.range(..upto).copied();
        let ready = self.ready.iter().take_while(move |offset| *offset < upto);
        in_turn(returned, ready, |offset| *offset)
    }

    fn is_idle(&self) -> bool {
        let touched = self.touched();
        let has_ready =
            !self.ready.is_empty() || !touched.returned.is_empty() || touched.behind.is_some();
        !has_ready && touched.held.is_empty() && touched.delayed == 0
    }

    /// Messages that are ready, behind held ones or not.
    fn ready_count(&self) -> u64 {
        let touched = self.touched();
        self.ready.len() + (touched.returned.len() + touched.behind_len()) as u64
    }

    /// Ready again at their own places, after a delivery or after a delay.
    pub(crate) fn returned(&self) -> impl Iterator<Item = u64> + '_ {
        self.touched().returned.iter().copied()
    }

    /// The lowest from an offset on that is ready at its own place.
    pub(crate) fn first_plain(&self, from: u64) -> Option<u64> {
        let returned = self.touched().returned.range(from..).next().copied();
        let mut runs = self.ready.runs();
        let run = runs.find(|(start, len)| start + len > from);
        let untouched = run.map(|(start, _)| start.max(from));
        returned.into_iter().chain(untouched).min()
    }

    /// Whether a message is ready here; takes as long as the group has runs.
    pub(crate) fn has(&self, offset: u64) -> bool {
        self.touched().returned.contains(&offset)
            || self.place(offset).is_some()
            || self.ready.has(offset)
    }

    /// The place of a ready message that was put behind others.
    pub(crate) fn place(&self, offset: u64) -> Option<Place> {
        self.touched().behind.as_ref()?.place(offset)
    }

    /// Takes a message out of those that are ready again; returns whether it was among them.
    fn take_returned(&mut self, offset: u64) -> bool {
        let Some(touched) = &mut self.touched else {
            return false;
        };
        if touched.returned.remove(&offset) {
            return true;
        }
        let Some(behind) = &mut touched.behind else {
            return false;
        };
        let was_there = behind.remove(offset);
        if behind.len() == 0 {
            touched.behind = None;
        }
        was_there
    }

    /// Keeps of the messages that are ready again at their own places only these.
    fn retain_again(&mut self, keep: impl FnMut(&u64) -> bool) {
        if let Some(touched) = &mut self.touched {
            touched.returned.retain(keep);
        }
    }

    /// Never leased, as runs.
    pub(crate) fn untouched(&self) -> &Runs {
        &self.ready
    }
}

/// Two sequences that rise by `rank` as one that does.
fn in_turn<T, R: Ord>(
    one: impl Iterator<Item = T>,
    other: impl Iterator<Item = T>,
    rank: impl Fn(&T) -> R,
) -> impl Iterator<Item = T> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(a), Some(b)) if rank(a) < rank(b) => one.next(),
        (Some(_), None) => one.next(),
        _ => other.next(),
    })
}

/// The groups of a queue partition.
#[derive(Debug, Default)]
pub(crate) struct MessageGroups {
    slots: Vec<Option<Box<MessageGroup>>>,
    free: Vec<MessageGroupId>,
    /// By level and key.
    by_name: HashMap<Arc<[u8]>, MessageGroupId>,
    /// The group of all messages without a key, by level.
    plain: BTreeMap<u8, MessageGroupId>,
    /// Groups that can give something: greatest priority first, then by the place of what comes next in each.
    listed: BTreeSet<(u8, Place, MessageGroupId)>,
    /// Which group a never-leased head belongs to; kept only while a queue partition is restored, when events name
    /// offsets whose group nobody knows.
    heads: Option<HashMap<u64, MessageGroupId>>,
    ready: u64,
    /// What keys and messages take in memory.
    heap_bytes: usize,
}

impl MessageGroups {
    /// Messages that are ready.
    pub(crate) fn ready(&self) -> u64 {
        self.ready
    }

    /// How many groups there are.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len() + self.plain.len()
    }

    /// What all of it takes in memory, bytes: an estimate. Runs of offsets of one group take nothing.
    pub(crate) fn bytes(&self) -> usize {
        self.by_name.len() * GROUP_BYTES + self.heap_bytes
    }

    /// Whether messages of this key have a group.
    pub(crate) fn has(&self, level: u8, key: &[u8]) -> bool {
        self.by_name.contains_key(Name::new(level, key).as_slice())
    }

    /// Whether a group exists.
    pub(crate) fn exists(&self, id: MessageGroupId) -> bool {
        self.slots.get(id as usize).is_some_and(Option::is_some)
    }

    /// Whether what is known of the groups agrees with what is in them; what does not, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (mut ready, mut listed) = (0, 0);
        for (id, group) in self.iter() {
            ready += group.ready_count();
            let head = group.head();
            ensure(head == group.listed, || {
                format!("group {id} is listed at {:?}, not {head:?}", group.listed)
            })?;
            let Some(head) = head else { continue };
            listed += 1;
            let is_listed = self.listed.contains(&(u8::MAX - group.level, head, id));
            ensure(is_listed, || format!("group {id} is not listed"))?;
        }
        ensure(self.ready == ready, || {
            format!("counts {} ready, not {ready}", self.ready)
        })?;
        ensure(self.listed.len() == listed, || {
            format!("lists {} groups, not {listed}", self.listed.len())
        })
    }

    /// A group that exists.
    pub(crate) fn get(&self, id: MessageGroupId) -> &MessageGroup {
        self.slots[id as usize]
            .as_deref()
            .expect("a group in use exists")
    }

    /// All groups with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (MessageGroupId, &MessageGroup)> {
        (0..)
            .zip(&self.slots)
            .filter_map(|(id, group)| Some((id, group.as_deref()?)))
    }

    /// Groups that can give something, with the places of what comes next in each, in their order.
    pub(crate) fn listed(&self) -> impl Iterator<Item = (Place, MessageGroupId)> + '_ {
        self.listed.iter().map(|(_, head, id)| (*head, *id))
    }

    /// How many groups can give something.
    pub(crate) fn listed_len(&self) -> usize {
        self.listed.len()
    }

    /// No message that was never given back, and could be delivered now, has an offset lower than this; and there is
    /// one of this offset, unless one of a lower offset was given back.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let mut oldest = None;
        let mut from = (0, Place::default(), 0);
        while let Some((level, head, _)) = self.listed.range(from..).next() {
            // What was put behind others stands at a higher offset than its own.
            oldest = Some(oldest.map_or(head.at, |o: u64| o.min(head.at)));
            match level.checked_add(1) {
                Some(next) => from = (next, Place::default(), 0),
                None => break,
            }
        }
        oldest
    }

    /// The group of a key, made when there is none.
    pub(crate) fn group(&mut self, level: u8, key: Option<&[u8]>, ordered: bool) -> MessageGroupId {
        let Some(key) = key else {
            if let Some(id) = self.plain.get(&level) {
                return *id;
            }
            let id = self.make(None, level, ordered);
            self.plain.insert(level, id);
            return id;
        };
        let name = Name::new(level, key);
        if let Some(id) = self.by_name.get(name.as_slice()) {
            return *id;
        }
        let name: Arc<[u8]> = Arc::from(name.as_slice());
        self.heap_bytes += name.len();
        let id = self.make(Some(Arc::clone(&name)), level, ordered);
        self.by_name.insert(name, id);
        id
    }

    fn make(&mut self, name: Option<Arc<[u8]>>, level: u8, ordered: bool) -> MessageGroupId {
        let group = Some(Box::new(MessageGroup {
            name,
            level,
            ordered,
            ..MessageGroup::default()
        }));
        if let Some(id) = self.free.pop() {
            self.slots[id as usize] = group;
            return id;
        }
        self.slots.push(group);
        MessageGroupId::try_from(self.slots.len() - 1).expect("fewer groups than fit in memory")
    }

    /// Adds messages nobody has seen yet.
    pub(crate) fn append(&mut self, id: MessageGroupId, start: u64, len: u64) {
        self.change(id, |group| group.ready.push(start, len));
    }

    /// A message is ready again, or for the first time after a delay: at its own place, or at another one.
    pub(crate) fn put_back(&mut self, id: MessageGroupId, offset: u64, place: Option<Place>) {
        self.change(id, |group| {
            let touched = group.touch();
            touched.held.remove(&offset);
            match place {
                Some(place) => {
                    let behind = touched.behind.get_or_insert_default();
                    behind.insert(offset, place);
                }
                None => drop(touched.returned.insert(offset)),
            }
        });
    }

    /// A message is held: it is no longer ready, and in an ordered group those behind it wait.
    pub(crate) fn hold(&mut self, id: MessageGroupId, offset: u64) {
        self.change(id, |group| {
            if !group.take_returned(offset) {
                group.ready.remove(offset);
            }
            group.touch().held.insert(offset);
        });
    }

    /// The same for a message that is not ready, which need not be looked for.
    pub(crate) fn hold_unready(&mut self, id: MessageGroupId, offset: u64) {
        self.change(id, |group| {
            group.touch().held.insert(offset);
        });
    }

    /// A message is gone, wherever it was.
    pub(crate) fn forget(&mut self, id: MessageGroupId, offset: u64) {
        self.change(id, |group| {
            let touched = group.touched.as_mut();
            let was_held = touched.is_some_and(|touched| touched.held.remove(&offset));
            if !was_held && !group.take_returned(offset) {
                group.ready.remove(offset);
            }
        });
    }

    /// Keeps a group although it has nothing, until [`MessageGroups::settle`].
    pub(crate) fn pin(&mut self, id: MessageGroupId) {
        self.note(id, |group| group.touch().delayed += 1);
    }

    /// Lets a pinned group go if it has nothing.
    pub(crate) fn settle(&mut self, id: MessageGroupId) {
        self.note(id, |group| group.touch().delayed -= 1);
    }

    /// Changes what is counted about a group, not what is in it.
    pub(crate) fn note(&mut self, id: MessageGroupId, note: impl FnOnce(&mut MessageGroup)) {
        self.change(id, note);
    }

    /// Forgets everything below `before` that is ready and was never given back.
    pub(crate) fn drop_before(&mut self, before: u64) {
        let ids: Vec<MessageGroupId> = self.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.change(id, |group| {
                group.ready.drop_before(before);
                group.retain_again(|offset| *offset >= before);
            });
        }
    }

    /// What is ready of a range of offsets, as ranges; those of different groups in no order.
    pub(crate) fn ready_in(&self, from: u64, upto: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let upto = upto.max(from);
        self.iter().flat_map(move |(_, group)| {
            let returned = group.touched().returned.range(from..upto);
            let returned = returned.map(|offset| (*offset, offset + 1));
            let runs = group
                .ready
                .runs()
                .map(move |(start, len)| (start.max(from), start.saturating_add(len).min(upto)));
            returned.chain(runs.filter(|(start, end)| start < end))
        })
    }

    /// Forgets what is ready of a range of offsets.
    pub(crate) fn drop_range(&mut self, from: u64, upto: u64) {
        let ids: Vec<MessageGroupId> = self.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.change(id, |group| {
                group.ready = group.ready.with((from, upto), &[]);
                group.retain_again(|offset| !(from..upto).contains(offset));
            });
        }
    }

    /// Up to `max` messages below `before` that are ready, whether or not they may be leased.
    pub(crate) fn ready_before(&self, before: u64, max: usize) -> Vec<(u64, MessageGroupId)> {
        let mut found = Vec::new();
        for (id, group) in self.iter() {
            let room = max - found.len();
            let ready = group.all_ready().take_while(|offset| *offset < before);
            found.extend(ready.take(room).map(|offset| (offset, id)));
        }
        found
    }

    /// Everything that is ready, of the lowest priority and oldest first.
    pub(crate) fn least(&self) -> impl Iterator<Item = (u64, MessageGroupId)> + '_ {
        let levels: BTreeSet<u8> = self.iter().map(|(_, group)| group.level).collect();
        levels.into_iter().flat_map(|level| {
            let groups = self.iter().filter(move |(_, group)| group.level == level);
            let mut rests: Vec<_> = groups
                .map(|(id, group)| (group.all_ready().peekable(), id))
                .collect();
            std::iter::from_fn(move || {
                let next = rests.iter_mut().filter_map(|(rest, id)| {
                    let offset = *rest.peek()?;
                    Some((offset, *id, rest))
                });
                let (offset, id, rest) = next.min_by_key(|(offset, ..)| *offset)?;
                rest.next();
                Some((offset, id))
            })
        })
    }

    /// Forgets everything below `before` that is ready, except `kept`.
    pub(crate) fn clear_before(&mut self, before: u64, kept: &[u64]) {
        let ids: Vec<MessageGroupId> = self.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.change(id, |group| {
                let is_kept = |offset: &u64| kept.binary_search(offset).is_ok();
                let untouched = kept.iter().filter(|offset| group.ready.has(**offset));
                let untouched: Vec<(u64, u64)> = untouched.map(|offset| (*offset, 1)).collect();
                group.ready = group.ready.with((0, before), &untouched);
                group.retain_again(|offset| *offset >= before || is_kept(offset));
            });
        }
    }

    /// Has messages of these rising runs ready, of which none is in any group.
    pub(crate) fn revive(&mut self, into: MessageGroupId, runs: &[(u64, u64)]) {
        self.change(into, |group| group.ready = group.ready.union(runs));
    }

    /// Forgets everything of a range that is ready in any group, and has all of it ready in one group instead; except
    /// `kept`, which stay what they are.
    pub(crate) fn refill(&mut self, into: MessageGroupId, (from, upto): (u64, u64), kept: &[u64]) {
        let mut runs = Vec::with_capacity(kept.len() + 1);
        let mut at = from;
        for offset in kept.iter().copied().chain([upto]) {
            runs.push((at, offset.saturating_sub(at)));
            at = offset + 1;
        }
        let is_kept = |offset: &u64| kept.binary_search(offset).is_ok();
        let ids: Vec<MessageGroupId> = self.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.change(id, |group| {
                let fill = if id == into { &runs[..] } else { &[] };
                group.ready = group.ready.with((from, upto), fill);
                group.retain_again(|offset| !(from..upto).contains(offset) || is_kept(offset));
            });
        }
    }

    /// The group a never-leased message belongs to; only while restoring.
    pub(crate) fn group_of_head(&self, offset: u64) -> Option<MessageGroupId> {
        self.heads.as_ref()?.get(&offset).copied()
    }

    /// Begins to keep track of heads.
    pub(crate) fn start_restoring(&mut self) {
        let heads = self
            .iter()
            .filter_map(|(id, group)| Some((group.ready.front()?, id)));
        self.heads = Some(heads.collect());
    }

    /// Stops keeping track of heads.
    pub(crate) fn stop_restoring(&mut self) {
        self.heads = None;
    }

    /// Changes one group, and what is known about it with it.
    fn change(&mut self, id: MessageGroupId, change: impl FnOnce(&mut MessageGroup)) {
        let group = self.slots[id as usize]
            .as_mut()
            .expect("a group in use exists");
        let (had, front, took) = (group.ready_count(), group.ready.front(), group.heap_bytes());
        change(group);
        // Who keeps receivers busy counts only where there is no order.
        if group.ordered && group.touched.as_ref().is_some_and(|t| t.is_over()) {
            group.touched = None;
        }
        self.ready = self.ready + group.ready_count() - had;
        self.heap_bytes = self.heap_bytes + group.heap_bytes() - took;
        if let Some(heads) = &mut self.heads
            && front != group.ready.front()
        {
            front.map(|front| heads.remove(&front));
            group.ready.front().map(|front| heads.insert(front, id));
        }
        let head = group.head();
        if head != group.listed {
            let rank = u8::MAX - group.level;
            if let Some(old) = group.listed {
                self.listed.remove(&(rank, old, id));
            }
            if let Some(head) = head {
                self.listed.insert((rank, head, id));
            }
            group.listed = head;
        }
        if group.is_idle() && group.name.is_some() {
            self.drop_group(id);
        }
    }

    /// Forgets a group that has nothing.
    fn drop_group(&mut self, id: MessageGroupId) {
        let Some(group) = self.slots[id as usize].take() else {
            return;
        };
        self.free.push(id);
        self.heap_bytes -= group.heap_bytes();
        if let Some(name) = group.name {
            self.by_name.remove(&name);
            self.heap_bytes -= name.len();
        }
        let groups = self.len();
        if groups == 0 {
            // No message has a number of a group any more.
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
        // What many groups took is given back when most of them are gone.
        if self.by_name.capacity() > SPARE_MAX && groups < self.by_name.capacity() / 8 {
            self.by_name.shrink_to(groups * 2);
        }
    }
}
