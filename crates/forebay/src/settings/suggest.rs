//! "Did you mean …?"

/// The closest of `known`, if any is close enough to be what was meant.
pub(super) fn closest<'k>(
    written: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let best = known
        .into_iter()
        .map(|name| (distance(written, name), name))
        .min();
    // A third of the letters may be wrong; more than that is a guess, not a suggestion.
    best.filter(|(distance, name)| *distance <= (name.len() / 3).max(2))
        .map(|(_, name)| name)
}

/// Edits between two words: insert, delete or replace one character.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{closest, distance};

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn only_close_words_are_suggested() {
        let known = ["kafka.max_connections", "log.level", "data.dir"];
        assert_eq!(
            closest("kafka.max_conections", known),
            Some("kafka.max_connections")
        );
        assert_eq!(closest("log.levle", known), Some("log.level"));
        assert_eq!(closest("completely.different", known), None);
    }
}
