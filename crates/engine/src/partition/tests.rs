//! Partitions: the rules of idempotent producers as tables, and the fold as a property.

use std::collections::BTreeMap;

use proptest::prelude::*;
use storage::Batch;
use storage::batch::BatchBuilder;

use super::producers::PRODUCERS_MAX;
use super::{Decision, PartitionState, Producers, Snapshot};
use crate::Error;
use crate::topic::Config;

const NOW: u64 = 1_000_000;

fn config(overrides: &[(&str, &str)]) -> Config {
    let overrides: BTreeMap<String, String> = overrides
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    Config::new(&overrides).unwrap()
}

fn batch(producer: i64, epoch: i16, sequence: i32, records: i32) -> Batch {
    let mut builder = BatchBuilder::new(NOW as i64).producer(producer, epoch, sequence);
    for _ in 0..records {
        builder.push(NOW as i64, None, Some(b"v"), &[]);
    }
    builder.build()
}

/// Sends batches `(epoch, sequence, records)` of one producer and says what became of each.
#[track_caller]
fn check(batches: &[(i16, i32, i32)], expected: &[&str]) {
    let mut state = PartitionState::default();
    let outcomes: Vec<String> = batches
        .iter()
        .map(|(epoch, sequence, records)| {
            outcome(&mut state, batch(7, *epoch, *sequence, *records))
        })
        .collect();
    assert_eq!(outcomes, expected);
}

fn outcome(state: &mut PartitionState, batch: Batch) -> String {
    match state.decide(batch, &config(&[]), NOW) {
        Ok(Decision::Append(batch)) => {
            state.apply(&batch.header, NOW);
            format!("at {}", batch.header.base_offset)
        }
        Ok(Decision::Duplicate { base_offset }) => format!("again {base_offset}"),
        Err(Error::OutOfOrderSequence { expected, got }) => {
            format!("expected {expected} not {got}")
        }
        Err(Error::ProducerFenced(epoch)) => format!("fenced {epoch}"),
        Err(other) => other.to_string(),
    }
}

#[test]
fn a_sequence_continues() {
    check(
        &[(0, 0, 2), (0, 2, 3), (0, 5, 1)],
        &["at 0", "at 2", "at 5"],
    );
}

#[test]
fn a_repeat_within_the_window_is_harmless() {
    let five = [
        (0, 0, 1),
        (0, 1, 1),
        (0, 2, 1),
        (0, 3, 1),
        (0, 4, 1),
        (0, 0, 1),
        (0, 4, 1),
    ];
    check(
        &five,
        &["at 0", "at 1", "at 2", "at 3", "at 4", "again 0", "again 4"],
    );
}

#[test]
fn a_repeat_beyond_the_window_is_refused() {
    let six = [
        (0, 0, 1),
        (0, 1, 1),
        (0, 2, 1),
        (0, 3, 1),
        (0, 4, 1),
        (0, 5, 1),
        (0, 0, 1),
    ];
    let outcome = [
        "at 0",
        "at 1",
        "at 2",
        "at 3",
        "at 4",
        "at 5",
        "expected 6 not 0",
    ];
    check(&six, &outcome);
}

#[test]
fn a_gap_is_refused() {
    check(
        &[(0, 0, 1), (0, 2, 1), (0, 1, 1)],
        &["at 0", "expected 1 not 2", "at 1"],
    );
}

#[test]
fn a_batch_that_overlaps_is_not_a_repeat() {
    check(&[(0, 0, 3), (0, 0, 2)], &["at 0", "expected 3 not 0"]);
}

#[test]
fn a_new_epoch_starts_at_zero_and_fences_the_old() {
    check(
        &[(0, 0, 1), (1, 1, 1), (1, 0, 1), (0, 1, 1)],
        &["at 0", "expected 0 not 1", "at 1", "fenced 0"],
    );
}

#[test]
fn an_unknown_producer_may_start_anywhere() {
    check(&[(3, 40, 1), (3, 41, 1)], &["at 0", "at 1"]);
}

#[test]
fn sequences_wrap_to_zero() {
    check(&[(0, i32::MAX - 1, 2), (0, 0, 1)], &["at 0", "at 2"]);
    check(&[(0, i32::MAX, 3), (0, 2, 1)], &["at 0", "at 3"]);
}

#[test]
fn silent_producers_are_forgotten() {
    let mut state = PartitionState::default();
    assert_eq!(outcome(&mut state, batch(7, 0, 0, 1)), "at 0");
    assert_eq!(state.producers.expire(NOW), 0);
    assert_eq!(state.producers.expire(NOW + 1), 1);
    assert_eq!(outcome(&mut state, batch(7, 0, 9, 1)), "at 1");
}

#[test]
fn of_too_many_producers_the_longest_silent_are_forgotten() {
    let mut producers = Producers::default();
    let apply = |producers: &mut Producers, id: usize, now: u64| {
        producers.apply(&batch(id as i64, 0, 0, 1).header, now);
    };
    // All at one time: the ids decide.
    for id in 0..PRODUCERS_MAX {
        apply(&mut producers, id, NOW);
    }
    apply(&mut producers, 0, NOW + 1);
    assert_eq!(producers.sorted().len(), PRODUCERS_MAX);
    apply(&mut producers, PRODUCERS_MAX, NOW + 2);
    let left = producers.sorted();
    assert_eq!(left.len(), PRODUCERS_MAX - PRODUCERS_MAX / 4 + 1);
    assert_eq!(left[0].0, 0, "it was heard of again");
    assert_eq!(left[1].0, PRODUCERS_MAX as i64 / 4 + 1);
    for id in PRODUCERS_MAX..4 * PRODUCERS_MAX {
        apply(&mut producers, id, NOW);
        assert!(id % 10_000 > 0 || producers.sorted().len() <= PRODUCERS_MAX);
    }
}

#[test]
fn settings_bound_what_is_taken() {
    let refused = |overrides: &[(&str, &str)], batch: Batch| {
        PartitionState::default()
            .decide(batch, &config(overrides), NOW)
            .expect_err("refused")
    };
    let plain = || batch(-1, -1, -1, 1);
    assert!(matches!(
        refused(&[("max.message.bytes", "60")], plain()),
        Error::TooLarge { .. }
    ));
    let mut gathered = BatchBuilder::new(NOW as i64).made_here();
    gathered.push(NOW as i64, None, Some(b"v"), &[]);
    let small = config(&[("max.message.bytes", "60")]);
    PartitionState::default()
        .decide(gathered.build(), &small, NOW)
        .expect("its messages have a limit of their own");
    let mut late = BatchBuilder::new(0);
    late.push(NOW as i64 + 3_600_001, None, None, &[]);
    assert!(matches!(
        refused(&[], late.build()),
        Error::InvalidTimestamp(_)
    ));
    let mut early = BatchBuilder::new(0);
    early.push(10, None, None, &[]);
    let before = [("message.timestamp.before.max.ms", "1000")];
    assert!(matches!(
        refused(&before, early.build()),
        Error::InvalidTimestamp(10)
    ));
}

#[test]
fn append_time_replaces_the_timestamps() {
    let config = config(&[("message.timestamp.type", "LogAppendTime")]);
    let mut late = BatchBuilder::new(0);
    late.push(i64::MAX / 2, None, None, &[]);
    let Decision::Append(batch) = PartitionState::default()
        .decide(late.build(), &config, NOW)
        .unwrap()
    else {
        panic!("not a repeat");
    };
    assert_eq!(batch.header.max_timestamp, NOW as i64);
    Batch::split_first(&mut batch.to_bytes()).expect("the checksum was renewed");
}

#[test]
fn damaged_snapshots_are_refused() {
    let mut state = PartitionState::default();
    outcome(&mut state, batch(7, 0, 0, 3));
    let good = Snapshot::encode(state.end, &state.producers);
    assert_eq!(Snapshot::decode(&good).unwrap().producers, state.producers);
    for cut in 0..good.len() {
        assert_eq!(Snapshot::decode(&good[..cut]), None);
    }
    let mut newer = good;
    newer[0] = 2;
    assert_eq!(Snapshot::decode(&newer), None);
}

proptest! {
    #[test]
    fn noise_is_no_snapshot(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        super::fuzz(&noise);
        super::fuzz(&[&[1u8][..], &noise].concat());
    }

    /// What is appended is a gapless sequence per producer and epoch, whatever is sent, and a ledger rebuilt
    /// from a snapshot in the middle and the batches after it equals the one that lived on.
    #[test]
    fn a_restart_is_a_fold(
        sends in proptest::collection::vec((0i64..3, 0i16..2, 0i32..8, 1i32..4), 1..60),
        cut in 0usize..60,
    ) {
        let mut state = PartitionState::default();
        let mut appended: Vec<storage::BatchHeader> = Vec::new();
        let mut snapshot = Snapshot::encode(0, &state.producers);
        for (i, (producer, epoch, sequence, records)) in sends.into_iter().enumerate() {
            if i == cut {
                snapshot = Snapshot::encode(state.end, &state.producers);
            }
            if let Ok(Decision::Append(batch)) = state.decide(batch(producer, epoch, sequence, records), &config(&[]), NOW) {
                state.apply(&batch.header, NOW);
                appended.push(batch.header);
            }
        }
        let snapshot = Snapshot::decode(&snapshot).expect("just written");
        let mut rebuilt = PartitionState { end: snapshot.upto, producers: snapshot.producers, ..PartitionState::default() };
        for header in appended.iter().filter(|h| h.base_offset >= snapshot.upto) {
            rebuilt.apply(header, NOW);
        }
        prop_assert_eq!(rebuilt, state);
        for (a, b) in appended.iter().zip(appended.iter().skip(1)) {
            prop_assert_eq!(a.next_offset(), b.base_offset);
        }
    }
}
