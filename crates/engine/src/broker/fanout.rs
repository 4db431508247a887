//! Sending what was routed: to one queue by its owner, to several by one append over all of them.
//!
//! A message for one queue goes to the queue's owner like any other that is sent, with all its neighbours for the same
//! queue. One for several queues is decided by the rules of each of them, and appended to all or to none: its sender
//! takes the partitions in hand for that moment, for as many messages at once as follow each other.
//!
//! What one sender hands over keeps its order in every queue: what it sends to one queue waits for the partition's lock in
//! the order in which it was sent, and who takes the lock for several does first what waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::{Enumerate, Peekable};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::cuts::{COPIED_BYTES, Cuts, Written};
use super::queues::queue_partition_of;
use super::{Broker, Inner, partition_of};
use crate::exchange::Route;
use crate::owner::{
    Admission, Admitted, BATCH_BYTES, BATCH_RECORDS, BatchDraft, PartitionKey, RecordLayout, Turn,
};
use crate::queue::{NewMessage, Queue, QueuePartitionId, Sent};
use crate::time::Moment;
use crate::{Error, Result};

/// Partitions locked at once; one message may need more.
const PARTITIONS_MAX: usize = 128;

/// A message with the queues it goes to.
#[derive(Debug)]
pub struct Outgoing {
    message: NewMessage,
    queues: Vec<Arc<Queue>>,
}

impl Outgoing {
    /// A message on its route; nothing when that leads to no queue. It waits as its exchange says.
    pub fn new(message: NewMessage, route: Route) -> Option<Self> {
        let Route { queues, delay_ms } = route;
        let message = NewMessage {
            delay_ms: delay_ms.or(message.delay_ms),
            ..message
        };
        (!queues.is_empty()).then_some(Self { message, queues })
    }

    /// Bytes of its body.
    pub fn body_bytes(&self) -> usize {
        self.message.body.len()
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

/// A message on its way: its place among all, and the queue partitions it goes to.
pub(super) struct Leaving {
    place: usize,
    message: NewMessage,
    pub(super) queue_partitions: Vec<QueuePartitionId>,
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
    let layouts = queues
        .iter()
        .map(|queue| RecordLayout::of(queue.settings()));
    let layouts: BTreeSet<RecordLayout> = layouts.collect();
    copied.saturating_add(bytes.saturating_mul(layouts.len()))
}

/// Memory that messages take on their way together.
pub(super) fn room_of(messages: &[Outgoing]) -> usize {
    messages.iter().map(room_for).fold(0, usize::saturating_add)
}

/// Messages with the queue partitions they go to; those all of whose queues are gone are left out.
pub(super) fn leaving(inner: &Inner, messages: Vec<Outgoing>) -> Vec<Leaving> {
    let leaving = messages
        .into_iter()
        .enumerate()
        .map(|(place, out)| Leaving {
            place,
            room: room_for(&out),
            queue_partitions: queue_partitions_of(inner, &out),
            message: out.message,
        });
    leaving
        .filter(|leaving| !leaving.queue_partitions.is_empty())
        .collect()
}

/// Messages that are decided together, with their partitions locked.
#[derive(Default)]
struct Group {
    messages: Vec<Leaving>,
    bytes: usize,
    /// Which queue partition of which partition takes part.
    partitions: BTreeMap<PartitionKey, QueuePartitionId>,
}

impl Group {
    /// Whether one more message may come along. One queue of each partition may take part: the records of a partition
    /// are its queues' common ones.
    fn has_room(&self, message: &NewMessage, queue_partitions: &[QueuePartitionId]) -> bool {
        let same = |at: &QueuePartitionId| {
            let known = self.partitions.get(&partition_of(*at));
            known.is_none_or(|known| known == at)
        };
        let fits = (self.messages.len() as u64) < BATCH_RECORDS
            && self.bytes + message.held() <= BATCH_BYTES
            && self.partitions.len() + queue_partitions.len() <= PARTITIONS_MAX;
        self.messages.is_empty() || (fits && queue_partitions.iter().all(same))
    }

    fn add(&mut self, leaving: Leaving) {
        self.bytes += leaving.message.held();
        let queue_partitions = leaving
            .queue_partitions
            .iter()
            .map(|at| (partition_of(*at), *at));
        self.partitions.extend(queue_partitions);
        self.messages.push(leaving);
    }
}

impl Broker {
    /// Hands messages over, in order, and returns once they are; whether they may be sent was decided when they were
    /// routed. Waits while the broker holds too many bytes that are being published. Outcomes per message: `QueueFull`,
    /// `TooLarge`, `Throttled`, `DiskFull`; `UnknownQueue` when all its queues are gone since: one that is gone counts
    /// as never found.
    pub async fn send_routed(&self, messages: Vec<Outgoing>) -> Sends {
        let rooms: Vec<usize> = messages.iter().map(room_for).collect();
        let bytes = room_of(&messages);
        let mut handing = Handing {
            broker: self,
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
            handing.tell_owners(rest.direct());
            let group = rest.group();
            if !group.messages.is_empty() {
                handing.fan_out(&group);
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
    /// The next one, with its queue partitions.
    next: Option<Leaving>,
}

impl Rest<'_> {
    /// Looks at the next message; false when there is none.
    fn fill(&mut self) -> bool {
        while self.next.is_none() {
            let Some((place, out)) = self.messages.next() else {
                return false;
            };
            let queue_partitions = queue_partitions_of(self.inner, &out);
            let message = out.message;
            self.next = (!queue_partitions.is_empty()).then_some(Leaving {
                place,
                message,
                queue_partitions,
                room: self.rooms[place],
            });
        }
        true
    }

    /// The next messages as long as they go to one queue each, by their queue partitions.
    fn direct(&mut self) -> BTreeMap<QueuePartitionId, (Vec<usize>, Vec<NewMessage>)> {
        let mut shares: BTreeMap<QueuePartitionId, (Vec<usize>, Vec<NewMessage>)> = BTreeMap::new();
        while self.fill()
            && let Some(leaving) = self.next.take_if(|next| next.queue_partitions.len() == 1)
        {
            let share = shares.entry(leaving.queue_partitions[0]).or_default();
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
                .take_if(|next| group.has_room(&next.message, &next.queue_partitions))
        {
            group.add(leaving);
        }
        group
    }
}

/// The queue partitions a message goes to: one for each topic, as the queues of a topic share its records.
fn queue_partitions_of(inner: &Inner, out: &Outgoing) -> Vec<QueuePartitionId> {
    let mut queue_partitions: Vec<QueuePartitionId> = Vec::with_capacity(out.queues.len());
    for queue in &out.queues {
        let turn = match queue.partitions {
            0 | 1 => 0,
            _ => inner.turn.fetch_add(1, Relaxed) as u64,
        };
        queue_partitions.push(QueuePartitionId {
            topic: queue.document.topic,
            index: queue_partition_of(queue, out.message.key.as_deref(), turn),
            queue: queue.id(),
        });
    }
    if queue_partitions.len() > 1 {
        queue_partitions.sort_unstable();
        queue_partitions.dedup_by_key(|at| at.topic);
    }
    queue_partitions
}

/// Messages being handed over.
struct Handing<'b> {
    broker: &'b Broker,
    permit: Option<OwnedSemaphorePermit>,
    sends: Sends,
}

impl Handing<'_> {
    /// Hands messages to the owners of their queue partitions.
    fn tell_owners(&mut self, shares: BTreeMap<QueuePartitionId, (Vec<usize>, Vec<NewMessage>)>) {
        for (at, (places, messages)) in shares {
            let bytes = messages.iter().map(NewMessage::held).sum();
            let permit = share_of(&mut self.permit, bytes);
            // One that is gone leaves its messages as those of an unknown queue.
            if let Ok(decided) = self.broker.hand_to(at, messages, permit) {
                self.sends.parts.push((places, decided));
            }
        }
    }

    /// Locks the partitions of all messages, decides, and appends once.
    fn fan_out(&mut self, group: &Group) {
        let inner = &*self.broker.inner;
        let places = group.messages.iter().map(|leaving| leaving.place).collect();
        let rooms = group.messages.iter().map(|leaving| leaving.room);
        let permit = share_of(&mut self.permit, rooms.fold(0, usize::saturating_add));
        let (done, decided) = oneshot::channel();
        self.sends.parts.push((places, decided));
        let keys = group.partitions.keys().copied();
        // A broker that stops does not answer: the channel closes.
        let _ = inner.owners.run_all(keys, |turn| {
            let outcomes = place(turn, &group.messages);
            turn.answer(Box::new(move |failed| {
                drop(permit);
                let _ = done.send(failed.map_or(Ok(outcomes), Err));
            }));
        });
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

/// Decides all messages of a group, and adds what is let in to the turn's commit.
fn place(turn: &mut Turn<'_, '_>, messages: &[Leaving]) -> Outcomes {
    let (mut draft, outcomes) = decide(turn, messages);
    draft.append(turn, messages);
    draft.reroute(turn);
    outcomes
}

/// Decides all messages of a group, and changes nothing yet.
pub(super) fn decide(turn: &mut Turn<'_, '_>, messages: &[Leaving]) -> (FanOutDraft, Outcomes) {
    let mut draft = FanOutDraft {
        now: turn.now(),
        room: turn.room(),
        shares: BTreeMap::new(),
        writers: BTreeMap::new(),
        cuts: Cuts::default(),
    };
    let outcomes = messages.iter().enumerate();
    let outcomes = outcomes.map(|message| draft.admit(turn, message)).collect();
    (draft, outcomes)
}

/// A group's messages between decision and append.
pub(super) struct FanOutDraft {
    now: Moment,
    /// Whether records may be added.
    room: Result<()>,
    shares: BTreeMap<QueuePartitionId, Share>,
    /// The queue partition whose batches a partition's records are: where several queues of a partition take part, the first
    /// one's, so that all records keep their order.
    writers: BTreeMap<PartitionKey, QueuePartitionId>,
    /// Of what is let in, by the messages' places in the group.
    cuts: Cuts<QueuePartitionId, RecordLayout>,
}

/// What one queue partition gets of a group.
struct Share {
    admission: Admission,
    layout: RecordLayout,
}

impl Share {
    fn new(admission: Admission) -> Self {
        Self {
            layout: RecordLayout::of(admission.queue.settings()),
            admission,
        }
    }
}

impl FanOutDraft {
    /// Decides what becomes of one message: in all its queues that are still there, or in none. Only a queue that is
    /// full stands back for the others, whose receivers are not to blame; its sender hears of it.
    fn admit(
        &mut self,
        turn: &mut Turn<'_, '_>,
        (place, leaving): (usize, &Leaving),
    ) -> Result<Sent> {
        let Self {
            now,
            room,
            shares,
            writers,
            cuts,
        } = self;
        let mut admitted: Vec<(QueuePartitionId, Admitted)> =
            Vec::with_capacity(leaving.queue_partitions.len());
        let mut full = None;
        for at in &leaving.queue_partitions {
            let Some(mut round) = turn.partition(partition_of(*at)) else {
                continue;
            };
            let end = round.end();
            let Some(queue_partition) = round.queue_partition(at.queue) else {
                continue;
            };
            let fresh = || {
                Share::new(Admission::new(
                    *at,
                    Arc::clone(&queue_partition.queue),
                    end,
                    *now,
                ))
            };
            let share = shares.entry(*at).or_insert_with(fresh);
            match share
                .admission
                .admit(&queue_partition.state, &leaving.message)
            {
                Err(error @ (Error::QueueFull | Error::QueueStateFull)) => full = Some(error),
                Ok(Admitted::Repeat(original)) => admitted.push((*at, Admitted::Repeat(original))),
                other => {
                    room.clone()?;
                    admitted.push((*at, other?));
                }
            }
        }
        let mut first = Err(Error::UnknownQueue);
        let mut lets_in = Vec::with_capacity(admitted.len());
        for (at, admitted) in admitted {
            if matches!(admitted, Admitted::Rerouted) {
                full = Some(Error::QueueFull);
            }
            if let Some(share) = shares.get_mut(&at) {
                let sent = share.admission.take(&admitted, &leaving.message);
                if !sent.duplicate {
                    let writer = *writers.entry(partition_of(at)).or_insert(at);
                    lets_in.push((writer, share.layout));
                }
                first = first.or(Ok(sent));
            }
        }
        cuts.add((place, leaving.message.held()), &lets_in);
        full.map_or(first, Err)
    }

    /// Appends to all queue partitions. Batches that are the same for several are written once.
    pub(super) fn append(&mut self, turn: &mut Turn<'_, '_>, group: &[Leaving]) {
        let Self {
            now, shares, cuts, ..
        } = self;
        let mut written = Written::default();
        for (at, batches) in cuts.iter() {
            let Some(mut round) = turn.partition(partition_of(at)) else {
                continue;
            };
            for runs in batches {
                let messages = || {
                    let messages = cuts.messages(runs);
                    messages.map(|(place, layout)| (&group[place].message, layout))
                };
                let batch = written.batch(runs, || {
                    let mut draft = BatchDraft::new(*now);
                    messages().for_each(|(message, layout)| draft.push(message, layout));
                    draft.build()
                });
                round.append_made_here(batch);
            }
        }
        for (at, share) in shares {
            if let Some(totals) = share.admission.fill() {
                let numbers = &share.admission.queue.numbers;
                numbers.sent(totals.records, totals.bytes);
            }
            if let Some(mut round) = turn.partition(partition_of(*at)) {
                round.gather(at.queue);
            }
        }
    }

    /// Has messages leave that were let in only to be dead-lettered.
    fn reroute(&self, turn: &mut Turn<'_, '_>) {
        for (at, share) in &self.shares {
            if let Some(mut round) = turn.partition(partition_of(*at)) {
                round.refuse_to_dead_letter(at.queue, share.admission.rerouted());
            }
        }
    }
}
