//! What a consumer says about the topics it subscribes to: the embedded consumer protocol, version 0 to 3.
//!
//! ```text
//! version i16 | topics: count i32, per topic: length i16, name | user data …
//! ```

use std::collections::BTreeSet;

use engine::group::Subscription;

/// Topics a consumer may name before its metadata counts as unreadable.
const TOPICS_MAX: i32 = 100_000;

/// Reads a member's metadata.
pub fn subscription(protocol_type: &str, metadata: &[u8]) -> Subscription {
    if protocol_type != "consumer" {
        return Subscription::NotTopics;
    }
    read(metadata).map_or(Subscription::Unreadable, Subscription::Topics)
}

fn read(metadata: &[u8]) -> Option<BTreeSet<String>> {
    let (version, mut rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let count = i32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?);
    if !(0..=TOPICS_MAX).contains(&count) {
        return None;
    }
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let length = i16::from_be_bytes(*rest.split_off(..2)?.first_chunk()?);
        let name = rest.split_off(..usize::try_from(length).ok()?)?;
        topics.insert(std::str::from_utf8(name).ok()?.to_owned());
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_nonsense_is_not() {
        let good = [
            0, 1, 0, 0, 0, 2, 0, 1, b'a', 0, 2, b'b', b'c', 0xff, 0xff, 0xff, 0xff,
        ];
        let topics = ["a", "bc"].map(str::to_owned).into();
        assert_eq!(
            subscription("consumer", &good),
            Subscription::Topics(topics)
        );
        for cut in 0..11 {
            assert_eq!(
                subscription("consumer", &good[..cut]),
                Subscription::Unreadable
            );
        }
        assert_eq!(
            subscription("consumer", &[0, 1, 0x7f, 0xff, 0xff, 0xff]),
            Subscription::Unreadable
        );
        assert_eq!(subscription("connect", &good), Subscription::NotTopics);
    }
}
