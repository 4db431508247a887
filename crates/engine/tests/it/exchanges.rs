//! Exchanges and bindings over restarts: what was acknowledged is there again, and what is gone leads nowhere.

use std::collections::BTreeSet;

use bytes::Bytes;
use engine::exchange::{
    Binding, Destination, Kind, NewExchange, NoHeaders, Route, Routed, STANDARD,
};
use engine::queue::NewQueue;
use engine::{Error, Result, TopicKey, VhostSizes, vhost};
use storage::{Catalog, Expected};

use crate::stage::{ENDS, End, Stage, anyone};

/// A durable exchange of the default vhost.
pub(crate) fn exchange(name: &str, kind: Kind) -> NewExchange {
    NewExchange {
        vhost: vhost::DEFAULT.to_owned(),
        name: name.to_owned(),
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        alternate: None,
        arguments: Vec::new(),
    }
}

pub(crate) fn to_queue(source: &str, queue: &str, key: &str) -> Binding {
    Binding {
        vhost: vhost::DEFAULT.to_owned(),
        source: source.to_owned(),
        destination: Destination::Queue(queue.to_owned()),
        key: Bytes::copy_from_slice(key.as_bytes()),
        arguments: Vec::new(),
    }
}

fn to_exchange(source: &str, name: &str) -> Binding {
    Binding {
        destination: Destination::Exchange(name.to_owned()),
        ..to_queue(source, "", "")
    }
}

fn in_vhost(vhost: &str, binding: Binding) -> Binding {
    Binding {
        vhost: vhost.to_owned(),
        ..binding
    }
}

impl Stage {
    pub(crate) async fn add_exchange(&self, new: NewExchange) {
        self.access.declare_exchange(new).await.unwrap();
    }

    pub(crate) async fn bind(&self, binding: Binding) -> Result<()> {
        self.access.bind(binding).await
    }

    pub(crate) async fn plain_queue(&self, name: &str) {
        let queue = NewQueue {
            name: name.to_owned(),
            ..NewQueue::default()
        };
        self.access.create_queue(queue).await.unwrap();
    }

    pub(crate) fn route(&self, vhost: &str, exchange: &str, key: &str) -> Result<Route> {
        let routed = Routed {
            keys: &[key.as_bytes()],
            headers: &NoHeaders,
            publisher: true,
        };
        self.access.route(vhost, exchange, &routed)
    }

    /// Names of the queues a message of this key goes to.
    fn goes_to(&self, exchange: &str, key: &str) -> BTreeSet<String> {
        let route = self.route(vhost::DEFAULT, exchange, key).unwrap();
        route.queues().iter().map(|q| q.name.to_string()).collect()
    }

    fn assert_goes_to(&self, exchange: &str, key: &str, queues: &[&str]) {
        let queues: BTreeSet<String> = queues.iter().map(|q| (*q).to_owned()).collect();
        assert_eq!(self.goes_to(exchange, key), queues, "{exchange} '{key}'");
    }
}

#[tokio::test]
async fn acknowledged_bindings_survive_every_end() {
    for end in ENDS {
        let stage = Stage::new().await;
        stage.add_exchange(exchange("d", Kind::Direct)).await;
        stage.add_exchange(exchange("f", Kind::Fanout)).await;
        for queue in ["q1", "q2"] {
            stage.plain_queue(queue).await;
            stage.bind(to_queue("d", queue, "k")).await.unwrap();
        }
        stage
            .bind(to_queue("amq.topic", "q1", "a.#"))
            .await
            .unwrap();
        stage.bind(to_exchange("f", "d")).await.unwrap();
        stage.bind(to_queue("f", "q2", "")).await.unwrap();
        stage.bind(to_queue("f", "q2", "")).await.unwrap();
        let gone = to_queue("d", "q2", "k");
        stage.access.unbind(&gone).await.unwrap();
        stage.access.unbind(&gone).await.unwrap();
        let stage = stage.again(end).await;
        stage.assert_goes_to("d", "k", &["q1"]);
        stage.assert_goes_to("f", "k", &["q1", "q2"]);
        stage.assert_goes_to("f", "other", &["q2"]);
        stage.assert_goes_to("amq.topic", "a.b", &["q1"]);
        stage.assert_goes_to("", "q2", &["q2"]);
        assert_eq!(stage.access.bindings(vhost::DEFAULT).len(), 4, "{end:?}");
    }
}

#[tokio::test]
async fn what_is_transient_is_gone_after_a_restart() {
    let stage = Stage::new().await;
    let passing = NewExchange {
        durable: false,
        ..exchange("passing", Kind::Fanout)
    };
    stage.add_exchange(passing).await;
    stage.plain_queue("q").await;
    stage.bind(to_queue("passing", "q", "")).await.unwrap();
    stage
        .bind(to_exchange("amq.fanout", "passing"))
        .await
        .unwrap();
    stage.assert_goes_to("amq.fanout", "", &["q"]);
    let stage = stage.again(End::Stop).await;
    stage.assert_goes_to("amq.fanout", "", &[]);
    let lost = stage.access.exchange(vhost::DEFAULT, "passing");
    assert_eq!(lost.unwrap_err(), Error::UnknownExchange);
    assert!(stage.documents("bindings/").await.is_empty());
    assert!(stage.documents("exchanges/").await.is_empty());
}

#[tokio::test]
async fn a_queue_takes_its_bindings_with_it() {
    let stage = Stage::new().await;
    let passing = NewExchange {
        auto_delete: true,
        ..exchange("x", Kind::Fanout)
    };
    stage.add_exchange(passing).await;
    for queue in ["q1", "q2"] {
        stage.plain_queue(queue).await;
    }
    stage.bind(to_queue("amq.fanout", "q1", "")).await.unwrap();
    for key in 0..600 {
        let key = key.to_string();
        stage.bind(to_queue("x", "q1", &key)).await.unwrap();
    }
    // With the topic the queue goes, and so do the bindings.
    stage
        .access
        .delete_topic(TopicKey::Name("q1"))
        .await
        .unwrap();
    assert!(stage.documents("bindings/").await.is_empty());
    let gone = stage.access.exchange(vhost::DEFAULT, "x");
    assert_eq!(gone.unwrap_err(), Error::UnknownExchange);
    assert!(stage.documents("exchanges/").await.is_empty());
    stage.plain_queue("q1").await;
    stage.assert_goes_to("amq.fanout", "", &[]);
    let stage = stage.again(End::Kill).await;
    stage.assert_goes_to("amq.fanout", "", &[]);
}

#[tokio::test]
async fn refusals() {
    let stage = Stage::new().await;
    stage.plain_queue("q").await;
    stage.add_exchange(exchange("x", Kind::Headers)).await;
    let access = &stage.access;
    let again = access.declare_exchange(exchange("x", Kind::Direct));
    assert_eq!(again.await.unwrap_err(), Error::ExchangeExists("x".into()));
    let standard = exchange(STANDARD[0].0, Kind::Direct);
    let refused = stage.access.declare_exchange(standard).await;
    assert!(matches!(refused, Err(Error::ExchangeExists(_))));
    let mut elsewhere = exchange("y", Kind::Direct);
    elsewhere.vhost = "gone".into();
    let refused = stage.access.declare_exchange(elsewhere).await;
    assert_eq!(refused.unwrap_err(), Error::UnknownVhost);
    for (binding, error) in [
        (to_queue("gone", "q", ""), Error::UnknownExchange),
        (to_queue("x", "gone", ""), Error::UnknownQueue),
        (to_exchange("x", "gone"), Error::UnknownExchange),
    ] {
        assert_eq!(stage.bind(binding).await, Err(error));
    }
    let to_default = [to_queue("", "q", ""), to_exchange("x", "")];
    for binding in to_default {
        let refused = stage.bind(binding).await;
        assert!(matches!(refused, Err(Error::InvalidRequest(_))));
    }
    stage.bind(to_queue("x", "q", "")).await.unwrap();
    let delete = |name: &'static str, if_unused| {
        let broker = stage.broker.clone();
        async move {
            let access = broker.on_behalf_of(anyone());
            let deleted = access.delete_exchange(vhost::DEFAULT, name, if_unused);
            deleted.await
        }
    };
    assert_eq!(delete("x", true).await, Err(Error::InUse));
    assert_eq!(delete("x", false).await, Ok(()));
    assert_eq!(delete("x", false).await, Err(Error::UnknownExchange));
    let standard = delete("amq.topic", false).await;
    assert!(matches!(standard, Err(Error::InvalidRequest(_))));
    let unknown = stage.route(vhost::DEFAULT, "x", "").unwrap_err();
    assert_eq!(unknown, Error::UnknownExchange);
}

#[tokio::test]
async fn vhosts_keep_names_apart_and_go_with_all_they_have() {
    let stage = Stage::new().await;
    assert!(stage.access.create_vhost("shop").await.unwrap());
    assert!(!stage.access.create_vhost("shop").await.unwrap());
    stage.plain_queue("q").await;
    stage.plain_queue(&vhost::qualify("shop", "q")).await;
    for vhost in [vhost::DEFAULT, "shop"] {
        let mut new = exchange("x", Kind::Fanout);
        new.vhost = vhost.to_owned();
        stage.add_exchange(new).await;
        let binding = in_vhost(vhost, to_queue("x", "q", ""));
        stage.bind(binding).await.unwrap();
    }
    let stage = stage.again(End::Kill).await;
    assert_eq!(vhosts(&stage), ["/", "shop"]);
    let sizes = stage.access.vhost_sizes("shop").unwrap();
    // Of exchanges, one beside those that every vhost has.
    let one_each = VhostSizes {
        queues: 1,
        exchanges: 7,
        bindings: 1,
    };
    assert_eq!(sizes, one_each);
    assert_eq!(stage.access.vhost_sizes(vhost::DEFAULT).unwrap(), one_each);
    let route = stage.route("shop", "x", "").unwrap();
    assert_eq!(&*route.queues()[0].name, vhost::qualify("shop", "q"));
    let by_name = stage.route("shop", "", "q").unwrap();
    assert_eq!(by_name.queues()[0].id(), route.queues()[0].id());
    stage.assert_goes_to("x", "", &["q"]);
    stage.access.delete_vhost("shop").await.unwrap();
    let again = stage.access.delete_vhost("shop").await;
    assert_eq!(again, Err(Error::UnknownVhost));
    let default = stage.access.delete_vhost(vhost::DEFAULT).await;
    assert!(matches!(default, Err(Error::InvalidRequest(_))));
    assert_eq!(stage.broker.inventory().queues().len(), 1);
    let name = vhost::qualify("shop", "q");
    let new = NewQueue {
        name,
        ..NewQueue::default()
    };
    let refused = stage.access.create_queue(new).await;
    assert_eq!(refused.unwrap_err(), Error::UnknownVhost);
    let stage = stage.again(End::Stop).await;
    assert_eq!(stage.access.vhosts().len(), 1);
    assert_eq!(stage.documents("bindings/").await.len(), 1);
    assert_eq!(stage.documents("exchanges/").await.len(), 1);
}

fn vhosts(stage: &Stage) -> Vec<String> {
    let all = stage.access.vhosts();
    all.iter().map(|vhost| vhost.name().to_owned()).collect()
}

#[tokio::test]
async fn the_removal_of_a_vhost_that_a_crash_interrupts_is_finished() {
    let stage = Stage::new().await;
    for name in ["shop", "other"] {
        stage.access.create_vhost(name).await.unwrap();
        stage.plain_queue(&vhost::qualify(name, "q")).await;
        stage.plain_queue(&vhost::qualify(name, "r")).await;
    }
    // The note of a removal, and of one of a vhost that has been made again since.
    let vhost = stage.access.vhost("shop").unwrap();
    let note = serde_json::to_vec(vhost.document()).unwrap();
    let stale = serde_json::to_vec(&vhost::VhostDocument::default()).unwrap();
    for (key, note) in [
        ("removed-vhosts/shop", note),
        ("removed-vhosts/other", stale),
    ] {
        let put = stage.store.put_if(key, Expected::Absent, Some(note.into()));
        put.await.unwrap();
    }
    let queue = vhost::qualify("shop", "q");
    stage.access.delete_queue(&queue).await.unwrap();
    let stage = stage.again(End::Kill).await;
    assert_eq!(vhosts(&stage), ["/", "other"]);
    assert_eq!(stage.broker.inventory().queues().len(), 2);
    assert_eq!(stage.documents("removed-vhosts/").await, [""; 0]);
    assert_eq!(stage.documents("vhosts/").await, ["vhosts/other"]);
}

#[tokio::test]
async fn who_works_in_a_vhost_is_told_that_it_goes() {
    let stage = Stage::new().await;
    stage.access.create_vhost("shop").await.unwrap();
    let vhost = stage.access.vhost("shop").unwrap();
    let early = tokio::time::timeout(std::time::Duration::from_millis(20), vhost.removed());
    early.await.expect_err("it is there");
    stage.access.delete_vhost("shop").await.unwrap();
    vhost.removed().await;
    // One made again is another one.
    assert!(stage.access.create_vhost("shop").await.unwrap());
    let again = stage.access.vhost("shop").unwrap();
    assert_ne!(again.document().id, vhost.document().id);
    let sizes = stage.access.vhost_sizes("shop").unwrap();
    assert_eq!((sizes.queues, sizes.exchanges, sizes.bindings), (0, 6, 0));
}

#[tokio::test]
async fn names_and_number_of_vhosts_are_bounded() {
    let stage = Stage::with(|settings| settings.vhosts_max = 2).await;
    for bad in ["", "a\0", "a\nb", "a\u{1f}b", &"x".repeat(256)] {
        let refused = stage.access.create_vhost(bad).await;
        assert!(
            matches!(refused, Err(Error::InvalidName(_))),
            "{bad:?}: {refused:?}"
        );
    }
    let longest = "x".repeat(255);
    assert!(stage.access.create_vhost(&longest).await.unwrap());
    let full = stage.access.create_vhost("more").await;
    let most = "the broker holds at most 2 vhosts".to_owned();
    assert_eq!(full, Err(Error::InvalidRequest(most)));
    let queue = vhost::qualify(&longest, &"y".repeat(255));
    stage.plain_queue(&queue).await;
    let stage = stage.again(End::Kill).await;
    assert!(stage.broker.inventory().queues().named(&queue).is_some());
}
