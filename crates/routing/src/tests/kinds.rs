//! What each kind of exchange makes of its bindings.

use super::*;
use crate::Error;
use crate::patterns::Patterns;
use crate::targets::Targets;

fn with(kind: Kind, given: &[(&str, Value)]) -> VhostRouting {
    let mut routing = VhostRouting::new(VHOST);
    declare(&mut routing, "x", document(kind, arguments(given)));
    routing
}

#[test]
fn a_kind_has_one_name() {
    for name in [
        "direct",
        "fanout",
        "topic",
        "headers",
        "x-consistent-hash",
        "x-modulus-hash",
        "x-random",
        "x-local-random",
    ] {
        let kind = Kind::named(name, &Vec::new()).unwrap();
        assert_eq!(kind.name(), name);
    }
    let inner = arguments(&[("x-delayed-type", Value::text("topic"))]);
    let delayed = Kind::named("x-delayed-message", &inner).unwrap();
    assert_eq!(delayed, Kind::Delayed(Box::new(Kind::Topic)));
    assert_eq!(delayed.name(), "x-delayed-message");
    let unknown = Kind::named("x-recent-history", &Vec::new());
    assert_eq!(
        unknown,
        Err(Error::InvalidConfig(
            "unknown exchange type 'x-recent-history'".into()
        ))
    );
    Kind::named("x-delayed-message", &Vec::new()).expect_err("what kind?");
    let again = arguments(&[("x-delayed-type", Value::text("x-delayed-message"))]);
    Kind::named("x-delayed-message", &again).expect_err("delays twice");
}

#[test]
fn direct_and_fanout() {
    let mut routing = with(Kind::Direct, &[]);
    declare(&mut routing, "f", document(Kind::Fanout, Vec::new()));
    for (source, to, key) in [
        ("x", "q1", "a"),
        ("x", "q2", "a"),
        ("x", "q2", "b"),
        ("f", "q3", "whatever"),
        ("f", "q3", "else"),
    ] {
        bind(&mut routing, &binding(source, to, key, Vec::new())).unwrap();
    }
    let none = Table::default();
    assert_eq!(queues_of(&routing, "x", "a", &none), ["q1", "q2"]);
    assert_eq!(queues_of(&routing, "x", "b", &none), ["q2"]);
    assert!(queues_of(&routing, "x", "", &none).is_empty());
    assert_eq!(queues_of(&routing, "f", "", &none), ["q3"]);
    let keys: [&[u8]; 3] = [b"b", b"a", b"none"];
    let found = routing.route("x", &routed(&keys, &none), &|| 0).unwrap();
    assert_eq!(found.queues.len(), 2, "each once, whatever key finds it");
    routing.unbind(binding("f", "q3", "else", Vec::new()).id());
    assert_eq!(queues_of(&routing, "f", "", &none), ["q3"], "one is left");
}

#[test]
fn patterns_of_words() {
    let cases: [(&str, &[&str], &[&str]); 9] = [
        ("a.b", &["a.b"], &["a", "a.b.c", "a.c", "", "a.b."]),
        ("*", &["a", "#"], &["", "a.b", "."]),
        ("#", &["", "a", "a.b", "..", "*"], &[]),
        ("a.*.c", &["a.b.c", "a..c"], &["a.c", "a.b.b.c"]),
        ("a.#", &["a", "a.b", "a.b.c", "a."], &["", "b.a"]),
        ("#.a", &["a", "b.a", "a.a", ".a"], &["a.b", ""]),
        ("#.*", &["a", "a.b", "."], &[""]),
        ("*.#.*", &["a.b", "a.b.c"], &["a", ""]),
        ("", &[""], &["a", "."]),
    ];
    for (pattern, good, bad) in cases {
        let mut patterns = Patterns::default();
        let target = Target::Queue(Arc::from("q"));
        patterns.add(pattern.as_bytes(), &target);
        let hits = |key: &str| {
            let mut found = Vec::new();
            patterns.matches(key.as_bytes(), &mut found);
            found.len()
        };
        for key in good {
            assert_eq!(hits(key), 1, "'{pattern}' matches '{key}'");
        }
        for key in bad {
            assert_eq!(hits(key), 0, "'{pattern}' does not match '{key}'");
        }
        patterns.remove(pattern.as_bytes(), &target);
        assert_eq!(patterns.len(), 0, "'{pattern}' leaves nothing behind");
    }
}

#[test]
fn a_pattern_of_nothing_but_repeats_costs_no_more_than_its_length() {
    let mut patterns = Patterns::default();
    let target = Target::Queue(Arc::from("q"));
    patterns.add("#.".repeat(100).as_bytes(), &target);
    patterns.add(["#"; 100].join(".").as_bytes(), &target);
    let key = ["a"; 120].join(".");
    let mut found = Vec::new();
    patterns.matches(key.as_bytes(), &mut found);
    assert_eq!(found.len(), 1);
}

#[test]
fn headers_are_compared_by_class_and_value() {
    let all = |pairs: &[(&str, Value)]| arguments(pairs);
    let how = |how: &str| ("x-match", Value::text(how));
    let sent = table(&[
        ("a", Value::Int(1)),
        ("b", Value::text("two")),
        ("x-c", Value::Bool(true)),
        ("d", Value::Void),
    ]);
    let cases = [
        (all(&[]), true),
        (all(&[how("any")]), false),
        (
            all(&[("a", Value::Int(1)), ("b", Value::text("two"))]),
            true,
        ),
        (
            all(&[("a", Value::Int(1)), ("b", Value::text("no"))]),
            false,
        ),
        (
            all(&[how("any"), ("a", Value::Int(1)), ("b", Value::text("no"))]),
            true,
        ),
        (all(&[("a", Value::Void), ("d", Value::Void)]), true),
        (all(&[("gone", Value::Void)]), false),
        (all(&[("a", Value::text("1"))]), false),
        (all(&[("a", Value::Float(1.0))]), false),
        (all(&[("x-c", Value::Bool(false))]), true),
        (
            all(&[how("all-with-x"), ("x-c", Value::Bool(false))]),
            false,
        ),
        (all(&[how("any"), ("x-c", Value::Bool(true))]), false),
        (all(&[how("any-with-x"), ("x-c", Value::Bool(true))]), true),
    ];
    for (wanted, hit) in cases {
        let mut routing = with(Kind::Headers, &[]);
        bind(&mut routing, &binding("x", "q", "", wanted.clone())).unwrap();
        let found = queues_of(&routing, "x", "", &sent);
        assert_eq!(found.len(), usize::from(hit), "{wanted:?}");
        assert!(queues_of(&routing, "x", "", &Table::default()).len() <= 1);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refusal = |kind, key: &str, given: &[(&str, Value)]| {
        let mut routing = with(kind, &[]);
        let refused = bind(&mut routing, &binding("x", "q", key, arguments(given)));
        match refused {
            Err(Error::InvalidConfig(text)) => text,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        refusal(Kind::Headers, "", &[("x-match", Value::text("most"))]),
        "Invalid x-match field value <<\"most\">>; expected all, any, all-with-x, or any-with-x"
    );
    refusal(Kind::Headers, "", &[("x-match", Value::Int(1))]);
    assert_eq!(
        refusal(Kind::ConsistentHash, "much", &[]),
        "The binding key must be an integer: much"
    );
    assert_eq!(
        refusal(Kind::ConsistentHash, "0", &[]),
        "The binding key must be greater than 0"
    );
    refusal(Kind::LocalRandom, "key", &[]);
    let deep = (0..40).fold(Value::Void, |inner, _| Value::Array(vec![inner]));
    refusal(Kind::Direct, "", &[("deep", deep)]);
    for given in [
        &[("hash-property", Value::text("body"))][..],
        &[
            ("hash-property", Value::text("message_id")),
            ("hash-header", Value::text("h")),
        ],
    ] {
        crate::kind::check_exchange(&Kind::ConsistentHash, &arguments(given))
            .expect_err("nothing to hash");
    }
}

#[test]
fn a_hash_shares_by_weight_and_keeps_its_word() {
    let mut routing = with(Kind::ConsistentHash, &[]);
    for (to, weight) in [("q1", "1"), ("q2", "2"), ("q3", "1")] {
        bind(&mut routing, &binding("x", to, weight, Vec::new())).unwrap();
    }
    let none = Table::default();
    let keys: Vec<String> = (0..10_000).map(|n| n.to_string()).collect();
    let choose = |routing: &VhostRouting| -> Vec<String> {
        let chosen = keys.iter().map(|key| queues_of(routing, "x", key, &none));
        chosen.map(|mut queues| queues.remove(0)).collect()
    };
    let before = choose(&routing);
    for (queue, share) in [("q1", 2500), ("q2", 5000), ("q3", 2500)] {
        let count = before.iter().filter(|chosen| *chosen == queue).count();
        assert!(count.abs_diff(share) < 250, "{queue} got {count}");
    }
    routing.unbind(binding("x", "q3", "1", Vec::new()).id());
    for (before, after) in before.iter().zip(choose(&routing)) {
        assert!(before == "q3" || *before == after, "only q3's go elsewhere");
    }
}

#[test]
fn what_is_hashed_can_be_named() {
    for (given, header) in [
        (("hash-header", Value::text("h")), "h"),
        (("hash-property", Value::text("message_id")), "message-id"),
    ] {
        let mut routing = with(Kind::Modulus, &[given]);
        for to in ["q1", "q2", "q3"] {
            bind(&mut routing, &binding("x", to, "", Vec::new())).unwrap();
        }
        let go = |value: i64, key: &str| {
            queues_of(&routing, "x", key, &table(&[(header, Value::Int(value))]))
        };
        let ways: std::collections::BTreeSet<_> = (0..50).map(|value| go(value, "k")).collect();
        assert_eq!(ways.len(), 3);
        assert_eq!(go(7, "one"), go(7, "other"), "the key means nothing");
    }
}

#[test]
fn one_at_random() {
    for kind in [Kind::Random, Kind::LocalRandom] {
        let mut routing = with(kind, &[]);
        let none = Table::default();
        assert!(queues_of(&routing, "x", "", &none).is_empty());
        for to in ["q1", "q2", "q3"] {
            bind(&mut routing, &binding("x", to, "", Vec::new())).unwrap();
        }
        for draw in 0..6 {
            let found = routing.route("x", &routed(&[b"k", b"l"], &none), &|| draw);
            let queues = found.unwrap().queues;
            assert_eq!(queues.len(), 1);
            assert_eq!(&*queues[0], format!("q{}", draw % 3 + 1));
        }
    }
}

#[test]
fn a_delaying_exchange_says_how_long() {
    let mut routing = with(Kind::Delayed(Box::new(Kind::Direct)), &[]);
    bind(&mut routing, &binding("x", "q", "k", Vec::new())).unwrap();
    for (value, delay) in [
        (Some(Value::Int(1500)), Some(1500)),
        (Some(Value::Int(-1)), None),
        (Some(Value::Int(0)), None),
        (Some(Value::text("20")), Some(20)),
        (Some(Value::text("soon")), None),
        (None, None),
    ] {
        let headers: Vec<_> = value.into_iter().map(|v| ("x-delay", v)).collect();
        let headers = table(&headers);
        let found = routing
            .route("x", &routed(&[b"k"], &headers), &|| 0)
            .unwrap();
        assert_eq!(found.delay_ms, delay);
        assert_eq!(found.queues.len(), 1);
    }
    let headers = table(&[("x-delay", Value::Int(9))]);
    let plain = routing.route("amq.direct", &routed(&[b"k"], &headers), &|| 0);
    assert_eq!(plain.unwrap().delay_ms, None);
}

#[test]
fn many_targets_stay_in_order() {
    let mut targets = Targets::default();
    let name = |n: u32| Target::Queue(Arc::from(format!("q{n:05}")));
    for n in 0..3000 {
        targets.add(&name(n * 7919 % 3000));
        targets.add(&name(n * 7919 % 3000));
    }
    assert_eq!(targets.len(), 3000);
    for n in (0..3000).step_by(2) {
        targets.remove(&name(n));
        targets.remove(&name(n));
    }
    let left: Vec<Target> = targets.iter().cloned().collect();
    let odd: Vec<Target> = (0..3000).filter(|n| n % 2 == 1).map(name).collect();
    assert_eq!(left, odd);
    assert_eq!(targets.nth(700), odd.get(700));
    assert_eq!(targets.nth(1500), None);
}
