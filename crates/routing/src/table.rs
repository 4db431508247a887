//! The bindings of one exchange, arranged so that its kind finds those that count.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::binding::BindingId;
use crate::hash;
use crate::kind::{Hashed, Kind, Wanted, weight};
use crate::message::Routed;
use crate::patterns::Patterns;
use crate::targets::{Target, Targets};
use crate::value::{Arguments, Value};

/// Bindings by what their exchange's kind looks at.
#[derive(Debug)]
pub(super) enum Table {
    Keys(HashMap<Bytes, Targets>),
    All(Targets),
    Patterns(Patterns),
    Headers(BTreeMap<BindingId, (Wanted, Target)>),
    Weights(BTreeMap<BindingId, (u32, Target)>, Hashed),
    Modulus(Targets, Hashed),
    Random(Targets),
}

impl Table {
    /// For an exchange whose arguments were checked.
    pub(super) fn new(kind: &Kind, arguments: &Arguments) -> Self {
        let hashed = || Hashed::of(arguments).unwrap_or(Hashed::Key);
        match kind.choosing() {
            Kind::Direct => Self::Keys(HashMap::new()),
            Kind::Topic => Self::Patterns(Patterns::default()),
            Kind::Headers => Self::Headers(BTreeMap::new()),
            Kind::ConsistentHash => Self::Weights(BTreeMap::new(), hashed()),
            Kind::Modulus => Self::Modulus(Targets::default(), hashed()),
            Kind::Random | Kind::LocalRandom => Self::Random(Targets::default()),
            Kind::Fanout | Kind::Delayed(_) => Self::All(Targets::default()),
        }
    }

    /// Adds a binding, checked before, that is not there yet.
    pub(super) fn add(
        &mut self,
        id: BindingId,
        key: &Bytes,
        arguments: &Arguments,
        target: &Target,
    ) {
        match self {
            Self::Keys(keys) => keys.entry(key.clone()).or_default().add(target),
            Self::Patterns(patterns) => patterns.add(key, target),
            Self::All(all) | Self::Modulus(all, _) | Self::Random(all) => all.add(target),
            Self::Headers(bindings) => {
                // What an earlier version let in, and this one cannot read, matches nothing.
                if let Ok(wanted) = Wanted::of(arguments) {
                    bindings.insert(id, (wanted, target.clone()));
                }
            }
            Self::Weights(bindings, _) => {
                if let Ok(weight) = weight(key) {
                    bindings.insert(id, (weight, target.clone()));
                }
            }
        }
    }

    /// Takes out a binding that is there.
    pub(super) fn remove(&mut self, id: BindingId, key: &[u8], target: &Target) {
        match self {
            Self::Keys(keys) => {
                if let Some(targets) = keys.get_mut(key) {
                    targets.remove(target);
                    if targets.is_empty() {
                        keys.remove(key);
                    }
                }
            }
            Self::Patterns(patterns) => patterns.remove(key, target),
            Self::All(all) | Self::Modulus(all, _) | Self::Random(all) => all.remove(target),
            Self::Headers(bindings) => drop(bindings.remove(&id)),
            Self::Weights(bindings, _) => drop(bindings.remove(&id)),
        }
    }

    /// Whether a target may be found several times.
    pub(super) fn repeats(&self, routed: &Routed<'_>) -> bool {
        match self {
            Self::All(_) | Self::Random(_) => false,
            Self::Keys(_) | Self::Modulus(..) => routed.keys.len() > 1,
            Self::Patterns(_) | Self::Headers(_) | Self::Weights(..) => true,
        }
    }

    /// Where a message goes; a target may come several times.
    pub(super) fn find<'t>(
        &'t self,
        routed: &Routed<'_>,
        draw: &dyn Fn() -> u64,
        found: &mut Vec<&'t Target>,
    ) {
        match self {
            Self::Keys(keys) => {
                for targets in routed.keys.iter().filter_map(|key| keys.get(*key)) {
                    found.extend(targets.iter());
                }
            }
            Self::Patterns(patterns) => {
                for key in routed.keys {
                    patterns.matches(key, found);
                }
            }
            Self::All(all) => found.extend(all.iter()),
            Self::Headers(bindings) => {
                let value = |name: &[u8]| routed.headers.value(name);
                let fitting = bindings
                    .values()
                    .filter(|(wanted, _)| wanted.matches(value));
                found.extend(fitting.map(|(_, target)| target));
            }
            Self::Weights(bindings, hashed) => {
                for hash in hashes(hashed, routed) {
                    found.extend(heaviest(bindings, hash));
                }
            }
            Self::Modulus(all, hashed) if !all.is_empty() => {
                for hash in hashes(hashed, routed) {
                    found.extend(all.nth(below(hash, all.len())));
                }
            }
            Self::Random(all) if !all.is_empty() => {
                found.extend(all.nth(below(draw(), all.len())));
            }
            Self::Modulus(..) | Self::Random(_) => {}
        }
    }
}

fn below(number: u64, count: usize) -> usize {
    usize::try_from(number % count as u64).unwrap_or(0)
}

fn heaviest(bindings: &BTreeMap<BindingId, (u32, Target)>, hash: u64) -> Option<&Target> {
    let scored = bindings.iter().map(|(id, (weight, target))| {
        (
            hash::score(hash, hash::hash(&id.0.to_be_bytes()), *weight),
            target,
        )
    });
    let best = scored.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    Some(best.1)
}

/// The hashes a message is routed by: of each of its keys, or of the one thing its exchange names.
fn hashes(hashed: &Hashed, routed: &Routed<'_>) -> Vec<u64> {
    let one = match hashed {
        Hashed::Key => return routed.keys.iter().map(|key| hash::hash(key)).collect(),
        Hashed::Header(name) => routed.headers.value(name.as_bytes()),
        Hashed::Property(property) => routed.headers.property(*property),
    };
    // What is absent hashes like nothing: all such messages go the same way.
    let bytes = match one {
        None | Some(Value::Void) => Vec::new(),
        Some(Value::Text(text)) => text.to_vec(),
        Some(Value::Int(number)) => number.to_string().into_bytes(),
        Some(Value::Time(seconds)) => seconds.to_string().into_bytes(),
        Some(value) => serde_json::to_vec(&value).unwrap_or_default(),
    };
    vec![hash::hash(&bytes)]
}
