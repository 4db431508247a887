//! The door: every verb is refused without the right for it, and does nothing then; nobody sees what is not theirs; and a right
//! that is gone stops who uses it.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use engine::exchange::{Destination, Kind, NoHeaders, Routed};
use engine::group::Command;
use engine::policy::{self, Policy, PolicyDocument, Rules, Scope};
use engine::queue::{
    DeadLetterExchange, DeadLetterPolicy, NewMessage, NewQueue, Position, QueueSettings, Receive,
};
use engine::{
    Access, Boundless, Error, Event, FetchPartition, FetchSpec, Keep, NewConsumer, NewRecord,
    NewTopic, Publish, ReadRecords, Removal, Result, TimeLookup, TopicKey, vhost,
};
use security::{Resource, Verb};

use crate::exchanges::{exchange, to_queue};
use crate::stage::{Right, Stage, batch};

type Outcome = Pin<Box<dyn Future<Output = Result<()>>>>;

/// A verb of the door: its name, the rights it needs, and a call of it.
type Entry = (&'static str, Vec<Right>, Box<dyn Fn(Access) -> Outcome>);

macro_rules! verbs {
    ($($name:ident: [$($verb:ident $resource:literal),*] |$access:ident| $call:expr;)*) => {
        vec![$((
            stringify!($name),
            vec![$((Verb::$verb, $resource.to_owned())),*],
            Box::new(|$access: Access| -> Outcome { Box::pin(async move { $call }) }),
        )),*]
    };
}

fn queue_named(name: &str, settings: QueueSettings) -> NewQueue {
    NewQueue {
        name: name.to_owned(),
        settings,
        topic: None,
    }
}

fn topic_named(name: &str) -> NewTopic {
    NewTopic {
        name: name.to_owned(),
        partitions: Some(1),
        ..NewTopic::default()
    }
}

fn text() -> NewMessage {
    NewMessage {
        body: Bytes::from_static(b"text"),
        ..NewMessage::default()
    }
}

fn dead_lettering() -> QueueSettings {
    QueueSettings {
        dead_letter: Some(DeadLetterPolicy {
            queue: "dead".into(),
            attempts_max: 3,
        }),
        dead_letter_exchange: Some(DeadLetterExchange {
            exchange: "amq.direct".into(),
            key: None,
        }),
        ..QueueSettings::default()
    }
}

fn policy() -> Policy {
    Policy {
        vhost: "/".into(),
        name: "p".into(),
        kind: policy::Kind::User,
        document: PolicyDocument {
            pattern: "never".into(),
            scope: Scope::All,
            priority: 0,
            rules: Rules {
                messages_max: Some(1),
                ..Rules::default()
            },
        },
    }
}

async fn fetch(access: Access) -> Result<()> {
    let partition = FetchPartition {
        topic: TopicKey::Name("t"),
        partition: 0,
        offset: 0,
        bytes_max: 1 << 20,
        epoch: None,
    };
    let spec = FetchSpec {
        room: &Boundless,
        partitions: vec![partition],
        bytes_max: 1 << 20,
        bytes_min: 0,
        wait_max: Duration::ZERO,
    };
    access.fetch(spec).await.remove(0).outcome.map(drop)
}

async fn publish(access: Access) -> Result<()> {
    let publish = Publish {
        topic: TopicKey::Name("t"),
        partition: 0,
        batch: Ok(batch(&["record"])),
    };
    access
        .publish(vec![publish])
        .await
        .done()
        .await
        .remove(0)
        .map(drop)
}

fn read() -> ReadRecords {
    ReadRecords {
        partition: 0,
        offset: 0,
        records_max: 1,
        bytes_max: 1 << 20,
        piece_bytes_max: 1 << 20,
        wait_max: Duration::ZERO,
    }
}

fn route(access: &Access, name: &str) -> Result<()> {
    let routed = Routed {
        keys: &[b"key"],
        headers: &NoHeaders,
        publisher: true,
    };
    access.route(vhost::DEFAULT, name, &routed).map(drop)
}

/// Every verb that may be refused, on a stage with queue `q` and its dead letters, topic `t`, exchange `x` and vhost `shop`.
/// In this order each finds what it needs.
fn verbs() -> Vec<Entry> {
    let mut all = verbs_of_queues();
    all.extend(verbs_of_topics_and_groups());
    all.extend(verbs_of_exchanges_and_vhosts());
    all
}

fn verbs_of_queues() -> Vec<Entry> {
    verbs! {
        queue: [Describe "queue q"] |a| a.queue("q").map(drop);
        queue_depth: [Describe "queue q"] |a| a.queue_depth("q").await.map(drop);
        moves: [Describe "queue q"] |a| a.moves("q").await.map(drop);
        send: [Publish "queue q"] |a| a.send("q", vec![text()]).await.map(drop);
        receive: [Consume "queue q"] |a| a.receive("q", Receive::default()).await.map(drop);
        receive_within: [Consume "queue q"] |a| {
            a.receive_within("q", Receive::default(), &Boundless).await.map(drop)
        };
        settle: [Consume "queue q"] |a| a.settle("q", Vec::new()).await.map(drop);
        peek: [Consume "queue q"] |a| a.peek("q", 0, 1).await.map(drop);
        peek_within: [Consume "queue q"] |a| a.peek_within("q", (0, 1), &Boundless).await.map(drop);
        look: [Consume "queue q"] |a| a.look("q", (0, 0, 1), &Boundless).await.map(drop);
        dead_letters: [Consume "queue q"] |a| a.dead_letters("q", 1).await.map(drop);
        replay: [Consume "queue q"] |a| a.replay("q", 0).await.map(drop);
        purge_queue: [Trim "queue q"] |a| a.purge_queue("q").await;
        clear_queue: [Trim "queue q"] |a| a.clear_queue("q").await.map(drop);
        configure_queue: [Configure "queue q", Consume "queue q", Publish "queue dead", Publish "exchange amq.direct"] |a| {
            let change = |settings: &mut QueueSettings| {
                *settings = dead_lettering();
                Ok(())
            };
            a.configure_queue("q", Box::new(change)).await.map(drop)
        };
        start_move: [Consume "queue q", Publish "queue other"] |a| {
            a.start_move("q", Some("other"), None).await.map(drop)
        };
        create_queue: [Create "queue new", Consume "queue new", Publish "queue dead", Publish "exchange amq.direct"] |a| {
            a.create_queue(queue_named("new", dead_lettering())).await.map(drop)
        };
        delete_queue: [Delete "queue new"] |a| a.delete_queue("new").await;
        delete_queue_if: [Delete "queue spare"] |a| {
            a.delete_queue_if("spare", Removal::default()).await.map(drop)
        };
    }
}

fn verbs_of_topics_and_groups() -> Vec<Entry> {
    verbs! {
        topic: [Describe "topic t"] |a| a.topic(TopicKey::Name("t")).map(drop);
        lookup: [Describe "topic t"] |a| {
            a.lookup(TopicKey::Name("t"), 0, TimeLookup::Latest).await.map(drop)
        };
        publish: [Publish "topic t"] |a| publish(a).await;
        append_records: [Publish "topic t"] |a| {
            a.append_records("t", vec![NewRecord::default()]).await.map(drop)
        };
        fetch: [Consume "topic t"] |a| fetch(a).await;
        read_records: [Consume "topic t"] |a| a.read_records("t", read(), &Boundless).await.map(drop);
        producers: [Consume "topic t"] |a| a.producers(TopicKey::Name("t"), 0).await.map(drop);
        delete_records: [Trim "topic t"] |a| a.delete_records("t", 0, None).await.map(drop);
        configure_topic: [Configure "topic t"] |a| a.configure_topic("t", Vec::new(), false).await;
        add_partitions: [Configure "topic t"] |a| a.add_partitions("t", 3, false).await;
        create_topic: [Create "topic new"] |a| a.create_topic(topic_named("new"), false).await.map(drop);
        delete_topic: [Delete "topic new"] |a| a.delete_topic(TopicKey::Name("new")).await.map(drop);
        group_command: [Consume "group g"] |a| {
            let command = Command::Leave { members: Vec::new() };
            a.group_command("g", command, true).await.map(drop)
        };
        inspect_group: [Describe "group g"] |a| a.inspect_group("g", |_| ()).await;
        producer_id: [Describe "broker"] |a| a.producer_id().await.map(drop);
        keep: [Configure "broker"] |a| {
            let keep = Keep { scope: "all".into(), replace: false, values: Vec::new() };
            a.keep(Resource::Broker, keep, false).await
        };
    }
}

fn verbs_of_exchanges_and_vhosts() -> Vec<Entry> {
    verbs! {
        exchange: [Describe "exchange x"] |a| a.exchange(vhost::DEFAULT, "x").map(drop);
        route: [Publish "exchange x"] |a| route(&a, "x");
        bind: [Consume "exchange x", Publish "queue q"] |a| a.bind(to_queue("x", "q", "key")).await;
        unbind: [Consume "exchange x", Publish "queue q"] |a| a.unbind(&to_queue("x", "q", "key")).await;
        declare_exchange: [Create "exchange y"] |a| a.declare_exchange(exchange("y", Kind::Direct)).await.map(drop);
        delete_exchange: [Delete "exchange y"] |a| a.delete_exchange(vhost::DEFAULT, "y", false).await;
        vhost: [Describe "vhost shop"] |a| a.vhost("shop").map(drop);
        vhost_sizes: [Describe "vhost shop"] |a| a.vhost_sizes("shop").map(drop);
        trace_vhost: [Configure "vhost shop"] |a| a.trace_vhost("shop", true);
        create_vhost: [Create "vhost new"] |a| a.create_vhost("new").await.map(drop);
        delete_vhost: [Delete "vhost new"] |a| a.delete_vhost("new").await;
        policies: [Describe "vhost /"] |a| a.policies("/").map(drop);
        put_policy: [Configure "vhost /"] |a| a.put_policy(policy()).await;
        remove_policy: [Configure "vhost /"] |a| a.remove_policy(policy::Kind::User, "/", "p").await.map(drop);
    }
}

/// What shows only what may be seen, tells of rights, or opens a session whose verbs are asked about themselves; and a move that
/// is known by an identity nobody can guess.
const OTHERS: [&str; 18] = [
    "allows",
    "attach_on_use",
    "bindings",
    "bindings_from",
    "bindings_to",
    "cancel_move",
    "exchanges",
    "group_names",
    "has_binding",
    "is_only_topic",
    "list_consumers",
    "open_session",
    "open_session_within",
    "principal",
    "queues",
    "topics",
    "vhosts",
    "on_behalf_of",
];

async fn stage() -> Stage {
    // Nothing is written that is not asked for.
    let stage =
        Stage::with(|settings| settings.maintenance_interval = Duration::from_hours(1)).await;
    let replayed = QueueSettings {
        replay_ms: 1000,
        ..QueueSettings::default()
    };
    stage.declare("q", replayed).await.unwrap();
    for name in ["dead", "other", "spare"] {
        stage.plain_queue(name).await;
    }
    stage.make("t", &[]).await.unwrap();
    stage.add_exchange(exchange("x", Kind::Direct)).await;
    stage.access.create_vhost("shop").await.unwrap();
    stage
}

#[tokio::test]
async fn without_a_right_every_verb_is_refused_and_does_nothing() {
    let stage = stage().await;
    let access = &stage.access;
    stage.denied.all_but(&[]);
    let before = stage.store.stats().journal_written_bytes;
    for (name, _, call) in verbs() {
        assert_eq!(call(access.clone()).await, Err(Error::Denied), "{name}");
    }
    assert_eq!(stage.store.stats().journal_written_bytes, before);
}

#[tokio::test]
async fn every_verb_needs_each_of_its_rights_and_no_other() {
    let stage = stage().await;
    let access = &stage.access;
    for (name, rights, call) in verbs() {
        for missing in &rights {
            let others: Vec<Right> = rights.iter().filter(|r| *r != missing).cloned().collect();
            stage.denied.all_but(&others);
            let refused = call(access.clone()).await;
            assert_eq!(refused, Err(Error::Denied), "{name} without {missing:?}");
        }
        stage.denied.all_but(&rights);
        let allowed = call(access.clone()).await;
        assert_eq!(allowed, Ok(()), "{name} with {rights:?}");
    }
}

/// Names of all public methods of the door, as its source has them.
fn methods() -> BTreeSet<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/broker");
    let mut names = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for part in source.split("\nimpl Access {\n").skip(1) {
            let body = part.split("\n}\n").next().unwrap_or(part);
            let public = body.lines().filter_map(|line| {
                let line = line.strip_prefix("    pub ")?;
                let line = line
                    .strip_prefix("async ")
                    .unwrap_or(line)
                    .strip_prefix("fn ")?;
                line.split(['(', '<']).next()
            });
            names.extend(public.map(str::to_owned));
        }
    }
    names
}

#[test]
fn every_method_of_the_door_is_walked_through() {
    let mut walked: BTreeSet<String> = verbs()
        .iter()
        .map(|(name, ..)| (*name).to_owned())
        .collect();
    walked.extend(OTHERS.iter().map(|name| (*name).to_owned()));
    walked.remove("on_behalf_of");
    assert_eq!(methods(), walked);
}

#[tokio::test]
async fn a_list_shows_what_may_be_seen() {
    let stage = stage().await;
    let access = &stage.access;
    stage.bind(to_queue("x", "q", "key")).await.unwrap();
    stage.bind(to_queue("x", "dead", "key")).await.unwrap();
    let see = |what: &str| (Verb::Describe, what.to_owned());
    stage.denied.all_but(&[
        see("queue q"),
        see("topic t"),
        see("exchange x"),
        see("vhost shop"),
    ]);
    let queues = access.queues();
    let names: Vec<_> = queues
        .page("", None, 1)
        .iter()
        .map(|q| q.name.to_string())
        .collect();
    assert_eq!(names, ["q"]);
    assert!(queues.page("", Some("q"), 10).is_empty());
    assert!(queues.named("dead").is_none() && queues.named("q").is_some());
    let topics = access.topics();
    assert_eq!(topics.iter().map(|t| &*t.name).collect::<Vec<_>>(), ["t"]);
    assert!(topics.named("q").is_none());
    let exchanges = access.exchanges(vhost::DEFAULT);
    assert_eq!(
        exchanges.iter().map(|x| &*x.name).collect::<Vec<_>>(),
        ["x"]
    );
    let bindings = access.bindings(vhost::DEFAULT);
    assert_eq!(bindings.len(), 1);
    assert_eq!(bindings[0].destination, Destination::Queue("q".into()));
    assert!(access.has_binding(&to_queue("x", "q", "key")));
    assert!(!access.has_binding(&to_queue("x", "dead", "key")));
    let vhosts = access.vhosts();
    assert_eq!(
        vhosts.iter().map(|v| v.name()).collect::<Vec<_>>(),
        ["shop"]
    );
    assert!(access.group_names().is_empty());
}

#[tokio::test]
async fn a_session_is_asked_about_what_it_does() {
    let stage = stage().await;
    let (session, _deliveries) = stage.access.open_session();
    stage.denied.all_but(&[]);
    let denied =
        |refused: Option<Error>, what: &str| assert_eq!(refused, Some(Error::Denied), "{what}");
    denied(session.queue("q").err(), "queue");
    denied(session.get("q").await.err(), "get");
    denied(
        session.subscribe("q", NewConsumer::default()).await.err(),
        "subscribe",
    );
    denied(
        session
            .read("q", Position::First, NewConsumer::default())
            .await
            .err(),
        "read",
    );
}

#[tokio::test]
async fn a_right_that_is_gone_stops_consumers_readers_receivers_and_fetches() {
    let stage = stage().await;
    let access = &stage.access;
    let mut peer = stage.peer();
    let _leased = peer.consume("q", 10).await;
    let mut reader = stage.peer();
    let _read = reader
        .session
        .read("other", Position::First, NewConsumer::default())
        .await
        .unwrap();
    let waiting = Receive {
        wait_ms: 60_000,
        ..Receive::default()
    };
    let of_poll = access.clone();
    let poll = tokio::spawn(async move { of_poll.receive("dead", waiting).await.map(drop) });
    let of_fetch = access.clone();
    let waiting = tokio::spawn(async move {
        let read = ReadRecords {
            wait_max: Duration::from_mins(1),
            ..read()
        };
        of_fetch.read_records("t", read, &Boundless).await.map(drop)
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    stage.denied.set(&[Verb::Consume]);
    stage.broker.rights_changed();
    assert!(matches!(peer.next().await, Event::Cancelled { .. }));
    assert!(matches!(reader.next().await, Event::Cancelled { .. }));
    assert_eq!(poll.await.unwrap(), Err(Error::Denied));
    assert_eq!(waiting.await.unwrap(), Err(Error::Denied));
    stage.denied.nothing();
    // Nobody is left who would get it.
    stage.say("q", &["for nobody"]).await;
    peer.nothing().await;
    assert_eq!(stage.depth("q").await, (1, 0, 0));
}
