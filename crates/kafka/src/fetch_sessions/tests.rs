//! What the cache remembers, what it leaves out, and who gives way to whom.

use std::cell::Cell;

use bytes::Bytes;

use super::*;
use crate::wire::Records;
use crate::wire::fetch::{FetchTopic, ForgottenTopic};

const NAMES: i16 = 12;
const IDS: i16 = 17;

fn request(session: (i32, i32), partitions: &[(&'static str, i32, i64)]) -> FetchRequest<'static> {
    let topics = partitions
        .iter()
        .map(|(topic, partition, offset)| FetchTopic {
            topic: (*topic).into(),
            topic_id: Uuid::from_u128(topic.len() as u128),
            partitions: vec![FetchPartition {
                partition: *partition,
                fetch_offset: *offset,
                partition_max_bytes: 100,
                ..FetchPartition::default()
            }],
        });
    FetchRequest {
        session_id: session.0,
        session_epoch: session.1,
        topics: topics.collect(),
        ..FetchRequest::default()
    }
}

fn many(session: (i32, i32), count: i32) -> FetchRequest<'static> {
    let all: Vec<_> = (0..count).map(|partition| ("t", partition, 0)).collect();
    request(session, &all)
}

fn data(partition: i32, high_watermark: i64, records: &'static [u8]) -> PartitionData {
    PartitionData {
        partition_index: partition,
        high_watermark,
        log_start_offset: 0,
        records: Records::One(Bytes::from_static(records)),
        ..PartitionData::default()
    }
}

/// Names, partitions and offsets.
fn shown(wanted: &[Wanted]) -> Vec<(String, i32, i64)> {
    let name = |topic: &Topic| match topic {
        Topic::Name(name) => name.to_string(),
        Topic::Id(id) => id.as_u128().to_string(),
    };
    let each = wanted.iter();
    each.map(|w| (name(&w.topic), w.partition, w.offset))
        .collect()
}

/// Sessions whose ids are 101 and so on.
struct Stage {
    sessions: FetchSessions,
    last: Cell<i32>,
}

impl std::ops::Deref for Stage {
    type Target = FetchSessions;

    fn deref(&self) -> &FetchSessions {
        &self.sessions
    }
}

/// Serves one request; every partition has the high watermark its offset says, and no records.
fn serve(
    sessions: &Stage,
    request: &FetchRequest<'_>,
    now: u64,
) -> Result<(i32, Vec<i32>), (Code, i32)> {
    let fetching = sessions
        .begin(request, NAMES, now)
        .map_err(|code| (code, 0))?;
    let wanted = fetching.wanted.iter();
    let mut answers: Vec<_> = wanted
        .map(|w| (w.topic.clone(), data(w.partition, w.offset, b"")))
        .collect();
    let fresh = || {
        sessions.last.set(sessions.last.get() + 1);
        sessions.last.get()
    };
    let id = sessions.finish(fetching, &mut answers, now, fresh)?;
    let told = answers.iter().map(|(_, data)| data.partition_index);
    Ok((id, told.collect()))
}

impl Stage {
    fn new(slots: usize) -> Self {
        Self {
            sessions: FetchSessions::new(slots),
            last: Cell::new(100),
        }
    }

    fn open_all(&self, sizes: &[i32], now: u64) -> Vec<i32> {
        let open = |size: &i32| serve(self, &many((0, 0), *size), now).unwrap().0;
        sizes.iter().map(open).collect()
    }

    fn check(&self) {
        let cache = self.lock();
        let sizes: usize = cache.sessions.values().map(|s| s.wanted.len()).sum();
        assert_eq!(cache.partitions, sizes);
        assert_eq!(cache.used.len(), cache.sessions.len());
        let agrees = |session: &Session| {
            let count = session.wanted.len();
            session.places.len() == count && session.size == count
        };
        assert!(cache.sessions.values().all(agrees));
    }
}

#[test]
fn only_what_changed_is_asked_for_and_told() {
    let sessions = Stage::new(2);
    let first = request((0, 0), &[("a", 0, 5), ("a", 1, 6), ("b", 0, 7)]);
    let (id, told) = serve(&sessions, &first, 0).unwrap();
    assert_eq!(
        (id, told),
        (101, vec![0, 1, 0]),
        "all of it, in a new session"
    );
    // Nothing is named: everything is remembered, and nothing is news.
    assert_eq!(
        serve(&sessions, &request((id, 1), &[]), 0),
        Ok((id, vec![]))
    );
    let moved = request((id, 2), &[("a", 1, 9)]);
    let fetching = sessions.begin(&moved, NAMES, 0).unwrap();
    let all = [("a", 0, 5), ("a", 1, 9), ("b", 0, 7)].map(|(t, p, o)| (t.to_owned(), p, o));
    assert_eq!(shown(&fetching.wanted), all);
    let mut answers = vec![
        (fetching.wanted[0].topic.clone(), data(0, 5, b"r")),
        (fetching.wanted[1].topic.clone(), data(1, 6, b"")),
        (fetching.wanted[2].topic.clone(), data(0, 8, b"")),
    ];
    assert_eq!(sessions.finish(fetching, &mut answers, 0, || 0), Ok(id));
    let told: Vec<_> = answers
        .iter()
        .map(|(_, d)| (d.partition_index, d.high_watermark))
        .collect();
    assert_eq!(
        told,
        [(0, 5), (0, 8)],
        "records, and another high watermark"
    );
    // What had records is read last.
    let fetching = sessions.begin(&request((id, 3), &[]), NAMES, 0).unwrap();
    let order = [("a", 1, 9), ("b", 0, 7), ("a", 0, 5)].map(|(t, p, o)| (t.to_owned(), p, o));
    assert_eq!(shown(&fetching.wanted), order);
    sessions.check();
}

#[test]
fn an_error_is_told_until_it_is_over_and_so_is_its_end() {
    let sessions = Stage::new(2);
    let (id, _) = serve(&sessions, &request((0, 0), &[("a", 0, 5)]), 0).unwrap();
    for epoch in 1..4 {
        let fetching = sessions
            .begin(&request((id, epoch), &[]), NAMES, 0)
            .unwrap();
        let error_code = if epoch < 3 { 3 } else { 0 };
        let answer = PartitionData {
            error_code,
            ..data(0, 5, b"")
        };
        let mut answers = vec![(fetching.wanted[0].topic.clone(), answer)];
        assert_eq!(sessions.finish(fetching, &mut answers, 0, || 0), Ok(id));
        assert_eq!(answers.len(), 1, "epoch {epoch}");
    }
    assert_eq!(
        serve(&sessions, &request((id, 4), &[]), 0),
        Ok((id, vec![]))
    );
}

#[test]
fn ids_and_epochs_have_to_be_right() {
    let sessions = Stage::new(2);
    let ask = |session| serve(&sessions, &request(session, &[("a", 0, 5)]), 0);
    let unknown = Err((Code::FetchSessionIdNotFound, 0));
    assert_eq!(ask((7, 1)), unknown);
    assert_eq!(ask((0, 1)), unknown);
    // Either epoch makes it a full fetch, whatever the id.
    assert_eq!(ask((7, -1)), Ok((0, vec![0])), "and no session");
    let (id, _) = ask((7, 0)).unwrap();
    assert_eq!(id, 101);
    for epoch in [2, i32::MAX, -2] {
        assert_eq!(ask((id, epoch)), Err((Code::InvalidFetchSessionEpoch, 0)));
    }
    assert!(ask((id, 1)).is_ok());
    let by_id = sessions.begin(&request((id, 2), &[]), IDS, 0).unwrap_err();
    assert_eq!(by_id, Code::FetchSessionTopicIdError);
    // A full fetch ends the session it names, and may open the next.
    let (next, _) = ask((id, 0)).unwrap();
    assert_eq!(ask((id, 2)), unknown);
    assert_eq!(sessions.lock().sessions.len(), 1);
    assert_eq!(ask((next, -1)), Ok((0, vec![0])));
    assert!(sessions.lock().sessions.is_empty(), "ended");
    sessions.check();
}

#[test]
fn epochs_go_round_past_those_that_mean_something_else() {
    let sessions = Stage::new(2);
    let (id, _) = serve(&sessions, &request((0, 0), &[("a", 0, 5)]), 0).unwrap();
    sessions.lock().sessions.get_mut(&id).unwrap().epoch = i32::MAX;
    assert!(serve(&sessions, &request((id, i32::MAX), &[]), 0).is_ok());
    assert!(serve(&sessions, &request((id, 1), &[]), 0).is_ok());
}

#[test]
fn what_is_forgotten_is_not_read_and_an_empty_session_ends() {
    let sessions = Stage::new(2);
    let (id, _) = serve(&sessions, &request((0, 0), &[("a", 0, 5), ("b", 3, 6)]), 0).unwrap();
    let forget = |epoch, topic: &'static str, partition| FetchRequest {
        forgotten_topics_data: vec![ForgottenTopic {
            topic: topic.into(),
            partitions: vec![partition],
            ..ForgottenTopic::default()
        }],
        ..request((id, epoch), &[])
    };
    let fetching = sessions.begin(&forget(1, "a", 0), NAMES, 0).unwrap();
    assert_eq!(shown(&fetching.wanted), [("b".to_owned(), 3, 6)]);
    sessions.check();
    let fetching = sessions.begin(&forget(2, "b", 3), NAMES, 0).unwrap();
    assert!(fetching.wanted.is_empty());
    assert_eq!(sessions.finish(fetching, &mut Vec::new(), 0, || 9), Ok(0));
    assert!(sessions.lock().sessions.is_empty());
}

#[test]
fn two_requests_of_one_session_do_not_both_count() {
    let sessions = Stage::new(2);
    let (id, _) = serve(&sessions, &request((0, 0), &[("a", 0, 5)]), 0).unwrap();
    let slow = sessions.begin(&request((id, 1), &[]), NAMES, 0).unwrap();
    assert_eq!(
        sessions
            .begin(&request((id, 1), &[]), NAMES, 0)
            .unwrap_err(),
        Code::InvalidFetchSessionEpoch
    );
    let quick = sessions.begin(&request((id, 2), &[]), NAMES, 0).unwrap();
    assert_eq!(sessions.finish(quick, &mut Vec::new(), 0, || 0), Ok(id));
    let late = sessions.finish(slow, &mut Vec::new(), 0, || 0);
    assert_eq!(late, Err((Code::InvalidFetchSessionEpoch, id)));
}

#[test]
fn a_full_cache_gives_way_to_what_is_larger_or_to_anything_when_unused() {
    let sessions = Stage::new(2);
    let ids = sessions.open_all(&[3, 5], 0);
    assert_eq!(ids, [101, 102]);
    // Both are young and used: no room, not even for a larger one.
    assert_eq!(sessions.open_all(&[9], 1000), [0]);
    // Both are old; both were used just now.
    let late = EVICTION_MS + 1;
    for id in ids {
        assert!(serve(&sessions, &request((id, 1), &[]), late).is_ok());
    }
    assert_eq!(
        sessions.open_all(&[2, 3], late),
        [0, 0],
        "not larger than the smallest"
    );
    assert_eq!(
        sessions.open_all(&[4], late),
        [103],
        "larger than the smallest, which goes"
    );
    assert!(!sessions.lock().sessions.contains_key(&101));
    sessions.check();
    // The other was not used for long: it gives way to anything.
    let later = late + EVICTION_MS;
    assert!(serve(&sessions, &request((103, 1), &[]), later).is_ok());
    assert_eq!(sessions.open_all(&[1], later + 1), [104]);
    assert!(!sessions.lock().sessions.contains_key(&102));
    sessions.check();
}

#[test]
fn sessions_and_partitions_are_bounded() {
    let none = Stage::new(0);
    assert_eq!(none.open_all(&[1], 0), [0]);
    let sessions = Stage::new(10);
    let half = i32::try_from(PARTITIONS_MAX / 2).unwrap();
    let ids = sessions.open_all(&[half, half, 1], 0);
    assert_eq!(ids, [101, 102, 0], "no room for a third, however small");
    // Nor for more in one that is open: its client starts over.
    let grown = request((102, 1), &[("other", 0, 0)]);
    assert_eq!(
        serve(&sessions, &grown, 0),
        Err((Code::FetchSessionIdNotFound, 0))
    );
    assert_eq!(sessions.open_all(&[1], 0), [103]);
    sessions.check();
}
