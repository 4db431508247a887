//! Patterns of words: a tree in which many patterns are matched at once.
//!
//! Words stand between dots; `*` is one word, `#` any number of them, also none. A key is matched by walking all ways
//! through the tree side by side, so that no pattern, however many `#` it has, costs more than its length.

use std::collections::HashMap;

use super::targets::{Target, Targets};

/// Place of a node. The root is 0, which nothing leads to: as a child it means none.
type Place = u32;

const NONE: Place = 0;

#[derive(Debug, Default)]
struct Node {
    words: HashMap<Box<[u8]>, Place>,
    any_word: Place,
    any_words: Place,
    /// It stands for any number of words.
    repeats: bool,
    targets: Targets,
}

impl Node {
    fn is_empty(&self) -> bool {
        let leaf = self.words.is_empty() && self.any_word == NONE && self.any_words == NONE;
        leaf && self.targets.is_empty()
    }

    fn child(&self, word: &[u8]) -> Place {
        match word {
            b"*" => self.any_word,
            b"#" => self.any_words,
            word => self.words.get(word).copied().unwrap_or(NONE),
        }
    }

    fn set_child(&mut self, word: &[u8], place: Place) {
        match word {
            b"*" => self.any_word = place,
            b"#" => self.any_words = place,
            word if place == NONE => drop(self.words.remove(word)),
            word => drop(self.words.insert(word.into(), place)),
        }
    }
}

/// Patterns, and where they lead.
#[derive(Debug)]
pub(super) struct Patterns {
    nodes: Vec<Node>,
    free: Vec<Place>,
}

impl Default for Patterns {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            free: Vec::new(),
        }
    }
}

/// The words of a key or pattern; an empty one has none.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let there = (!key.is_empty()).then(|| key.split(|byte| *byte == b'.'));
    there.into_iter().flatten()
}

impl Patterns {
    pub(super) fn add(&mut self, pattern: &[u8], target: &Target) {
        let mut at = 0;
        for word in words(pattern) {
            at = self.child_or_new(at, word);
        }
        self.node_mut(at).targets.add(target);
    }

    pub(super) fn remove(&mut self, pattern: &[u8], target: &Target) {
        let mut way = Vec::new();
        let mut at = 0;
        for word in words(pattern) {
            let next = self.node(at).child(word);
            if next == NONE {
                return;
            }
            way.push((at, word));
            at = next;
        }
        self.node_mut(at).targets.remove(target);
        while let Some((parent, word)) = way.pop() {
            if !self.node(at).is_empty() {
                return;
            }
            *self.node_mut(at) = Node::default();
            self.free.push(at);
            self.node_mut(parent).set_child(word, NONE);
            at = parent;
        }
    }

    /// Where the patterns lead that match `key`; a target that several of them lead to comes several times.
    pub(super) fn matches<'p>(&'p self, key: &[u8], found: &mut Vec<&'p Target>) {
        let mut here = vec![0];
        self.skip_none(&mut here);
        let mut next = Vec::new();
        for word in words(key) {
            for place in &here {
                let node = self.node(*place);
                let literal = node.words.get(word).copied().unwrap_or(NONE);
                let repeated = if node.repeats { *place } else { NONE };
                let ways = [literal, node.any_word, repeated];
                next.extend(ways.into_iter().filter(|place| *place != NONE));
            }
            self.skip_none(&mut next);
            here.clear();
            std::mem::swap(&mut here, &mut next);
        }
        for place in here {
            found.extend(self.node(place).targets.iter());
        }
    }

    /// Goes on to where no word at all leads, and sees to it that every place is there once.
    fn skip_none(&self, places: &mut Vec<Place>) {
        let mut at = 0;
        let before = places.len();
        while let Some(place) = places.get(at).copied() {
            let further = self.node(place).any_words;
            places.extend((further != NONE).then_some(further));
            at += 1;
        }
        let repeats = |place: &Place| self.node(*place).repeats;
        if places.len() > before || places.iter().any(repeats) {
            places.sort_unstable();
            places.dedup();
        }
    }

    fn child_or_new(&mut self, parent: Place, word: &[u8]) -> Place {
        let there = self.node(parent).child(word);
        if there != NONE {
            return there;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            Place::try_from(self.nodes.len() - 1).expect("fewer nodes than bytes of all patterns")
        });
        self.node_mut(place).repeats = word == b"#";
        self.node_mut(parent).set_child(word, place);
        place
    }

    fn node(&self, place: Place) -> &Node {
        &self.nodes[place as usize]
    }

    fn node_mut(&mut self, place: Place) -> &mut Node {
        &mut self.nodes[place as usize]
    }

    /// How many nodes are in use, the root left out.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len() - 1
    }
}
