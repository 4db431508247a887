//! Ways through several exchanges, and what goes with what.

use super::*;
use crate::Error;

fn fanout() -> ExchangeDocument {
    document(Kind::Fanout, Vec::new())
}

#[test]
fn exchanges_lead_to_exchanges_in_circles_too() {
    let mut routing = VhostRouting::new(VHOST);
    for name in ["a", "b", "c"] {
        declare(&mut routing, name, fanout());
    }
    for (source, to) in [
        ("a", "b"),
        ("b", "c"),
        ("c", "a"),
        ("a", "a"),
        ("a", "q1"),
        ("b", "q1"),
        ("c", "q2"),
    ] {
        bind(&mut routing, &binding(source, to, "", Vec::new())).unwrap();
    }
    for start in ["a", "b", "c"] {
        assert_eq!(
            queues_of(&routing, start, "", &Table::default()),
            ["q1", "q2"]
        );
    }
    routing.remove("b");
    assert_eq!(queues_of(&routing, "a", "", &Table::default()), ["q1"]);
    assert_eq!(
        queues_of(&routing, "c", "", &Table::default()),
        ["q1", "q2"]
    );
    assert_eq!(routing.bindings().count(), 4);
}

#[test]
fn an_alternate_takes_what_finds_nothing() {
    let mut routing = VhostRouting::new(VHOST);
    let alternate = |to: &str| ExchangeDocument {
        alternate: Some(to.to_owned()),
        ..document(Kind::Direct, Vec::new())
    };
    declare(&mut routing, "x", alternate("y"));
    declare(&mut routing, "y", alternate("x"));
    declare(&mut routing, "z", alternate("gone"));
    declare(&mut routing, "by-name", alternate(""));
    bind(&mut routing, &binding("x", "q1", "k", Vec::new())).unwrap();
    bind(&mut routing, &binding("y", "q2", "l", Vec::new())).unwrap();
    let none = Table::default();
    assert_eq!(queues_of(&routing, "x", "k", &none), ["q1"]);
    assert_eq!(queues_of(&routing, "x", "l", &none), ["q2"]);
    assert!(
        queues_of(&routing, "x", "m", &none).is_empty(),
        "in a circle"
    );
    assert!(queues_of(&routing, "z", "k", &none).is_empty());
    let found = routing.route("by-name", &routed(&[b"q9"], &none), &|| 0);
    assert!(found.unwrap().by_name);
}

#[test]
fn clients_do_not_publish_to_internal_exchanges() {
    let mut routing = VhostRouting::new(VHOST);
    let internal = ExchangeDocument {
        internal: true,
        ..fanout()
    };
    declare(&mut routing, "inside", internal);
    declare(&mut routing, "outside", fanout());
    bind(&mut routing, &binding("outside", "inside", "", Vec::new())).unwrap();
    bind(&mut routing, &binding("inside", "q", "", Vec::new())).unwrap();
    let none = Table::default();
    assert_eq!(queues_of(&routing, "outside", "", &none), ["q"]);
    let refused = routing.route("inside", &routed(&[b""], &none), &|| 0);
    assert!(matches!(refused, Err(Error::Internal { .. })));
    let by_broker = Routed {
        publisher: false,
        ..routed(&[b""], &none)
    };
    assert_eq!(
        routing
            .route("inside", &by_broker, &|| 0)
            .unwrap()
            .queues
            .len(),
        1
    );
    let unknown = routing.route("gone", &routed(&[b""], &none), &|| 0);
    assert!(matches!(unknown, Err(Error::UnknownExchange)));
}

#[test]
fn exchanges_go_with_their_last_binding_if_they_are_made_so() {
    let mut routing = VhostRouting::new(VHOST);
    let passing = || ExchangeDocument {
        auto_delete: true,
        ..fanout()
    };
    for name in ["a", "b", "c"] {
        declare(&mut routing, name, passing());
    }
    for (source, to) in [("a", "b"), ("b", "c"), ("c", "q"), ("c", "q2")] {
        bind(&mut routing, &binding(source, to, "", Vec::new())).unwrap();
    }
    let queue: Arc<str> = Arc::from("q");
    let removed = routing.forget_queue(&queue);
    assert_eq!((removed.exchanges.len(), removed.bindings.len()), (0, 1));
    let removed = routing.unbind(binding("c", "q2", "", Vec::new()).id());
    assert_eq!((removed.exchanges.len(), removed.bindings.len()), (3, 3));
    assert_eq!(routing.counts().1, 0);
    assert!(routing.exchange("a").is_none());
    assert!(routing.exchange("amq.topic").is_some());
    let again = routing.unbind(binding("c", "q2", "", Vec::new()).id());
    assert!(again.bindings.is_empty());
}

#[test]
fn a_binding_is_the_same_whatever_the_order_of_its_arguments() {
    let pairs = [("a", Value::Int(1)), ("b", Value::text("x"))];
    let one = binding("x", "q", "k", arguments(&pairs));
    let turned: Vec<_> = pairs.iter().rev().cloned().collect();
    assert_eq!(one.id(), binding("x", "q", "k", arguments(&turned)).id());
    assert_ne!(one.id(), binding("x", "q", "k", Vec::new()).id());
    assert_ne!(one.id(), binding("x", "q", "j", arguments(&pairs)).id());
    let mut to_exchange = one.clone();
    to_exchange.destination = Destination::Exchange("q".into());
    assert_ne!(one.id(), to_exchange.id());
}

#[test]
fn values_survive_being_stored() {
    let all = arguments(&[
        ("void", Value::Void),
        ("float", Value::Float(f64::INFINITY)),
        ("bytes", Value::Text(Bytes::from_static(b"\xff\0"))),
        ("text", Value::text("[1,2]")),
        (
            "list",
            Value::Array(vec![Value::Int(i64::MIN), Value::Time(7)]),
        ),
        (
            "table",
            Value::Table(arguments(&[("x", Value::Bool(true))])),
        ),
        (
            "other",
            Value::Other {
                kind: b'D',
                bytes: Bytes::from_static(b"\x02\xff"),
            },
        ),
    ]);
    let text = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<Arguments>(&text).unwrap(), all);
}
