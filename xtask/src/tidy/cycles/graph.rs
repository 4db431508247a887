//! Files and what they use, as a graph: its cycles, and its longest chain.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::Uses;

type Files<'u> = BTreeSet<&'u str>;

/// Which file uses which other ones.
pub(super) struct Graph<'u> {
    uses: &'u Uses,
    /// What a file uses itself.
    next: BTreeMap<&'u str, Files<'u>>,
    /// What a file uses, itself or by others.
    reached: BTreeMap<&'u str, Files<'u>>,
}

impl<'u> Graph<'u> {
    pub(super) fn of(uses: &'u Uses) -> Self {
        let mut next = BTreeMap::<&str, Files<'u>>::new();
        for (from, to) in uses.keys() {
            next.entry(from).or_default().insert(to);
        }
        let files = next.keys();
        let reached = files.map(|file| (*file, reached(&next, file))).collect();
        Self {
            uses,
            next,
            reached,
        }
    }

    /// Sets of files that all use one another, by others or at once.
    pub(super) fn cycles(&self) -> BTreeSet<Files<'u>> {
        let cycles = self.reached.keys().map(|file| self.cycle(file));
        cycles.filter(|cycle| cycle.len() > 1).collect()
    }

    /// What one file of a cycle uses of another one, a line each.
    pub(super) fn lines(&self, cycle: &Files<'_>) -> Vec<String> {
        let inside = self
            .uses
            .iter()
            .filter(|((from, to), _)| cycle.contains(from.as_str()) && cycle.contains(to.as_str()));
        let lines = inside.map(|((from, to), names)| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("{from} -> {to} ({})", names.join(", "))
        });
        lines.collect()
    }

    /// The longest chain of files each of which uses the next. There must be no cycle.
    pub(super) fn longest_chain(&self) -> Vec<&'u str> {
        let mut known = BTreeMap::new();
        let files = self.reached.keys();
        let chains = files.map(|file| self.chain(file, &mut known));
        chains.max_by_key(Vec::len).unwrap_or_default()
    }

    fn chain(&self, file: &'u str, known: &mut BTreeMap<&'u str, Vec<&'u str>>) -> Vec<&'u str> {
        if let Some(chain) = known.get(file) {
            return chain.clone();
        }
        let next = self.next.get(file).into_iter().flatten();
        let chains = next.map(|to| self.chain(to, known));
        let longest = chains.max_by_key(Vec::len).unwrap_or_default();
        let chain = [vec![file], longest].concat();
        known.insert(file, chain.clone());
        chain
    }

    /// The files that a file uses and that use it; none, where it is in no cycle.
    fn cycle(&self, file: &str) -> Files<'u> {
        let Some(reached) = self.reached.get(file) else {
            return Files::new();
        };
        let uses_it = |other: &&&str| self.reached.get(**other).is_some_and(|r| r.contains(file));
        reached.iter().filter(uses_it).copied().collect()
    }
}

fn reached<'u>(next: &BTreeMap<&'u str, Files<'u>>, file: &str) -> Files<'u> {
    let mut reached = Files::new();
    let mut open = vec![file];
    while let Some(from) = open.pop() {
        for to in next.get(from).into_iter().flatten() {
            if reached.insert(*to) {
                open.push(to);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::{Graph, Uses};

    fn uses(edges: &[&str]) -> Uses {
        let edges = edges.iter().map(|edge| {
            let (from, to) = edge.split_at(1);
            ((from.to_owned(), to.to_owned()), ["X".to_owned()].into())
        });
        edges.collect()
    }

    #[test]
    fn cycles_are_found_with_their_edges() {
        let uses = uses(&["ab", "bc", "cb", "cd", "de", "ed"]);
        let graph = Graph::of(&uses);
        let cycles = graph.cycles();
        let cycles: Vec<Vec<&str>> = cycles.iter().map(|c| c.iter().copied().collect()).collect();
        assert_eq!(cycles, [["b", "c"], ["d", "e"]]);
        let lines = graph.lines(&["b", "c"].into());
        assert_eq!(lines, ["b -> c (X)", "c -> b (X)"]);
    }

    #[test]
    fn the_longest_chain_is_found() {
        let uses = uses(&["ab", "bc", "ac", "cd", "ad"]);
        assert_eq!(Graph::of(&uses).longest_chain(), ["a", "b", "c", "d"]);
        assert!(Graph::of(&Uses::new()).longest_chain().is_empty());
    }
}
