//! Sending what was routed: to one queue by its owner, to several by one append over all of them.
//!
//! A message for one queue goes to the queue's owner like any other that is sent, with all its neighbours for the same
//! queue. One for several queues is decided by the rules of each of them, and appended to all or to none: its sender
//! takes the partitions in hand for that moment, for as many messages at once as follow each other.
//!
//! What one sender hands over keeps its order in every queue. Taking a partition in hand overtakes the owner's mailbox:
//! so who has sent to it directly waits until that is decided. The other way round there is nothing to wait for: a
//! partition in hand is away, and what is sent to its owner meanwhile comes after it.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::{Enumerate, Peekable};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use storage::{Append, Batch, Durability, Lsn};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::borrow::{self, Hand, partition_of, shard_of};
use super::cuts::{COPIED_BYTES, Cuts, Written};
use super::queues::lane_of;
use super::{Broker, Inner, lanes};
use crate::partition::Decision;
use crate::queue::{Aside, LaneAt, NewMessage, Queue, Sent};
use crate::shard::{
    self, Admission, BATCH_BYTES, BATCH_RECORDS, Judged, Manner, PartitionAt, Sending, Then,
    Writing,
};
use crate::time::Moment;
use crate::{Error, Result};

/// Partitions taken in hand at once; one message may need more.
const PARTITIONS_MAX: usize = 128;

/// A message with the queues it goes to.
#[derive(Debug)]
pub struct Outgoing {
    /// The message.
    pub message: NewMessage,
    /// At least one queue.
    pub queues: Vec<Arc<Queue>>,
}

/// What one sender hands over keeps its order, as long as it is handed over with the same one of these.
#[derive(Debug, Default)]
pub struct SendOrder {
    /// Per shard: held by everything sent there that is not decided yet.
    open: Vec<Arc<()>>,
}

impl SendOrder {
    /// What is to be held by something sent to this shard until it is decided.
    fn hold(&mut self, shard: usize) -> Arc<()> {
        if self.open.len() <= shard {
            self.open.resize_with(shard + 1, Arc::default);
        }
        Arc::clone(&self.open[shard])
    }

    /// Whether something sent to this shard may not be decided yet.
    fn is_open(&self, shard: usize) -> bool {
        let open = self.open.get(shard);
        open.is_some_and(|open| Arc::strong_count(open) > 1)
    }
}

type Outcomes = Vec<Result<Sent>>;

/// Messages that were handed over.
#[derive(Debug)]
pub struct Sends {
    outcomes: Vec<Result<()>>,
    /// Which outcomes come from where.
    parts: Vec<(Vec<usize>, oneshot::Receiver<Result<Outcomes>>)>,
}

impl Sends {
    /// Waits for the outcomes, one per message in the order given: a message is on disk in all its queues, or in none.
    pub async fn done(mut self) -> Vec<Result<()>> {
        for (places, part) in self.parts {
            // An owner that has ended decides nothing any more.
            let decided = part.await.unwrap_or(Err(Error::Unavailable));
            match decided {
                Ok(decided) => {
                    for (place, outcome) in places.into_iter().zip(decided) {
                        self.outcomes[place] = outcome.map(|_| ());
                    }
                }
                Err(error) => {
                    for place in places {
                        self.outcomes[place] = Err(error.clone());
                    }
                }
            }
        }
        self.outcomes
    }
}

/// A message on its way: its place among all, and the lanes it goes to.
struct Leaving {
    place: usize,
    message: NewMessage,
    lanes: Vec<LaneAt>,
    /// Memory it takes on its way.
    room: usize,
}

/// Memory that a message takes on its way to its queues, at most: a large one once for all that get the same records, and
/// a little for each; a small one may be copied for each.
fn room_for(out: &Outgoing) -> usize {
    let (bytes, queues) = (out.message.held(), &out.queues);
    if queues.len() <= 1 {
        return bytes;
    }
    let copied = bytes.min(COPIED_BYTES).saturating_mul(queues.len());
    if bytes <= COPIED_BYTES {
        return copied;
    }
    let manners = queues.iter().map(|queue| Manner::of(queue.settings()));
    let manners: BTreeSet<Manner> = manners.collect();
    copied.saturating_add(bytes.saturating_mul(manners.len()))
}

/// Messages that are decided together with their partitions in hand.
#[derive(Default)]
struct Group {
    messages: Vec<Leaving>,
    bytes: usize,
    /// Which lane of which partition takes part.
    partitions: BTreeMap<PartitionAt, LaneAt>,
}

impl Group {
    /// Whether one more message may come along. One queue of each partition may take part: the records of a partition
    /// are its queues' common ones.
    fn has_room(&self, message: &NewMessage, lanes: &[LaneAt]) -> bool {
        let same = |at: &LaneAt| {
            let known = self.partitions.get(&partition_of(*at));
            known.is_none_or(|known| known == at)
        };
        let fits = (self.messages.len() as u64) < BATCH_RECORDS
            && self.bytes + message.held() <= BATCH_BYTES
            && self.partitions.len() + lanes.len() <= PARTITIONS_MAX;
        self.messages.is_empty() || (fits && lanes.iter().all(same))
    }

    fn add(&mut self, leaving: Leaving) {
        self.bytes += leaving.message.held();
        let lanes = leaving.lanes.iter().map(|at| (partition_of(*at), *at));
        self.partitions.extend(lanes);
        self.messages.push(leaving);
    }
}

impl Broker {
    /// Hands messages over, in order, and returns once they are; whether they may be sent was decided when they were
    /// routed. Waits while the broker holds too many bytes that are being published. Outcomes per message: `QueueFull`,
    /// `TooLarge`, `Throttled`, `DiskFull`; `UnknownQueue` when all its queues are gone since: one that is gone counts
    /// as never found.
    pub async fn send_routed(&self, order: &mut SendOrder, messages: Vec<Outgoing>) -> Sends {
        let rooms: Vec<usize> = messages.iter().map(room_for).collect();
        let bytes = rooms.iter().copied().fold(0, usize::saturating_add);
        let mut handing = Handing {
            broker: self,
            order,
            permit: self.room(bytes).await,
            sends: Sends {
                outcomes: messages.iter().map(|_| Err(Error::UnknownQueue)).collect(),
                parts: Vec::new(),
            },
        };
        let mut rest = Rest {
            inner: &self.inner,
            messages: messages.into_iter().enumerate().peekable(),
            rooms,
            next: None,
        };
        while rest.fill() {
            handing.tell_owners(rest.direct()).await;
            let group = rest.group();
            if !group.messages.is_empty() {
                handing.fan_out(group).await;
            }
        }
        handing.sends
    }
}

/// The messages that are still to be handed over.
struct Rest<'b> {
    inner: &'b Inner,
    messages: Peekable<Enumerate<std::vec::IntoIter<Outgoing>>>,
    rooms: Vec<usize>,
    /// The next one, with its lanes.
    next: Option<Leaving>,
}

impl Rest<'_> {
    /// Looks at the next message; false when there is none.
    fn fill(&mut self) -> bool {
        while self.next.is_none() {
            let Some((place, out)) = self.messages.next() else {
                return false;
            };
            let lanes = lanes_of(self.inner, &out);
            let message = out.message;
            self.next = (!lanes.is_empty()).then_some(Leaving {
                place,
                message,
                lanes,
                room: self.rooms[place],
            });
        }
        true
    }

    /// The next messages as long as they go to one queue each, by their lanes.
    fn direct(&mut self) -> BTreeMap<LaneAt, (Vec<usize>, Vec<NewMessage>)> {
        let mut shares: BTreeMap<LaneAt, (Vec<usize>, Vec<NewMessage>)> = BTreeMap::new();
        while self.fill()
            && let Some(leaving) = self.next.take_if(|next| next.lanes.len() == 1)
        {
            let share = shares.entry(leaving.lanes[0]).or_default();
            share.0.push(leaving.place);
            share.1.push(leaving.message);
        }
        shares
    }

    /// The next messages that can be decided together. Once there is one for several queues, those for one come along.
    fn group(&mut self) -> Group {
        let mut group = Group::default();
        while self.fill()
            && let Some(leaving) = self
                .next
                .take_if(|next| group.has_room(&next.message, &next.lanes))
        {
            group.add(leaving);
        }
        group
    }
}

/// The lanes a message goes to: one for each topic, as the queues of a topic share its records.
fn lanes_of(inner: &Inner, out: &Outgoing) -> Vec<LaneAt> {
    let mut lanes: Vec<LaneAt> = Vec::with_capacity(out.queues.len());
    for queue in &out.queues {
        let turn = match queue.lanes {
            0 | 1 => 0,
            _ => inner.turn.fetch_add(1, Relaxed) as u64,
        };
        lanes.push(LaneAt {
            topic: queue.document.topic,
            index: lane_of(queue, out.message.key.as_deref(), turn),
            queue: queue.id(),
        });
    }
    if lanes.len() > 1 {
        lanes.sort_unstable();
        lanes.dedup_by_key(|at| at.topic);
    }
    lanes
}

/// Messages being handed over.
struct Handing<'b> {
    broker: &'b Broker,
    order: &'b mut SendOrder,
    permit: Option<OwnedSemaphorePermit>,
    sends: Sends,
}

impl Handing<'_> {
    /// Hands messages to the owners of their lanes.
    async fn tell_owners(&mut self, shares: BTreeMap<LaneAt, (Vec<usize>, Vec<NewMessage>)>) {
        let inner = &*self.broker.inner;
        for (at, (places, messages)) in shares {
            let bytes = messages.iter().map(NewMessage::held).sum();
            let (done, decided) = oneshot::channel();
            let sending = Sending {
                at,
                messages,
                permit: share_of(&mut self.permit, bytes),
                order: Some(self.order.hold(shard_of(inner, partition_of(at)))),
                done,
            };
            // An owner that has ended says nothing, and that is its answer.
            let _ = lanes::tell(inner, at, shard::Command::Send(sending)).await;
            self.sends.parts.push((places, decided));
        }
    }

    /// Takes the partitions of all messages in hand, decides, and appends once.
    async fn fan_out(&mut self, group: Group) {
        let inner = &*self.broker.inner;
        let partitions: BTreeSet<PartitionAt> = group.partitions.keys().copied().collect();
        let places = group.messages.iter().map(|leaving| leaving.place).collect();
        let rooms = group.messages.iter().map(|leaving| leaving.room);
        let permit = share_of(&mut self.permit, rooms.fold(0, usize::saturating_add));
        let (done, decided) = oneshot::channel();
        self.sends.parts.push((places, decided));
        let hand = match self.fence(&partitions).await {
            Ok(()) => borrow::borrow(inner, &partitions).await,
            Err(error) => Err(error),
        };
        match hand {
            Ok(hand) => {
                let answer = |outcomes| {
                    drop(permit);
                    let _ = done.send(Ok(outcomes));
                };
                place(inner, hand, &group.messages, answer);
            }
            Err(error) => drop(done.send(Err(error))),
        }
    }

    /// Waits until everything is decided that was sent directly to the owners of these partitions.
    async fn fence(&self, partitions: &BTreeSet<PartitionAt>) -> Result<()> {
        let inner = &*self.broker.inner;
        let mut shares: BTreeMap<usize, Vec<PartitionAt>> = BTreeMap::new();
        for at in partitions {
            let shard = shard_of(inner, *at);
            if self.order.is_open(shard) {
                shares.entry(shard).or_default().push(*at);
            }
        }
        let mut fences = Vec::with_capacity(shares.len());
        for (shard, partitions) in shares {
            let (done, decided) = oneshot::channel();
            let fence = shard::Command::Fence { partitions, done };
            let told = inner.shards[shard].send(fence).await;
            told.map_err(|_| Error::Unavailable)?;
            fences.push(decided);
        }
        for decided in fences {
            decided.await.map_err(|_| Error::Unavailable)?;
        }
        Ok(())
    }
}

/// A part's share of what all hold together.
fn share_of(
    permit: &mut Option<OwnedSemaphorePermit>,
    bytes: usize,
) -> Option<OwnedSemaphorePermit> {
    let permit = permit.as_mut()?;
    permit.split(bytes.min(permit.num_permits()))
}

/// Decides all messages of a group, appends what is let in, and gives the partitions back; they answer when the log
/// has it.
fn place(
    inner: &Inner,
    hand: Hand,
    messages: &[Leaving],
    answer: impl FnOnce(Outcomes) + Send + 'static,
) {
    let mut placing = Placing {
        now: inner.clock.moment(),
        hand,
        shares: BTreeMap::new(),
        cuts: Cuts::default(),
    };
    let outcomes = messages.iter().enumerate();
    let outcomes: Outcomes = outcomes.map(|message| placing.admit(message)).collect();
    match placing.append(inner, messages) {
        Ok(reached) => {
            placing.doom(inner);
            placing.answer(reached, Box::new(move || answer(outcomes)));
        }
        // Repeats fail with their originals, some of which may be among these.
        Err(error) => {
            let failed = outcomes
                .into_iter()
                .map(|outcome| outcome.and_then(|_| Err(error.clone())));
            answer(failed.collect());
        }
    }
}

/// A group's messages between decision and append.
struct Placing {
    now: Moment,
    hand: Hand,
    shares: BTreeMap<LaneAt, Share>,
    /// Of what is let in, by the messages' places in the group.
    cuts: Cuts<LaneAt, Manner>,
}

/// What one lane gets of a group.
struct Share {
    admission: Admission,
    manner: Manner,
}

impl Share {
    fn new(admission: Admission) -> Self {
        Self {
            manner: Manner::of(admission.queue.settings()),
            admission,
        }
    }
}

/// A batch with its final place.
struct Placed {
    at: LaneAt,
    batch: Batch,
    /// Of its messages.
    bytes: u64,
}

impl Placing {
    /// Decides what becomes of one message: in all its queues that are still there, or in none. Only a queue that is
    /// full stands back for the others, whose receivers are not to blame; its sender hears of it.
    fn admit(&mut self, (place, leaving): (usize, &Leaving)) -> Result<Sent> {
        let Self {
            now,
            hand,
            shares,
            cuts,
        } = self;
        let mut judged: Vec<(LaneAt, Judged)> = Vec::with_capacity(leaving.lanes.len());
        let mut full = None;
        for at in &leaving.lanes {
            let Some(owned) = hand.partition(partition_of(*at)) else {
                continue;
            };
            let end = owned.ledger.end;
            let Some(lane) = hand.lane(*at) else { continue };
            let fresh = || Share::new(Admission::new(*at, Arc::clone(&lane.queue), end, *now));
            let share = shares.entry(*at).or_insert_with(fresh);
            match share.admission.judge(&lane.lane, &leaving.message) {
                Err(error @ (Error::QueueFull | Error::QueueStateFull)) => full = Some(error),
                other => judged.push((*at, other?)),
            }
        }
        let mut first = Err(Error::UnknownQueue);
        let mut lets_in = Vec::with_capacity(judged.len());
        for (at, judged) in judged {
            if matches!(judged, Judged::Doomed) {
                full = Some(Error::QueueFull);
            }
            if let Some(share) = shares.get_mut(&at) {
                let sent = share.admission.take(&judged, &leaving.message);
                if !sent.duplicate {
                    lets_in.push((at, share.manner));
                }
                first = first.or(Ok(sent));
            }
        }
        cuts.add((place, leaving.message.held()), &lets_in);
        full.map_or(first, Err)
    }

    /// Appends to all lanes at once and applies; returns what answers wait for.
    fn append(&mut self, inner: &Inner, messages: &[Leaving]) -> Result<(Lsn, Durability)> {
        let placed = self.write(messages)?;
        let mut reached = (Lsn(0), Durability::Flush);
        let durable = inner.log.progress().borrow().durable;
        for owned in self.hand.all() {
            // A repeat is not confirmed before its original is durable.
            reached.0 = reached.0.max(owned.last_lsn);
            if owned.durability(durable) != Durability::Flush {
                reached.1 = Durability::Sync;
            }
        }
        if placed.is_empty() {
            return Ok(reached);
        }
        let mut appends = Vec::with_capacity(placed.len());
        for Placed { at, batch, .. } in &placed {
            if let Some(owned) = self.hand.partition(partition_of(*at)) {
                appends.push(Append {
                    stream: owned.partition.records(),
                    batch: batch.clone(),
                });
            }
        }
        reached.0 = inner.log.append(appends, reached.1)?;
        for Placed { at, batch, bytes } in placed {
            let partition = partition_of(at);
            let Some(owned) = self.hand.partition(partition) else {
                continue;
            };
            let upto = owned.accept(Some(&batch), reached, self.now);
            let records = u64::from(batch.header.record_count.unsigned_abs());
            inner.metrics.published(records, batch.bytes() as u64);
            if let Some(lane) = self.hand.lane(at) {
                lane.queue.numbers.sent(records, bytes);
            }
            let then = Then {
                reached,
                upto: Some(upto),
                answer: None,
            };
            self.hand.then(partition, then);
        }
        Ok(reached)
    }

    /// Gives all batches their places. Those that are the same for several lanes are written once.
    fn write(&mut self, group: &[Leaving]) -> Result<Vec<Placed>> {
        let Self {
            now, hand, cuts, ..
        } = self;
        let mut written = Written::default();
        let mut placed = Vec::with_capacity(cuts.len());
        for (at, batches) in cuts.iter() {
            let Some(owned) = hand.partition(partition_of(at)) else {
                continue;
            };
            let mut base = owned.ledger.end;
            for runs in batches {
                let messages = || {
                    let messages = cuts.messages(runs);
                    messages.map(|(place, manner)| (&group[place].message, manner))
                };
                let batch = written.batch(runs, || {
                    let mut writing = Writing::new(*now);
                    messages().for_each(|(message, manner)| writing.push(message, manner));
                    writing.build()
                });
                let decided = owned
                    .ledger
                    .decide_at(base, batch, &owned.config, now.wall)?;
                let Decision::Append(batch) = decided else {
                    continue;
                };
                base = batch.header.next_offset();
                let bytes = messages().map(|(message, _)| message.bytes() as u64).sum();
                placed.push(Placed { at, batch, bytes });
            }
        }
        Ok(placed)
    }

    /// Tells the owners which messages were let in only to be dead-lettered. They hear it when they have their partitions
    /// again.
    fn doom(&self, inner: &Inner) {
        for (at, share) in &self.shares {
            let offsets = share.admission.doomed().to_vec();
            if !offsets.is_empty() {
                inner.tell_aside(*at, Aside::TooMany { at: *at, offsets });
            }
        }
    }

    /// Gives the partitions back; the owner of one of them answers when the log has come far enough.
    fn answer(mut self, reached: (Lsn, Durability), answer: Box<dyn FnOnce() + Send>) {
        match self.hand.first() {
            Some(at) => self.hand.answer(at, reached, answer),
            None => answer(),
        }
    }
}
