//! The table of all topics: immutable, shared, replaced as a whole.
//!
//! A hundred thousand topics make copying the table with every change too dear, so it is kept in pieces that its copies
//! share: a change copies one piece by name, one by identity, and the list of pieces.

use std::borrow::Borrow;
use std::sync::Arc;

use uuid::Uuid;

use super::{Topic, name};

/// Topics in one piece; a piece that grows beyond it is split.
const PIECE_MAX: usize = 512;

/// Names with more marks than this are compared with all others, not looked up in all their forms.
const MARKS_MAX: usize = 8;

/// All topics at one moment.
#[derive(Debug, Clone, Default)]
pub struct Topics {
    by_name: Sorted<Arc<str>>,
    by_id: Sorted<Uuid>,
    count: usize,
    partitions: usize,
}

impl Topics {
    /// A topic by name.
    pub fn named(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.find(name)
    }

    /// Another topic whose name differs only by `.` for `_`: the two could not be told apart in names of metrics.
    pub fn colliding(&self, name: &str) -> Option<&Arc<Topic>> {
        let marks: Vec<usize> = name
            .bytes()
            .enumerate()
            .filter_map(|(at, byte)| matches!(byte, b'.' | b'_').then_some(at))
            .collect();
        let collides = |topic: &&Arc<Topic>| {
            *topic.name != *name && name::unified(&topic.name).eq(name::unified(name))
        };
        if marks.len() > MARKS_MAX {
            return self.iter().find(collides);
        }
        (0..1_u32 << marks.len()).find_map(|choice| {
            let mut other = name.as_bytes().to_vec();
            for (bit, at) in marks.iter().enumerate() {
                other[*at] = if choice >> bit & 1 == 0 { b'.' } else { b'_' };
            }
            let found = self.named(std::str::from_utf8(&other).ok()?);
            found.filter(collides)
        })
    }

    /// A topic by identity.
    pub fn with_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.by_id.find(&id)
    }

    /// All topics in name order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.iter()
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many partitions all topics have together.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// Adds a topic, or replaces the one of that name.
    pub fn insert(&mut self, topic: Arc<Topic>) {
        self.remove(&topic.name);
        self.count += 1;
        self.partitions += topic.partitions.len();
        self.by_id.insert(topic.id(), Arc::clone(&topic));
        self.by_name.insert(Arc::clone(&topic.name), topic);
    }

    /// Takes a topic out.
    pub fn remove(&mut self, name: &str) -> Option<Arc<Topic>> {
        let topic = self.by_name.remove(name)?;
        self.by_id.remove(&topic.id());
        self.count -= 1;
        self.partitions -= topic.partitions.len();
        Some(topic)
    }
}

type Piece<K> = Vec<(K, Arc<Topic>)>;

/// Topics in order of a key, in pieces none of which is empty.
#[derive(Debug, Clone)]
struct Sorted<K>(Vec<Arc<Piece<K>>>);

impl<K> Default for Sorted<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord + Clone> Sorted<K> {
    /// The piece a key belongs to, and its place there, or where it would be.
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> (usize, Result<usize, usize>)
    where
        K: Borrow<Q>,
    {
        let behind = self.0.partition_point(|piece| piece[0].0.borrow() <= key);
        let at = behind.saturating_sub(1);
        let place = self.0.get(at).map_or(Err(0), |piece| {
            piece.binary_search_by(|(known, _)| known.borrow().cmp(key))
        });
        (at, place)
    }

    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&Arc<Topic>>
    where
        K: Borrow<Q>,
    {
        let (at, place) = self.place(key);
        let place = place.ok()?;
        Some(&self.0[at][place].1)
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        let all = self.0.iter().flat_map(|piece| piece.iter());
        all.map(|(_, topic)| topic)
    }

    /// Adds a topic whose key is not there yet.
    fn insert(&mut self, key: K, topic: Arc<Topic>) {
        let (at, place) = self.place(&key);
        let place = place.expect_err("a key is taken out before it is added again");
        if self.0.is_empty() {
            self.0.push(Arc::default());
        }
        let piece = &mut self.0[at];
        if Arc::get_mut(piece).is_none() {
            // A plain copy would have no room, and double to make some.
            let mut copy = Vec::with_capacity(piece.len() + 1);
            copy.extend_from_slice(piece);
            *piece = Arc::new(copy);
        }
        let piece = Arc::make_mut(piece);
        piece.insert(place, (key, topic));
        if piece.len() > PIECE_MAX {
            let upper = piece.split_off(PIECE_MAX / 2);
            piece.shrink_to_fit();
            self.0.insert(at + 1, Arc::new(upper));
        }
    }

    fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<Arc<Topic>>
    where
        K: Borrow<Q>,
    {
        let (at, place) = self.place(key);
        let place = place.ok()?;
        let piece = Arc::make_mut(&mut self.0[at]);
        let (_, topic) = piece.remove(place);
        if piece.is_empty() {
            self.0.remove(at);
        }
        Some(topic)
    }
}
