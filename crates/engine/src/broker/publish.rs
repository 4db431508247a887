//! Publishing: split by owner, handed over in order, answered when everything is as durable as it should be.

use std::collections::BTreeMap;
use std::sync::Arc;

use security::{Resource, Verb};
use storage::Batch;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use uuid::Uuid;

use super::Access;
use super::checks::{Unchecked, held};
use crate::owner::{Entry, PartitionKey, PartitionOwner};
use crate::topic::Topic;
use crate::{Error, PublishResults, Result};

/// How a caller names a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopicKey<'a> {
    /// By name.
    Name(&'a str),
    /// By identity.
    Id(Uuid),
}

/// One batch to publish.
#[derive(Debug)]
pub struct Publish<'a> {
    /// The topic.
    pub topic: TopicKey<'a>,
    /// The partition's number.
    pub partition: i32,
    /// The batch as it came, checked; its offsets are not final yet. An error made while reading it travels
    /// along, so that outcomes stay in the order of the request.
    pub batch: Result<Batch>,
}

/// A publish that was handed over.
pub struct Pending {
    results: PublishResults,
    /// Per partition: which outcomes it decides, and where they come from.
    parts: Vec<(Vec<usize>, oneshot::Receiver<PublishResults>)>,
}

impl Pending {
    /// Waits for the outcomes, one per batch in the order given.
    pub async fn done(mut self) -> PublishResults {
        for (places, part) in self.parts {
            let Ok(decided) = part.await else { continue };
            for (place, result) in places.into_iter().zip(decided) {
                self.results[place] = result;
            }
        }
        self.results
    }
}

/// What one partition gets of a publish.
#[derive(Default)]
struct Share {
    places: Vec<usize>,
    entries: Vec<Entry>,
}

impl Access {
    /// Hands batches to their owners and returns once they are queued; publishes of one caller that follow
    /// each other keep their order. Waits while the broker holds too many bytes already: that is the
    /// back-pressure a publisher feels.
    pub async fn publish(&self, batches: Vec<Publish<'_>>) -> Pending {
        // Until an owner says otherwise: one that has ended never will.
        let mut results: PublishResults = batches.iter().map(|_| Err(Error::Unavailable)).collect();
        let mut shares: BTreeMap<PartitionKey, Share> = BTreeMap::new();
        let unchecked = batches.into_iter().map(|publish| self.unchecked(publish));
        let unchecked: Vec<Result<Unchecked>> = unchecked.collect();
        let mut permit = self.room_for(&unchecked).await;
        let mut bytes = 0;
        for (place, checked) in self.check(unchecked).await {
            match checked {
                Ok(entry) => {
                    bytes += held(&entry);
                    let key = (entry.topic_id, entry.index);
                    let share = shares.entry(key).or_default();
                    share.places.push(place);
                    share.entries.push(entry);
                }
                Err(error) => results[place] = Err(error),
            }
        }
        // What was reserved for outlines that turned out smaller.
        let spare = permit.as_mut().and_then(|permit| {
            let spare = permit.num_permits().saturating_sub(bytes);
            permit.split(spare)
        });
        drop(spare);
        let parts = self.hand_over(shares, permit, &mut results);
        Pending { results, parts }
    }

    /// Waits for room for batches and what is made of them until their owners have them.
    async fn room_for(&self, batches: &[Result<Unchecked>]) -> Option<OwnedSemaphorePermit> {
        let rooms = batches.iter().flatten().map(Unchecked::room);
        let room = rooms.fold(0, usize::saturating_add);
        if room == 0 {
            return None;
        }
        let most = u32::try_from(self.inner.settings.publish_bytes_max).unwrap_or(u32::MAX);
        let room = u32::try_from(room).unwrap_or(u32::MAX).min(most);
        let publishing = Arc::clone(&self.inner.publishing);
        publishing.acquire_many_owned(room).await.ok()
    }

    /// Looks through batches; what came of each, in order.
    async fn check(&self, batches: Vec<Result<Unchecked>>) -> Vec<(usize, Result<Entry>)> {
        let (mut checked, mut slow) = (Vec::with_capacity(batches.len()), Vec::new());
        for (place, unchecked) in batches.into_iter().enumerate() {
            match unchecked.map(Unchecked::at_once) {
                Ok(Ok(entry)) => checked.push((place, entry)),
                Ok(Err(batch)) => slow.push((place, batch)),
                Err(error) => checked.push((place, Err(error))),
            }
        }
        if !slow.is_empty() {
            checked.extend(self.inner.check_all(slow).await);
            checked.sort_by_key(|(place, _)| *place);
        }
        checked
    }

    fn hand_over(
        &self,
        shares: BTreeMap<PartitionKey, Share>,
        // One permit for the whole publish, given back when its last share is done with it.
        mut permit: Option<OwnedSemaphorePermit>,
        results: &mut PublishResults,
    ) -> Vec<(Vec<usize>, oneshot::Receiver<PublishResults>)> {
        let mut parts = Vec::with_capacity(1);
        for (key, share) in shares {
            let (done, decided) = oneshot::channel();
            let own = permit.as_mut().and_then(|p| {
                let bytes: usize = share.entries.iter().map(held).sum();
                p.split(bytes.min(p.num_permits()))
            });
            let owner = self.inner.owners.partition(key);
            let publish = |owner: Arc<PartitionOwner>| {
                owner.run(|round| round.publish(share.entries, own, done))
            };
            match owner.and_then(publish) {
                Ok(()) => parts.push((share.places, decided)),
                Err(error) => {
                    for place in share.places {
                        results[place] = Err(error.clone());
                    }
                }
            }
        }
        parts
    }

    fn unchecked(&self, publish: Publish<'_>) -> Result<Unchecked> {
        let topic = self.find_topic(publish.topic, Verb::Publish)?;
        let partition = topic
            .partition(publish.partition)
            .ok_or(Error::UnknownPartition)?;
        let partition = Arc::clone(partition);
        Unchecked::new(&self.inner, topic, &partition, publish.batch?)
    }

    /// Finds a topic the principal may `verb`.
    pub(super) fn find_topic(&self, key: TopicKey<'_>, verb: Verb) -> Result<Arc<Topic>> {
        let topics = self.inner.topics.load();
        match key {
            TopicKey::Name(name) => {
                // Refused before it is looked up: whether a topic exists is not shown to those who may not see it.
                self.authorize(verb, Resource::Topic(name))?;
                topics.named(name).cloned().ok_or(Error::UnknownTopic)
            }
            TopicKey::Id(id) => {
                let topic = topics.with_id(id).cloned().ok_or(Error::UnknownTopic)?;
                self.authorize(verb, Resource::Topic(&topic.name))
                    .map_err(|_| Error::UnknownTopic)?;
                Ok(topic)
            }
        }
    }
}
