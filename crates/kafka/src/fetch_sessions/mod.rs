//! Fetch sessions: what a consumer reads is remembered, so that its next request names only what changed, and the
//! answer only what is new.
//!
//! The cache is shared by all connections and bounded twice, by sessions and by the partitions in them. A session
//! gives way to a new one when it was not used for two minutes, or when it is that old and the new one is larger.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::error::Code;
use crate::wire::FetchRequest;
use crate::wire::fetch::{FetchPartition, PartitionData};

/// Sessions unused for this long give way to any other; ones that are younger give way to none that is used, ms.
const EVICTION_MS: u64 = 120_000;
/// Partitions all sessions together may remember.
const PARTITIONS_MAX: usize = 500_000;
/// No session.
const NONE: i32 = 0;
/// Epoch of a request that opens a session.
const INITIAL_EPOCH: i32 = 0;
/// Epoch of a request that wants none.
const FINAL_EPOCH: i32 = -1;
/// First version that names topics by id.
const TOPIC_ID_SINCE: i16 = 13;

/// How a request names a topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Topic {
    Name(Arc<str>),
    Id(Uuid),
}

/// A partition as a client asked for it last.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) topic: Topic,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) bytes_max: i32,
    pub(crate) epoch: i32,
    /// What the client got last.
    high_watermark: i64,
    start: i64,
}

impl Wanted {
    fn new(topic: Topic, asked: &FetchPartition) -> Self {
        Self {
            topic,
            partition: asked.partition,
            offset: asked.fetch_offset,
            bytes_max: asked.partition_max_bytes,
            epoch: asked.current_leader_epoch,
            high_watermark: -1,
            start: -1,
        }
    }

    /// Whether the client has to get it; remembers what it gets.
    fn is_news(&mut self, data: &PartitionData) -> bool {
        let failed = data.error_code != 0;
        let told = (self.high_watermark, self.start);
        // After an error the partition is news again, whatever it has.
        self.high_watermark = if failed { -1 } else { data.high_watermark };
        self.start = data.log_start_offset;
        failed || !data.records.is_empty() || told != (data.high_watermark, data.log_start_offset)
    }
}

/// What a fetch is about.
#[derive(Debug)]
pub(crate) struct Fetching {
    /// What to read, in order.
    pub(crate) wanted: Vec<Wanted>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Everything is named and answered, and nothing remembered.
    Sessionless,
    /// Everything is named and answered, and remembered if there is room.
    Full { by_id: bool },
    /// What is not named is remembered; what has not changed is left out of the answer.
    Incremental { id: i32, epoch: i32 },
}

/// All sessions.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    slots: usize,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    sessions: HashMap<i32, Session>,
    /// By last use, ms.
    used: BTreeSet<(u64, i32)>,
    /// Those old enough to give way to a larger one, by size.
    evictable: BTreeSet<(usize, i32)>,
    partitions: usize,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    by_id: bool,
    created_ms: u64,
    used_ms: u64,
    /// Size under which it is listed.
    size: usize,
    places: HashMap<(Topic, i32), u64>,
    /// By place: who had records goes to the end, so that none starves.
    wanted: BTreeMap<u64, Wanted>,
    next_place: u64,
}

impl FetchSessions {
    /// Room for so many sessions; 0: none are opened.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots,
            cache: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a request asks for, its session's memory included.
    pub(crate) fn begin(
        &self,
        request: &FetchRequest<'_>,
        version: i16,
        now: u64,
    ) -> Result<Fetching, Code> {
        let by_id = version >= TOPIC_ID_SINCE;
        if matches!(request.session_epoch, INITIAL_EPOCH | FINAL_EPOCH) {
            // A full fetch ends the session it names.
            if request.session_id != NONE {
                self.lock().remove(request.session_id);
            }
            let kind = match request.session_epoch {
                INITIAL_EPOCH => Kind::Full { by_id },
                _ => Kind::Sessionless,
            };
            let wanted = named(request, by_id);
            return Ok(Fetching { wanted, kind });
        }
        let (id, mut cache) = (request.session_id, self.lock());
        let room = PARTITIONS_MAX.saturating_sub(cache.partitions);
        let session = cache
            .sessions
            .get_mut(&id)
            .ok_or(Code::FetchSessionIdNotFound)?;
        if session.epoch != request.session_epoch {
            return Err(Code::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(Code::FetchSessionTopicIdError);
        }
        let named = named(request, by_id);
        if named.len() > room {
            // The client starts over, and is served without a session.
            cache.remove(id);
            return Err(Code::FetchSessionIdNotFound);
        }
        session.update(&named);
        session.forget(request, by_id);
        if session.wanted.is_empty() {
            cache.remove(id);
            let kind = Kind::Sessionless;
            return Ok(Fetching {
                wanted: named,
                kind,
            });
        }
        session.epoch = next_epoch(session.epoch);
        let kind = Kind::Incremental {
            id,
            epoch: session.epoch,
        };
        let wanted = session.wanted.values().cloned().collect();
        cache.touch(id, now);
        Ok(Fetching { wanted, kind })
    }

    /// Takes note of an answer, and leaves out what the client knows. Returns its session's id; `fresh_id` makes one.
    pub(crate) fn finish(
        &self,
        fetching: Fetching,
        answers: &mut Vec<(Topic, PartitionData)>,
        now: u64,
        fresh_id: impl FnMut() -> i32,
    ) -> Result<i32, (Code, i32)> {
        match fetching.kind {
            Kind::Sessionless => Ok(NONE),
            Kind::Full { by_id } => Ok(self.open((fetching.wanted, by_id), answers, now, fresh_id)),
            Kind::Incremental { id, epoch } => {
                let mut cache = self.lock();
                // Another request of the session was served meanwhile, or the session gave way.
                let session = cache.sessions.get_mut(&id).filter(|s| s.epoch == epoch);
                let session = session.ok_or((Code::InvalidFetchSessionEpoch, id))?;
                answers.retain(|(topic, data)| session.tell(topic, data));
                Ok(id)
            }
        }
    }

    fn open(
        &self,
        (mut wanted, by_id): (Vec<Wanted>, bool),
        answers: &[(Topic, PartitionData)],
        now: u64,
        mut fresh_id: impl FnMut() -> i32,
    ) -> i32 {
        let mut cache = self.lock();
        if wanted.is_empty() || !cache.has_room(self.slots, wanted.len(), now) {
            return NONE;
        }
        for (wanted, (_, data)) in wanted.iter_mut().zip(answers) {
            wanted.is_news(data);
        }
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            by_id,
            created_ms: now,
            used_ms: now,
            size: 0,
            places: HashMap::with_capacity(wanted.len()),
            wanted: BTreeMap::new(),
            next_place: 0,
        };
        for wanted in wanted {
            session.put(wanted);
        }
        let id = loop {
            let id = fresh_id() & i32::MAX;
            if id != NONE && !cache.sessions.contains_key(&id) {
                break id;
            }
        };
        cache.used.insert((now, id));
        cache.sessions.insert(id, session);
        cache.touch(id, now);
        id
    }
}

fn next_epoch(epoch: i32) -> i32 {
    // Zero and below mean something else.
    epoch.checked_add(1).unwrap_or(1)
}

fn topic(name: &str, id: Uuid, by_id: bool) -> Topic {
    if by_id {
        Topic::Id(id)
    } else {
        Topic::Name(name.into())
    }
}

fn named(request: &FetchRequest<'_>, by_id: bool) -> Vec<Wanted> {
    let count = request.topics.iter().map(|t| t.partitions.len()).sum();
    let mut wanted = Vec::with_capacity(count);
    for of in &request.topics {
        let topic = topic(&of.topic, of.topic_id, by_id);
        let each = of.partitions.iter();
        wanted.extend(each.map(|asked| Wanted::new(topic.clone(), asked)));
    }
    wanted
}

impl Session {
    fn put(&mut self, wanted: Wanted) {
        let key = (wanted.topic.clone(), wanted.partition);
        if let Some(place) = self.places.get(&key) {
            self.wanted.insert(*place, wanted);
            return;
        }
        self.places.insert(key, self.next_place);
        self.wanted.insert(self.next_place, wanted);
        self.next_place += 1;
    }

    fn update(&mut self, named: &[Wanted]) {
        for new in named {
            let key = (new.topic.clone(), new.partition);
            let known = self.places.get(&key).and_then(|at| self.wanted.get_mut(at));
            match known {
                Some(known) => {
                    known.offset = new.offset;
                    known.bytes_max = new.bytes_max;
                    known.epoch = new.epoch;
                }
                None => self.put(new.clone()),
            }
        }
    }

    fn forget(&mut self, request: &FetchRequest<'_>, by_id: bool) {
        for of in &request.forgotten_topics_data {
            let topic = topic(&of.topic, of.topic_id, by_id);
            for partition in &of.partitions {
                if let Some(place) = self.places.remove(&(topic.clone(), *partition)) {
                    self.wanted.remove(&place);
                }
            }
        }
    }

    /// Whether an answer has to be sent; what has records waits behind the others next time.
    fn tell(&mut self, topic: &Topic, data: &PartitionData) -> bool {
        let key = (topic.clone(), data.partition_index);
        let Some(place) = self.places.get(&key).copied() else {
            return true;
        };
        let Some(wanted) = self.wanted.get_mut(&place) else {
            return true;
        };
        let is_news = wanted.is_news(data);
        if !data.records.is_empty()
            && let Some(wanted) = self.wanted.remove(&place)
        {
            self.places.remove(&key);
            self.put(wanted);
        }
        is_news
    }
}

impl Cache {
    /// Whether a session of so many partitions can be opened; makes room if another one has to give way to it.
    fn has_room(&mut self, slots: usize, size: usize, now: u64) -> bool {
        if slots == 0 || size > PARTITIONS_MAX.saturating_sub(self.partitions) {
            return false;
        }
        if self.sessions.len() < slots {
            return true;
        }
        let stale = self.used.first().filter(|(used, _)| is_old(*used, now));
        let smaller = self.evictable.first().filter(|(least, _)| *least < size);
        let Some(id) = stale
            .map(|(_, id)| *id)
            .or_else(|| smaller.map(|(_, id)| *id))
        else {
            return false;
        };
        self.remove(id);
        true
    }

    fn remove(&mut self, id: i32) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        self.used.remove(&(session.used_ms, id));
        self.evictable.remove(&(session.size, id));
        self.partitions -= session.size;
    }

    /// Lists a session anew: by its use, and by its size.
    fn touch(&mut self, id: i32, now: u64) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        self.used.remove(&(session.used_ms, id));
        session.used_ms = now;
        self.used.insert((now, id));
        self.evictable.remove(&(session.size, id));
        self.partitions -= session.size;
        session.size = session.wanted.len();
        self.partitions += session.size;
        if is_old(session.created_ms, now) {
            self.evictable.insert((session.size, id));
        }
    }
}

fn is_old(since: u64, now: u64) -> bool {
    now.saturating_sub(since) > EVICTION_MS
}
