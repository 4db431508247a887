//! Where bindings lead: a sorted set that counts, kept in pieces so that one more never moves all others.

use std::sync::Arc;

/// Targets in one piece; a piece that grows beyond it is split.
const PIECE_MAX: usize = 256;

/// Where a binding leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// To a queue, by its qualified name.
    Queue(Arc<str>),
    /// To another exchange of the same vhost, by its plain name.
    Exchange(Arc<str>),
}

/// Targets in order, each with how many bindings lead there.
#[derive(Debug, Default)]
pub(super) struct Targets {
    pieces: Vec<Vec<(Target, u32)>>,
    count: usize,
}

impl Targets {
    /// How many different ones there are.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Target> {
        self.pieces.iter().flatten().map(|(target, _)| target)
    }

    /// The one at a place in the order.
    pub(super) fn nth(&self, mut place: usize) -> Option<&Target> {
        for piece in &self.pieces {
            match piece.get(place) {
                Some((target, _)) => return Some(target),
                None => place -= piece.len(),
            }
        }
        None
    }

    /// One more binding leads there.
    pub(super) fn add(&mut self, target: &Target) {
        let (at, place) = self.place(target);
        if self.pieces.is_empty() {
            self.pieces = vec![Vec::with_capacity(1)];
        }
        let piece = &mut self.pieces[at];
        match place {
            Ok(there) => piece[there].1 += 1,
            Err(there) => {
                piece.insert(there, (target.clone(), 1));
                self.count += 1;
            }
        }
        if piece.len() > PIECE_MAX {
            let upper = piece.split_off(PIECE_MAX / 2);
            self.pieces.insert(at + 1, upper);
        }
    }

    /// One binding less leads there.
    pub(super) fn remove(&mut self, target: &Target) {
        let (at, Ok(there)) = self.place(target) else {
            return;
        };
        let piece = &mut self.pieces[at];
        piece[there].1 -= 1;
        if piece[there].1 > 0 {
            return;
        }
        piece.remove(there);
        self.count -= 1;
        if piece.is_empty() {
            self.pieces.remove(at);
        }
    }

    /// The piece a target belongs to, and its place there, or where it would be.
    fn place(&self, target: &Target) -> (usize, Result<usize, usize>) {
        let behind = self.pieces.partition_point(|piece| piece[0].0 <= *target);
        let at = behind.saturating_sub(1);
        let place = self.pieces.get(at).map_or(Err(0), |piece| {
            piece.binary_search_by(|(known, _)| known.cmp(target))
        });
        (at, place)
    }
}
