//! Cuts: how the messages of one append are divided into batches, for each of the partitions they go to. What is the same
//! for several partitions is written once for all of them, and held and stored once from then on.
//!
//! Messages that follow each other in all the partitions they go to, and go to no others, are a *run*. A run of some size
//! is a batch of its own, which these partitions share. Those that are smaller are joined in each partition, and copied
//! where their neighbours differ.

use std::collections::BTreeMap;

use storage::Batch;

use crate::owner::{BATCH_BYTES, BATCH_RECORDS};

/// A run with more bytes is a batch of its own when it goes to several partitions; a smaller one may be copied for each. At
/// this size one batch more for each partition costs about as much as the copies.
pub(super) const COPIED_BYTES: usize = 1536;

/// The runs a batch is made of, each with the layout it is written in.
pub(super) type Runs<'c, M> = &'c [(usize, M)];

/// The messages of one append, by their numbers, as the batches of partitions `P`, written in layouts `M`.
pub(super) struct Cuts<P, M> {
    runs: Vec<Run<P, M>>,
    /// What each partition gets, in order.
    partitions: BTreeMap<P, Vec<(usize, M)>>,
}

/// Messages that go to the same partitions, in the same layouts.
struct Run<P, M> {
    to: Vec<(P, M)>,
    messages: Vec<usize>,
    bytes: usize,
    /// It is the last one of all its partitions.
    is_last: bool,
}

impl<P: Copy + Ord, M: Copy + Eq> Run<P, M> {
    /// Whether one more message of so many bytes may follow.
    fn has_room(&self, bytes: usize, to: &[(P, M)]) -> bool {
        self.is_last
            && (self.messages.len() as u64) < BATCH_RECORDS
            && self.bytes.saturating_add(bytes) <= BATCH_BYTES
            && self.to == to
    }

    fn is_shared(&self) -> bool {
        self.to.len() > 1 && self.bytes > COPIED_BYTES
    }
}

impl<P, M> Default for Cuts<P, M> {
    fn default() -> Self {
        Self {
            runs: Vec::new(),
            partitions: BTreeMap::new(),
        }
    }
}

impl<P: Copy + Ord, M: Copy + Eq> Cuts<P, M> {
    /// Adds a message of so many bytes behind those that were added before. Its partitions are named once each, and
    /// always in the same order.
    pub(super) fn add(&mut self, (message, bytes): (usize, usize), to: &[(P, M)]) {
        let Some((first, _)) = to.first() else { return };
        let last = self.partitions.get(first).and_then(|runs| runs.last());
        if let Some((run, _)) = last
            && self.runs[*run].has_room(bytes, to)
        {
            let run = &mut self.runs[*run];
            run.messages.push(message);
            run.bytes += bytes;
            return;
        }
        for (partition, layout) in to {
            let runs = self.partitions.entry(*partition).or_default();
            if let Some((before, _)) = runs.last() {
                self.runs[*before].is_last = false;
            }
            runs.push((self.runs.len(), *layout));
        }
        self.runs.push(Run {
            to: to.to_vec(),
            messages: vec![message],
            bytes,
            is_last: true,
        });
    }

    /// The partitions, each with its batches.
    pub(super) fn iter(&self) -> impl Iterator<Item = (P, impl Iterator<Item = Runs<'_, M>>)> {
        let joins = |run: &(usize, M)| !self.runs[run.0].is_shared();
        let partitions = self.partitions.iter();
        partitions.map(move |(partition, runs)| {
            let batches = runs.chunk_by(move |one, next| joins(one) && joins(next));
            (*partition, batches)
        })
    }

    /// The messages of a batch, each with the layout it is written in.
    pub(super) fn messages(&self, runs: Runs<'_, M>) -> impl Iterator<Item = (usize, M)> {
        let messages = |(run, layout): &(usize, M)| {
            let layout = *layout;
            let messages = self.runs[*run].messages.iter();
            messages.map(move |message| (*message, layout))
        };
        runs.iter().flat_map(messages)
    }
}

/// Batches that were written, by what they are made of.
pub(super) struct Written<'c, M>(BTreeMap<Runs<'c, M>, Batch>);

impl<M> Default for Written<'_, M> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'c, M: Ord> Written<'c, M> {
    /// The batch, written by `write` if it is not there yet. Its records are shared.
    pub(super) fn batch(&mut self, runs: Runs<'c, M>, write: impl FnOnce() -> Batch) -> Batch {
        self.0.entry(runs).or_insert_with(write).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH_BYTES, COPIED_BYTES, Cuts};

    const LARGE: usize = COPIED_BYTES + 1;
    const A: (char, u8) = ('a', 0);
    const B: (char, u8) = ('b', 0);
    const C: (char, u8) = ('c', 0);
    const D: (char, u8) = ('d', 0);

    /// Cut messages of these sizes that go there; the messages of each batch of each partition, as `a: 0 1 | 2`.
    fn cut(messages: &[(usize, &[(char, u8)])]) -> Vec<String> {
        let mut cuts = Cuts::default();
        for (number, (bytes, to)) in messages.iter().enumerate() {
            cuts.add((number, *bytes), to);
        }
        let partitions = cuts.iter().map(|(partition, batches)| {
            let batches = batches.map(|runs| {
                let numbers = cuts.messages(runs).map(|(number, _)| number.to_string());
                numbers.collect::<Vec<_>>().join(" ")
            });
            format!("{partition}: {}", batches.collect::<Vec<_>>().join(" | "))
        });
        partitions.collect()
    }

    #[test]
    fn messages_for_the_same_partitions_are_one_batch_whatever_their_size() {
        let all = "0 1 2 3 4 5 6 7 8 9";
        for bytes in [1, COPIED_BYTES, LARGE, BATCH_BYTES / 10] {
            let messages = [(bytes, &[A, B][..]); 10];
            assert_eq!(
                cut(&messages),
                [format!("a: {all}"), format!("b: {all}")],
                "{bytes}"
            );
        }
        let none: [&str; 0] = [];
        assert_eq!(cut(&[(LARGE, &[])]), none);
    }

    #[test]
    fn a_batch_is_no_larger_than_any() {
        let half = BATCH_BYTES / 2;
        let large = [(half, &[A, B][..]); 5];
        assert_eq!(cut(&large), ["a: 0 1 | 2 3 | 4", "b: 0 1 | 2 3 | 4"]);
        let many = [(1000, &[A, B][..]); 65];
        assert!(cut(&many)[1].ends_with(" 62 63 | 64"));
        let one = [(BATCH_BYTES * 2, &[A, B][..])];
        assert_eq!(cut(&one), ["a: 0", "b: 0"]);
    }

    #[test]
    fn large_ones_are_apart_where_partitions_get_different_messages() {
        let (first, second) = (&[A, B][..], &[B, C][..]);
        let by_turns = |bytes| [first, second, first, second].map(|to| (bytes, to));
        assert_eq!(
            cut(&by_turns(LARGE)),
            ["a: 0 | 2", "b: 0 | 1 | 2 | 3", "c: 1 | 3"]
        );
        // Copied to where their neighbours are.
        assert_eq!(
            cut(&by_turns(COPIED_BYTES)),
            ["a: 0 2", "b: 0 1 2 3", "c: 1 3"]
        );
        // Small ones that are large together are shared, and one that is not does not part them from each other.
        let half = LARGE / 2 + 1;
        let together = [
            (half, first),
            (half, first),
            (9, second),
            (9, &[B]),
            (9, first),
        ];
        assert_eq!(cut(&together), ["a: 0 1 | 4", "b: 0 1 | 2 3 4", "c: 2"]);
    }

    #[test]
    fn what_partitions_have_in_common_is_not_parted_by_what_goes_elsewhere() {
        let by_turns = [[A, B], [C, D], [A, B], [C, D]];
        let messages: Vec<_> = by_turns.iter().map(|to| (LARGE, &to[..])).collect();
        assert_eq!(cut(&messages), ["a: 0 2", "b: 0 2", "c: 1 3", "d: 1 3"]);
        // For one partition there is nothing to share, however large.
        let single = [(9, &[A][..]), (LARGE, &[B]), (LARGE, &[A]), (9, &[B])];
        assert_eq!(cut(&single), ["a: 0 2", "b: 1 3"]);
        let between = [(LARGE, &[A, B][..]), (9, &[B]), (LARGE, &[A, B])];
        assert_eq!(cut(&between), ["a: 0 | 2", "b: 0 | 1 | 2"]);
    }

    #[test]
    fn another_layout_is_another_run() {
        let messages = [(LARGE, &[A, B][..]), (LARGE, &[A, ('b', 1)])];
        assert_eq!(cut(&messages), ["a: 0 | 1", "b: 0 | 1"]);
    }
}
