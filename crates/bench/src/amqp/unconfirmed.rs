//! What a publisher has sent and the broker has not answered: in the order it was sent, whatever order answers have.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, bail};

/// Messages on their way. The broker numbers the messages of a channel from 1.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    /// When each was sent; nothing when it was answered before its elders.
    sent: VecDeque<Option<Duration>>,
    first: u64,
    awaited: usize,
}

impl Unconfirmed {
    /// Nothing, on a fresh channel.
    pub(super) fn new() -> Self {
        Self {
            sent: VecDeque::new(),
            first: 1,
            awaited: 0,
        }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.awaited
    }

    /// One more was sent.
    pub(super) fn push(&mut self, sent: Duration) {
        self.sent.push_back(Some(sent));
        self.awaited += 1;
    }

    /// The broker answered for one message, or for all up to it; tells `each` when it was sent.
    pub(super) fn answered(
        &mut self,
        tag: u64,
        multiple: bool,
        mut each: impl FnMut(Duration),
    ) -> Result<()> {
        let last = self.first + self.sent.len() as u64 - 1;
        let tag = if multiple && tag == 0 { last } else { tag };
        if tag < self.first || tag > last {
            bail!("the broker answered for message {tag}, which it does not owe an answer for");
        }
        if !multiple && tag > self.first {
            let index = usize::try_from(tag - self.first)?;
            let Some(sent) = self.sent[index].take() else {
                bail!("the broker answered twice for message {tag}");
            };
            self.awaited -= 1;
            each(sent);
            return Ok(());
        }
        while self.first <= tag || matches!(self.sent.front(), Some(None)) {
            self.first += 1;
            if let Some(Some(sent)) = self.sent.pop_front() {
                self.awaited -= 1;
                each(sent);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(count: u64) -> Unconfirmed {
        let mut unconfirmed = Unconfirmed::new();
        for number in 1..=count {
            unconfirmed.push(Duration::from_secs(number));
        }
        unconfirmed
    }

    /// The messages that an answer is for.
    fn answer(unconfirmed: &mut Unconfirmed, tag: u64, multiple: bool) -> Result<Vec<u64>> {
        let mut found = Vec::new();
        unconfirmed.answered(tag, multiple, |sent| found.push(sent.as_secs()))?;
        Ok(found)
    }

    #[test]
    fn answers_come_in_any_order_and_for_several() {
        let mut unconfirmed = of(10);
        let cases: [(u64, bool, &[u64]); 7] = [
            (1, false, &[1]),
            (4, false, &[4]),
            (3, false, &[3]),
            (2, false, &[2]),
            (7, false, &[7]),
            (8, true, &[5, 6, 8]),
            (0, true, &[9, 10]),
        ];
        for (tag, multiple, messages) in cases {
            assert_eq!(answer(&mut unconfirmed, tag, multiple).unwrap(), messages);
        }
        assert_eq!(unconfirmed.len(), 0);
        unconfirmed.push(Duration::from_secs(11));
        assert_eq!(answer(&mut unconfirmed, 11, false).unwrap(), [11]);
    }

    #[test]
    fn an_answer_that_is_not_due_is_an_error() {
        for (tag, multiple) in [(0, false), (1, false), (1, true), (3, false), (6, true)] {
            let mut unconfirmed = of(5);
            answer(&mut unconfirmed, 1, true).unwrap();
            answer(&mut unconfirmed, 3, false).unwrap();
            assert!(answer(&mut unconfirmed, tag, multiple).is_err(), "{tag}");
        }
        assert!(answer(&mut Unconfirmed::new(), 0, true).is_err());
    }
}
