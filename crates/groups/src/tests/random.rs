//! Random histories: what must hold after every step, whatever clients do.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::stage::{subscription, topic_id};
use crate::cost;
use crate::{
    Command, CommitOffsets, Error, Group, GroupEvent, GroupSettings, Join, Leaver, MemberRef,
    NamedPartition, OffsetCommit, Outcome, PartitionResult, Reply, State, Sync, Ticket,
    TopicPartition,
};

/// What a generation that begins may add without asking: its topics and the name of its protocol.
const SLACK: u64 = 64;

/// One step. Members are picked among ids seen so far, so that most commands make sense.
#[derive(Debug, Clone)]
enum Step {
    Join {
        who: Who,
        instance: u8,
        protocols: u8,
        two_step: bool,
        skips: bool,
    },
    Sync {
        who: Who,
        stale: bool,
    },
    Heartbeat {
        who: Who,
        stale: bool,
    },
    Leave {
        who: Who,
        by_instance: bool,
    },
    Commit {
        who: Who,
        partition: u8,
        producer: Option<u8>,
        keep: bool,
    },
    End {
        producer: u8,
        committed: bool,
    },
    Forget {
        partition: u8,
    },
    Delete,
    DropTopic {
        topic: u8,
    },
    Cancel {
        pick: usize,
    },
    Wait {
        ms: u64,
    },
    Restart {
        from_snapshot: bool,
    },
}

#[derive(Debug, Clone, Copy)]
enum Who {
    New,
    Known(usize),
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![1 => Just(Who::New), 3 => (0_usize..8).prop_map(Who::Known)]
}

fn step() -> impl Strategy<Value = Step> {
    let flags = any::<(bool, bool)>();
    let wait = prop_oneof![
        0_u64..3_000,
        3_000_u64..20_000,
        Just(3_600_000),
        Just(604_800_000)
    ];
    prop_oneof![
        8 => (who(), 0_u8..6, 0_u8..7, flags).prop_map(|(who, instance, protocols, flags)| {
            Step::Join { who, instance, protocols, two_step: flags.0, skips: flags.1 }
        }),
        8 => (who(), prop::bool::weighted(0.1)).prop_map(|(who, stale)| Step::Sync { who, stale }),
        3 => (who(), prop::bool::weighted(0.1))
            .prop_map(|(who, stale)| Step::Heartbeat { who, stale }),
        2 => (who(), any::<bool>()).prop_map(|(who, by_instance)| Step::Leave { who, by_instance }),
        3 => (who(), 0_u8..6, prop::option::of(0_u8..2), any::<bool>()).prop_map(
            |(who, partition, producer, keep)| Step::Commit { who, partition, producer, keep }
        ),
        1 => (0_u8..2, any::<bool>())
            .prop_map(|(producer, committed)| Step::End { producer, committed }),
        1 => (0_u8..6).prop_map(|partition| Step::Forget { partition }),
        1 => Just(Step::Delete),
        1 => (0_u8..2).prop_map(|topic| Step::DropTopic { topic }),
        1 => any::<usize>().prop_map(|pick| Step::Cancel { pick }),
        8 => wait.prop_map(|ms| Step::Wait { ms }),
        1 => any::<bool>().prop_map(|from_snapshot| Step::Restart { from_snapshot }),
    ]
}

/// Without a limit, or with one that a few members and offsets reach.
fn memory() -> impl Strategy<Value = u64> {
    prop_oneof![Just(u64::MAX / 2), 0_u64..20_000]
}

struct World {
    group: Group,
    settings: GroupSettings,
    now: u64,
    /// What the state of all groups may take.
    memory: u64,
    events: Vec<GroupEvent>,
    /// The fold alone, fed with decoded bytes.
    replica: Group,
    ids: Vec<String>,
    tickets: u64,
    waiting: BTreeSet<Ticket>,
    generation: i32,
}

fn named(partition: u8) -> NamedPartition {
    let topic = if partition.is_multiple_of(2) {
        "t"
    } else {
        "u"
    };
    NamedPartition {
        partition: TopicPartition {
            topic: topic_id(topic),
            partition: i32::from(partition / 2),
        },
        topic_name: topic.into(),
    }
}

/// What a group takes in memory, from everything it has.
fn recount(group: &Group) -> u64 {
    let GroupEvent::Snapshot(all) = group.snapshot() else {
        unreachable!("a snapshot");
    };
    let offsets = |topics: &[crate::TopicOffsets]| -> u64 {
        let of_one = |topic: &crate::TopicOffsets| {
            let offsets = topic.partitions.iter();
            let offsets = offsets.map(|(_, offset)| cost::of_offset(&offset.metadata));
            cost::of_topic(&topic.name) + offsets.sum::<u64>()
        };
        topics.iter().map(of_one).sum()
    };
    let staged = all.staged.iter().map(|staged| {
        let overtaken = staged.overtaken.len() as u64 * cost::OVERTAKEN_BYTES;
        cost::TRANSACTION_BYTES + overtaken + offsets(&staged.offsets)
    });
    let live = group.live.counted();
    let membership = cost::of_membership(&all.membership);
    let members = live.members + live.members.max(membership) + live.others;
    members + offsets(&all.offsets) + staged.sum::<u64>()
}

/// Whether something was refused for want of memory.
fn is_refused(outcome: &Outcome) -> bool {
    outcome.replies.iter().any(|(_, reply)| match reply {
        Reply::Join(Err(refused)) => refused.error == Error::StateFull,
        Reply::Sync(Err(error)) => *error == Error::StateFull,
        Reply::CommitOffsets(Ok(results)) => {
            let refused = |result: &PartitionResult| result.result == Err(Error::StateFull);
            results.iter().any(refused)
        }
        _ => false,
    })
}

impl World {
    fn new(memory: u64) -> Self {
        let settings = GroupSettings {
            subscription,
            members_max: 5,
            offsets_max: 6,
            ..GroupSettings::default()
        };
        Self {
            group: Group::new(settings.clone()),
            replica: Group::new(settings.clone()),
            settings,
            now: 0,
            memory,
            events: Vec::new(),
            ids: Vec::new(),
            tickets: 0,
            waiting: BTreeSet::new(),
            generation: 0,
        }
    }

    fn id(&self, who: Who) -> String {
        match who {
            Who::Known(pick) if !self.ids.is_empty() => {
                self.ids[self.ids.len() - 1 - pick % self.ids.len()].clone()
            }
            Who::New | Who::Known(_) => String::new(),
        }
    }

    fn member(&self, who: Who, stale: bool) -> MemberRef {
        let member_id = self.id(who);
        let outside = member_id.is_empty();
        let generation = if outside {
            -1
        } else {
            self.group.describe().generation
        };
        MemberRef {
            member_id,
            instance_id: None,
            generation: generation - i32::from(stale),
        }
    }

    fn join(&self, who: Who, step: (u8, u8, bool, bool)) -> Join {
        let (instance, protocols, two_step, skips) = step;
        let member_id = self.id(who);
        // Known members tell the truth about their instance, most of the time.
        let instance = match member_id
            .strip_prefix('i')
            .and_then(|rest| rest.split('-').next())
        {
            Some(number) if instance > 0 => Some(format!("i{number}")),
            None if instance < 2 && member_id.is_empty() => Some(format!("i{instance}")),
            _ => None,
        };
        let names: &[&str] = match protocols {
            0..4 => &["range", "sticky"],
            4 => &["sticky", "range"],
            5 => &["sticky"],
            _ => &[],
        };
        let topics = Bytes::from_static(if protocols == 3 { b"t,u" } else { b"t" });
        Join {
            member_id,
            instance_id: instance,
            client_id: "c".into(),
            client_host: "h".into(),
            session_timeout_ms: 6_000 + 1_000 * u32::from(protocols),
            rebalance_timeout_ms: 9_000 * u32::from(protocols),
            protocol_type: "consumer".into(),
            protocols: names
                .iter()
                .map(|name| ((*name).to_owned(), topics.clone()))
                .collect(),
            require_known_member: two_step,
            can_skip_assignment: skips,
            fresh_id: self.tickets.to_string(),
        }
    }

    fn metadata(&self) -> String {
        "m".repeat(usize::try_from(self.tickets % 300).unwrap())
    }

    /// Whether there is memory for a command, however little there is: it adds nothing.
    fn always_fits(&self, command: &Command) -> bool {
        match command {
            Command::Join(join) => {
                let member = self.group.live.members.get(&join.member_id);
                member.is_some_and(|member| member.record.protocols == join.protocols)
            }
            Command::CommitOffsets(commit) => commit.offsets.iter().all(|offset| {
                let durable = &self.group.durable;
                let offsets = match commit.producer_id {
                    Some(producer_id) => durable.staged(producer_id),
                    None => Some(durable.offsets()),
                };
                let before = offsets.and_then(|offsets| offsets.get(offset.at.partition));
                before.is_some_and(|before| before.metadata.len() >= offset.metadata.len())
            }),
            Command::Sync(_) => false,
            _ => true,
        }
    }

    fn command(&self, step: &Step) -> Option<Command> {
        Some(match *step {
            Step::Join {
                who,
                instance,
                protocols,
                two_step,
                skips,
            } => Command::Join(self.join(who, (instance, protocols, two_step, skips))),
            Step::Sync { who, stale } => Command::Sync(Sync {
                member: self.member(who, stale),
                protocol_type: Some("consumer".into()),
                protocol_name: None,
                assignments: self
                    .ids
                    .iter()
                    .map(|id| (id.clone(), Bytes::from_static(b"x")))
                    .collect(),
            }),
            Step::Heartbeat { who, stale } => Command::Heartbeat(self.member(who, stale)),
            Step::Leave { who, by_instance } => {
                let id = self.id(who);
                let instance_id = by_instance.then(|| "i0".to_owned());
                let member_id = if by_instance { String::new() } else { id };
                Command::Leave {
                    members: vec![Leaver {
                        member_id,
                        instance_id,
                    }],
                }
            }
            Step::Commit {
                who,
                partition,
                producer,
                keep,
            } => Command::CommitOffsets(CommitOffsets {
                member: self.member(who, false),
                producer_id: producer.map(i64::from),
                retention_ms: keep.then_some(60_000),
                offsets: vec![OffsetCommit {
                    at: named(partition),
                    offset: self.now.cast_signed(),
                    leader_epoch: None,
                    metadata: self.metadata(),
                }],
            }),
            Step::End {
                producer,
                committed,
            } => Command::EndTransaction {
                producer_id: producer.into(),
                committed,
            },
            Step::Forget { partition } => Command::DeleteOffsets {
                partitions: vec![named(partition)],
            },
            Step::Delete => Command::Delete,
            Step::DropTopic { topic } => Command::TopicDeleted(named(topic).partition.topic),
            Step::Cancel { .. } | Step::Wait { .. } | Step::Restart { .. } => return None,
        })
    }

    fn play(&mut self, step: &Step) {
        if let Some(command) = self.command(step) {
            self.tickets += 1;
            let ticket = Ticket(self.tickets);
            self.waiting.insert(ticket);
            let fits = self.always_fits(&command);
            let before = self.group.state_bytes();
            let room = self.memory.saturating_sub(before);
            let outcome = self.group.handle(command, ticket, self.now, room);
            assert!(!fits || !is_refused(&outcome), "{step:?} adds nothing");
            self.take(outcome);
            let after = self.group.state_bytes();
            assert!(
                after <= before.max(self.memory) + SLACK,
                "{after} bytes of {}, {before} before",
                self.memory
            );
        }
        match *step {
            Step::Wait { ms } => self.wait(ms),
            Step::Cancel { pick } if !self.waiting.is_empty() => {
                let pick = pick % self.waiting.len();
                let ticket = *self.waiting.iter().nth(pick).unwrap();
                self.waiting.remove(&ticket);
                self.group.cancel(ticket);
            }
            Step::Restart { from_snapshot } => self.restart(from_snapshot),
            _ => {}
        }
        self.check();
    }

    fn wait(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(at) = self.group.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let outcome = self.group.tick(self.now);
            self.take(outcome);
            let next = self.group.next_deadline();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a tick leaves nothing due"
            );
        }
        self.now = until;
    }

    fn restart(&mut self, from_snapshot: bool) {
        let snapshot = self.group.snapshot();
        let lasts = matches!(self.group.state(), State::Stable | State::Empty);
        let lasting =
            (lasts && self.group.live.pending.is_empty()).then(|| self.group.state_bytes());
        let events = if from_snapshot {
            vec![snapshot]
        } else {
            self.events.clone()
        };
        self.group = Group::new(self.settings.clone());
        for event in &events {
            self.group.apply(event);
        }
        self.group.restored(self.now);
        let counted = self.group.state_bytes();
        assert!(
            lasting.is_none_or(|bytes| bytes == counted),
            "{counted}, it was {lasting:?}"
        );
        self.waiting.clear();
        // A generation under way at the time of death is gone; its number is not used again.
        self.generation = self.group.live.generation;
    }

    fn take(&mut self, outcome: Outcome) {
        for event in &outcome.events {
            if *event == GroupEvent::Deleted {
                self.generation = 0;
            }
            self.replica
                .apply(&GroupEvent::decode(&event.encode()).unwrap());
        }
        self.events.extend(outcome.events);
        for (ticket, reply) in outcome.replies {
            assert!(
                self.waiting.remove(&ticket),
                "{ticket:?} answered twice or never asked"
            );
            let id = match reply {
                Reply::Join(Ok(joined)) => joined.member_id,
                Reply::Join(Err(refused)) => refused.member_id,
                _ => continue,
            };
            if !id.is_empty() && !self.ids.contains(&id) {
                self.ids.push(id);
            }
        }
    }

    fn check(&mut self) {
        let live = &self.group.live;
        assert_eq!(
            self.group.durable, self.replica.durable,
            "the fold is all there is"
        );
        assert_eq!(self.group.state_bytes(), recount(&self.group));
        let mut copy = Group::new(self.settings.clone());
        copy.apply(&GroupEvent::decode(&self.group.snapshot().encode()).unwrap());
        assert_eq!(
            self.group.durable, copy.durable,
            "a snapshot holds everything"
        );

        assert!(
            live.generation >= self.generation,
            "generations never decrease"
        );
        assert!(live.generation <= self.group.durable.generation_last());
        self.generation = live.generation;

        let parked = live
            .members
            .values()
            .flat_map(|member| [member.join, member.sync]);
        let parked: BTreeSet<_> = parked.flatten().filter_map(|parked| parked.0).collect();
        assert_eq!(parked, self.waiting, "every request is parked or answered");

        let members = !live.members.is_empty();
        assert_eq!(
            live.leader.is_some(),
            members,
            "a leader wherever there are members"
        );
        assert!(
            live.leader
                .iter()
                .all(|leader| live.members.contains_key(leader))
        );
        for (instance, id) in &live.instances {
            assert_eq!(live.members[id].record.instance_id.as_ref(), Some(instance));
        }
        assert!(
            !members || live.elect_protocol().is_some(),
            "members always share a protocol"
        );
        self.check_state();
    }

    fn check_state(&self) {
        let live = &self.group.live;
        let joining = live.members.values().any(|member| member.join.is_some());
        let syncing = live.members.values().any(|member| member.sync.is_some());
        assert_eq!(live.state == State::Dead, !self.group.durable.exists());
        assert_eq!(
            live.join_timer.is_some(),
            live.state == State::PreparingRebalance
        );
        assert!(live.pending_sync.is_empty() || live.sync_deadline.is_some());
        match live.state {
            State::Dead | State::Empty => assert!(live.members.is_empty()),
            State::PreparingRebalance => assert!(!syncing),
            State::CompletingRebalance => assert!(!joining && live.sync_deadline.is_some()),
            State::Stable => {
                assert!(!joining && !syncing, "nobody waits in a stable group");
                assert_eq!(
                    live.membership(),
                    *self.group.durable.membership(),
                    "and all of it is durable"
                );
            }
        }
    }

    /// Left alone, a group loses its members, then its offsets, then itself.
    fn settle(&mut self) {
        for producer_id in 0..2 {
            self.play(&Step::End {
                producer: producer_id,
                committed: true,
            });
        }
        for _ in 0..5_000 {
            let Some(at) = self.group.next_deadline() else {
                break;
            };
            self.wait(at.saturating_sub(self.now));
            self.check();
        }
        assert_eq!(self.group.next_deadline(), None, "quiet at last");
        assert_eq!(self.group.state(), State::Dead);
        assert_eq!(self.group.state_bytes(), 0, "everything is given back");
        assert!(self.waiting.is_empty(), "everyone was answered");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_clients_do(steps in vec(step(), 1..120), memory in memory()) {
        let mut world = World::new(memory);
        for step in &steps {
            world.play(step);
        }
        world.settle();
    }
}
