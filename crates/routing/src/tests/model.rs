//! Random topologies: whatever was bound and taken away, messages go where a matcher says that tries every binding.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const EXCHANGES: [&str; 5] = ["d", "f", "t", "h", "u"];
const QUEUES: [&str; 3] = ["q1", "q2", "q3"];
const WORDS: [&str; 4] = ["a", "b", "*", "#"];

#[derive(Debug, Clone)]
enum Step {
    Bind(Binding),
    Unbind(Binding),
    UnbindNth(usize),
    ForgetQueue(&'static str),
    Remove(&'static str),
}

/// The same by trying everything.
struct Model {
    exchanges: BTreeMap<&'static str, ExchangeDocument>,
    bindings: Vec<Binding>,
}

fn exchanges() -> BTreeMap<&'static str, ExchangeDocument> {
    let passing = |kind| ExchangeDocument {
        auto_delete: true,
        ..document(kind, Vec::new())
    };
    let mut direct = document(Kind::Direct, Vec::new());
    direct.alternate = Some("t".into());
    let mut topic = document(Kind::Topic, Vec::new());
    topic.alternate = Some("d".into());
    BTreeMap::from([
        ("d", direct),
        ("f", passing(Kind::Fanout)),
        ("t", topic),
        ("h", document(Kind::Headers, Vec::new())),
        ("u", passing(Kind::Topic)),
    ])
}

fn fits(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern.split_first(), words.split_first()) {
        (None, None) => true,
        (Some((&"#", rest)), None) => fits(rest, words),
        (Some((&"#", rest)), Some((_, others))) => fits(rest, words) || fits(pattern, others),
        (Some((first, rest)), Some((word, others))) => {
            (*first == "*" || first == word) && fits(rest, others)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn split(key: &str) -> Vec<&str> {
    if key.is_empty() {
        return Vec::new();
    }
    key.split('.').collect()
}

impl Model {
    fn hits(&self, binding: &Binding, key: &str, headers: &Table) -> bool {
        let bound = std::str::from_utf8(&binding.key).unwrap();
        match self.exchanges[&*binding.source].kind {
            Kind::Direct => bound == key,
            Kind::Topic => fits(&split(bound), &split(key)),
            Kind::Headers => {
                let mut wanted = binding.arguments.iter().filter(|(n, _)| n != "x-match");
                let same = |(name, value): &(String, Value)| headers.0.get(name) == Some(value);
                match crate::find(&binding.arguments, "x-match") {
                    Some(_) => wanted.any(same),
                    None => wanted.all(same),
                }
            }
            _ => true,
        }
    }

    fn route(&self, exchange: &str, key: &str, headers: &Table) -> BTreeSet<String> {
        let mut queues = BTreeSet::new();
        let mut open = vec![exchange.to_owned()];
        let mut seen = BTreeSet::from([exchange.to_owned()]);
        while let Some(name) = open.pop() {
            let from = self.bindings.iter().filter(|b| b.source == name);
            let hits: Vec<_> = from.filter(|b| self.hits(b, key, headers)).collect();
            let alternate = self.exchanges[&*name].alternate.clone();
            let mut next: Vec<String> = alternate.filter(|_| hits.is_empty()).into_iter().collect();
            for binding in hits {
                match &binding.destination {
                    Destination::Queue(queue) => drop(queues.insert(queue.clone())),
                    Destination::Exchange(other) => next.push(other.clone()),
                }
            }
            next.retain(|name| self.exchanges.contains_key(&**name) && seen.insert(name.clone()));
            open.extend(next);
        }
        queues
    }

    /// Drops bindings, then exchanges that have lost their last one, then what led to those.
    fn drop_where(&mut self, goes: impl Fn(&Binding) -> bool) {
        let sources = self.bindings.iter().filter(|b| goes(b));
        let sources: BTreeSet<String> = sources.map(|b| b.source.clone()).collect();
        self.bindings.retain(|binding| !goes(binding));
        for source in sources {
            let bare = !self.bindings.iter().any(|b| b.source == source);
            let passing = self.exchanges.get(&*source).is_some_and(|d| d.auto_delete);
            if bare && passing {
                self.remove(&source);
            }
        }
    }

    fn remove(&mut self, name: &str) {
        self.exchanges.remove(name);
        let to = Destination::Exchange(name.to_owned());
        self.drop_where(|b| b.source == name || b.destination == to);
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Bind(binding) => {
                let known = self.bindings.iter().any(|b| b.id() == binding.id());
                let there = |name: &str| self.exchanges.contains_key(name);
                let leads = match &binding.destination {
                    Destination::Exchange(name) => there(name),
                    Destination::Queue(_) => true,
                };
                if !known && leads && there(&binding.source) {
                    self.bindings.push(binding.clone());
                }
            }
            Step::Unbind(binding) => self.drop_where(|b| b.id() == binding.id()),
            Step::UnbindNth(_) => {}
            Step::ForgetQueue(queue) => {
                self.drop_where(|b| b.destination == Destination::Queue((*queue).into()));
            }
            Step::Remove(name) => self.remove(name),
        }
    }
}

fn apply(routing: &mut VhostRouting, step: &Step) {
    match step {
        Step::Bind(binding) => {
            let leads = match &binding.destination {
                Destination::Exchange(name) => routing.exchange(name).is_some(),
                Destination::Queue(_) => true,
            };
            if leads {
                let _ = bind(routing, binding);
            }
        }
        Step::Unbind(binding) => drop(routing.unbind(binding.id())),
        Step::UnbindNth(_) => {}
        Step::ForgetQueue(queue) => drop(routing.forget_queue(&Arc::from(*queue))),
        Step::Remove(name) => drop(routing.remove(name)),
    }
}

fn any_binding() -> impl Strategy<Value = Binding> {
    let to = EXCHANGES.into_iter().chain(QUEUES).collect::<Vec<_>>();
    let words = prop::collection::vec(select(&WORDS[..]), 0..4);
    let header = (select(&["a", "b"][..]), 0..2_i64);
    let headers = prop::collection::vec(header, 0..3);
    let parts = (
        select(&EXCHANGES[..]),
        select(to),
        words,
        headers,
        any::<bool>(),
    );
    parts.prop_map(|(source, to, words, headers, any)| {
        let pairs = headers
            .into_iter()
            .map(|(n, v)| (n.to_owned(), Value::Int(v)));
        let how = any.then(|| ("x-match".to_owned(), Value::text("any")));
        let (key, arguments) = match source {
            "h" => (String::new(), how.into_iter().chain(pairs).collect()),
            _ => (words.join("."), Vec::new()),
        };
        binding(source, to, &key, arguments)
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any_binding().prop_map(Step::Bind),
        1 => any_binding().prop_map(Step::Unbind),
        3 => any::<usize>().prop_map(Step::UnbindNth),
        1 => select(&QUEUES[..]).prop_map(Step::ForgetQueue),
        1 => select(&EXCHANGES[..]).prop_map(Step::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn messages_go_where_trying_everything_says(
        steps in prop::collection::vec(any_step(), 1..40),
        keys in prop::collection::vec(prop::collection::vec(select(&["a", "b", "c"][..]), 0..4), 1..4),
        sent in prop::collection::btree_map(select(&["a", "b"][..]), 0..2_i64, 0..3),
    ) {
        let mut routing = VhostRouting::new(VHOST);
        let mut model = Model { exchanges: exchanges(), bindings: Vec::new() };
        for (name, document) in &model.exchanges {
            declare(&mut routing, name, document.clone());
        }
        let headers = sent.into_iter().map(|(n, v)| (n.to_owned(), Value::Int(v)));
        let headers = Table(headers.collect());
        for step in steps {
            let step = match step {
                Step::UnbindNth(_) if model.bindings.is_empty() => continue,
                Step::UnbindNth(nth) => {
                    Step::Unbind(model.bindings[nth % model.bindings.len()].clone())
                }
                step => step,
            };
            model.apply(&step);
            apply(&mut routing, &step);
            prop_assert_eq!(routing.counts().1, model.bindings.len());
            for name in EXCHANGES {
                prop_assert_eq!(routing.exchange(name).is_some(), model.exchanges.contains_key(name));
                if routing.exchange(name).is_none() {
                    continue;
                }
                for key in &keys {
                    let key = key.join(".");
                    let found: BTreeSet<String> = queues_of(&routing, name, &key, &headers).into_iter().collect();
                    prop_assert_eq!(found, model.route(name, &key, &headers), "{} '{}'", name, key);
                }
            }
        }
    }
}
