//! Plays transcripts: reads commands, lets time pass, writes replies as text.

use std::collections::BTreeMap;

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    Command, CommitOffsets, Error, Group, GroupEvent, GroupSettings, Join, Leaver, MemberRef,
    NamedPartition, OffsetCommit, Outcome, Reply, Subscription, Sync, Ticket, TopicPartition,
};

pub(super) struct Stage {
    pub(super) group: Group,
    pub(super) settings: GroupSettings,
    now: u64,
    tickets: u64,
    fresh: u64,
    /// What the state of all groups may take.
    memory: u64,
    waiting: BTreeMap<Ticket, String>,
    events: Vec<GroupEvent>,
    seen: Vec<String>,
}

/// Metadata in tests is a list of topics, or `?` for bytes nobody can read.
pub(super) fn subscription(kind: &str, metadata: &[u8]) -> Subscription {
    match (kind, metadata) {
        ("consumer", b"?") => Subscription::Unreadable,
        ("consumer", metadata) => {
            let text = String::from_utf8_lossy(metadata);
            let topics = text.split(',').filter(|topic| !topic.is_empty());
            Subscription::Topics(topics.map(str::to_owned).collect())
        }
        _ => Subscription::NotTopics,
    }
}

pub(super) fn topic_id(name: &str) -> Uuid {
    Uuid::from_u128(name.bytes().fold(0, |id, byte| id << 8 | u128::from(byte)))
}

impl Default for Stage {
    fn default() -> Self {
        let settings = GroupSettings {
            subscription,
            ..GroupSettings::default()
        };
        Self {
            group: Group::new(settings.clone()),
            settings,
            now: 1_000_000,
            tickets: 0,
            fresh: 0,
            memory: u64::MAX,
            waiting: BTreeMap::new(),
            events: Vec::new(),
            seen: Vec::new(),
        }
    }
}

/// The words of a line, split into plain ones and `key=value` options.
struct Words<'a> {
    plain: Vec<&'a str>,
    options: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(line: &'a str) -> Self {
        let (options, plain): (Vec<_>, Vec<_>) =
            line.split_whitespace().partition(|word| word.contains('='));
        let options = options.into_iter().filter_map(|word| word.split_once('='));
        Self {
            plain,
            options: options.collect(),
        }
    }

    fn option(&self, key: &str) -> Option<String> {
        self.options.get(key).map(|value| (*value).to_owned())
    }

    fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }

    fn member(&self) -> MemberRef {
        let id = self.plain[1];
        MemberRef {
            member_id: if id == "-" {
                String::new()
            } else {
                id.to_owned()
            },
            instance_id: self.option("inst"),
            generation: self.plain[2].trim_start_matches('g').parse().unwrap(),
        }
    }
}

pub(super) fn millis(text: &str) -> u64 {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap();
    let unit = match &text[split..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        other => panic!("no unit {other}"),
    };
    text[..split].parse::<u64>().unwrap() * unit
}

/// `topic/partition`
fn partition(text: &str) -> NamedPartition {
    let (topic, partition) = text.split_once('/').unwrap();
    NamedPartition {
        partition: TopicPartition {
            topic: topic_id(topic),
            partition: partition.parse().unwrap(),
        },
        topic_name: topic.into(),
    }
}

/// `topic/partition@offset`, perhaps with `:metadata`; `:*5000` stands for a long one.
fn offset(text: &str) -> OffsetCommit {
    let (at, rest) = text.split_once('@').unwrap();
    let (offset, metadata) = rest.split_once(':').unwrap_or((rest, ""));
    let metadata = match metadata.strip_prefix('*') {
        Some(count) => "é".repeat(count.parse().unwrap()),
        None => metadata.to_owned(),
    };
    OffsetCommit {
        at: partition(at),
        offset: offset.parse().unwrap(),
        leader_epoch: Some(0),
        metadata,
    }
}

fn commit(words: &Words<'_>) -> Command {
    let offsets = words.plain[3..].iter().map(|word| offset(word));
    Command::CommitOffsets(CommitOffsets {
        member: words.member(),
        producer_id: words.option("txn").map(|id| id.parse().unwrap()),
        retention_ms: words.option("keep").map(|time| millis(&time)),
        offsets: offsets.collect(),
    })
}

fn leave(words: &Words<'_>) -> Command {
    let members = words.plain[1..]
        .iter()
        .map(|word| match word.split_once('~') {
            Some((id, instance)) => Leaver {
                member_id: id.to_owned(),
                instance_id: Some(instance.to_owned()),
            },
            None => Leaver {
                member_id: (*word).to_owned(),
                instance_id: None,
            },
        });
    Command::Leave {
        members: members.collect(),
    }
}

fn sync(words: &Words<'_>) -> Command {
    let assignments = words.options.iter().filter(|(key, _)| key.contains('-'));
    Command::Sync(Sync {
        member: words.member(),
        protocol_type: words.option("type"),
        protocol_name: words.option("protocol"),
        assignments: assignments
            .map(|(id, text)| ((*id).to_owned(), Bytes::copy_from_slice(text.as_bytes())))
            .collect(),
    })
}

impl Stage {
    /// Plays one line and tells what was answered.
    pub(super) fn play(&mut self, line: &str) -> Vec<String> {
        let words = Words::new(line);
        let who = words.plain.get(1).copied().unwrap_or_default().to_owned();
        match words.plain.first().copied().unwrap_or_default() {
            "join" => {
                let join = self.join(&words);
                self.handle(who, Command::Join(join));
            }
            "sync" => self.handle(who, sync(&words)),
            "beat" => self.handle(who, Command::Heartbeat(words.member())),
            "leave" => self.handle("leave".into(), leave(&words)),
            "commit" => self.handle("commit".into(), commit(&words)),
            "forget" => {
                let partitions = words.plain[1..]
                    .iter()
                    .map(|word| partition(word))
                    .collect();
                self.handle("forget".into(), Command::DeleteOffsets { partitions });
            }
            "end" => {
                let committed = words.has("commit");
                let command = Command::EndTransaction {
                    producer_id: who.parse().unwrap(),
                    committed,
                };
                self.handle("end".into(), command);
            }
            "drop" => self.handle("drop".into(), Command::TopicDeleted(topic_id(&who))),
            "delete" => self.handle("delete".into(), Command::Delete),
            _ => self.play_stage_direction(&words, &who),
        }
        std::mem::take(&mut self.seen)
    }

    fn play_stage_direction(&mut self, words: &Words<'_>, who: &str) {
        match words.plain.first().copied() {
            Some("wait") => self.wait(millis(who)),
            Some("cancel") => {
                let (ticket, _) = self
                    .waiting
                    .iter()
                    .find(|(_, label)| *label == who)
                    .unwrap();
                let ticket = *ticket;
                self.waiting.remove(&ticket);
                self.group.cancel(ticket);
            }
            Some("restart") => self.restart(),
            Some("describe") => self.describe(),
            Some("fetch") => self.fetch(words),
            Some("set") => {
                for (key, value) in &words.options {
                    self.set(key, value);
                }
            }
            other => panic!("unknown step {other:?}"),
        }
    }

    fn join(&mut self, words: &Words<'_>) -> Join {
        let who = words.plain[1];
        let known = who.contains('-');
        self.fresh += u64::from(!known);
        let protocols = words.option("protocols").unwrap_or_else(|| "range".into());
        let topics = words.option("topics").unwrap_or_else(|| "t".into());
        let timeout = |key: &str, default: u64| words.option(key).map_or(default, |t| millis(&t));
        Join {
            member_id: if known { who.to_owned() } else { String::new() },
            instance_id: words.option("inst"),
            client_id: who.split('-').next().unwrap_or_default().to_owned(),
            client_host: "host".into(),
            session_timeout_ms: u32::try_from(timeout("session", 10_000)).unwrap(),
            rebalance_timeout_ms: u32::try_from(timeout("rebalance", 60_000)).unwrap(),
            protocol_type: words.option("type").unwrap_or_else(|| "consumer".into()),
            protocols: protocols
                .split(',')
                .filter(|name| !name.is_empty())
                .map(|name| (name.to_owned(), Bytes::copy_from_slice(topics.as_bytes())))
                .collect(),
            require_known_member: words.has("two-step"),
            can_skip_assignment: words.has("skips"),
            fresh_id: self.fresh.to_string(),
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let settings = &mut self.settings;
        match key {
            // So many bytes more than there are now.
            "memory" => self.memory = self.group.state_bytes() + value.parse::<u64>().unwrap(),
            "members" => settings.members_max = value.parse().unwrap(),
            "offsets" => settings.offsets_max = value.parse().unwrap(),
            "texts" => settings.offsets_text_bytes_max = value.parse().unwrap(),
            "bytes" => settings.member_bytes_max = value.parse().unwrap(),
            "delay" => settings.initial_rebalance_delay_ms = millis(value),
            other => panic!("no setting {other}"),
        }
        self.group.settings = settings.clone();
    }

    fn handle(&mut self, label: String, command: Command) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.waiting.insert(ticket, label);
        let room = self.memory.saturating_sub(self.group.state_bytes());
        let outcome = self.group.handle(command, ticket, self.now, room);
        self.take(outcome);
    }

    fn take(&mut self, outcome: Outcome) {
        self.events.extend(outcome.events);
        for (ticket, reply) in outcome.replies {
            let label = self
                .waiting
                .remove(&ticket)
                .expect("answered once, and only if asked");
            self.seen
                .push(format!("{label}: {}", describe_reply(&reply)));
        }
    }

    fn wait(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(at) = self.group.next_deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let outcome = self.group.tick(self.now);
            self.take(outcome);
        }
        self.now = until;
    }

    /// The process dies, with everyone who waited, and comes back from what it had written.
    fn restart(&mut self) {
        self.group = Group::new(self.settings.clone());
        for event in &self.events {
            self.group
                .apply(&GroupEvent::decode(&event.encode()).unwrap());
        }
        self.group.restored(self.now);
        self.waiting.clear();
    }

    fn describe(&mut self) {
        let description = self.group.describe();
        let members = description.members.iter().map(|member| {
            format!(
                "{}={}",
                member.member_id,
                String::from_utf8_lossy(&member.assignment)
            )
        });
        let members: Vec<_> = members.collect();
        self.seen.push(format!(
            "{:?} g{} {} {}",
            description.state,
            description.generation,
            description.protocol_name.unwrap_or_else(|| "-".into()),
            members.join(" ")
        ));
        let trimmed = self.seen.pop().unwrap_or_default().trim_end().to_owned();
        self.seen.push(trimmed);
    }

    fn fetch(&mut self, words: &Words<'_>) {
        let stable = words.has("stable");
        if words.has("all") {
            let all = self.group.committed_all(stable).into_iter().map(|fetched| {
                let offset = fetched
                    .offset
                    .map_or_else(|e| format!("{e:?}"), |o| o.offset.to_string());
                format!(
                    "{}/{}@{offset}",
                    fetched.topic_name, fetched.partition.partition
                )
            });
            let all: Vec<_> = all.collect();
            self.seen.push(if all.is_empty() {
                "nothing".into()
            } else {
                all.join(" ")
            });
            return;
        }
        let at = partition(words.plain[1]).partition;
        self.seen.push(match self.group.committed(at, stable) {
            Ok(Some(offset)) => offset.offset.to_string(),
            Ok(None) => "nothing".into(),
            Err(error) => format!("{error:?}"),
        });
    }
}

fn describe_reply(reply: &Reply) -> String {
    let many = |results: Vec<Result<(), Error>>| {
        let texts = results.into_iter().map(|result| match result {
            Ok(()) => "ok".to_owned(),
            Err(error) => format!("{error:?}"),
        });
        texts.collect::<Vec<_>>().join(" ")
    };
    match reply {
        Reply::Join(Ok(joined)) => {
            let members: Vec<_> = joined
                .members
                .iter()
                .map(|m| m.member_id.as_str())
                .collect();
            let skip = if joined.skip_assignment { " skip" } else { "" };
            let members = if members.is_empty() {
                String::new()
            } else {
                format!(" members={}", members.join(","))
            };
            let (generation, id, leader) = (joined.generation, &joined.member_id, &joined.leader);
            format!("joined g{generation} as {id} leader={leader}{members}{skip}")
        }
        Reply::Join(Err(refused)) => format!("{:?} {}", refused.error, refused.member_id)
            .trim_end()
            .to_owned(),
        Reply::Sync(Ok(synced)) => {
            format!("synced {}", String::from_utf8_lossy(&synced.assignment))
                .trim_end()
                .to_owned()
        }
        Reply::Heartbeat(result) | Reply::Delete(result) => many(vec![*result]),
        Reply::Leave(results) => many(results.iter().map(|(_, result)| *result).collect()),
        Reply::CommitOffsets(Ok(results)) | Reply::DeleteOffsets(Ok(results)) => {
            many(results.iter().map(|one| one.result).collect())
        }
        Reply::Sync(Err(error))
        | Reply::CommitOffsets(Err(error))
        | Reply::DeleteOffsets(Err(error)) => format!("{error:?}"),
        Reply::EndTransaction | Reply::TopicDeleted => "ok".into(),
    }
}
