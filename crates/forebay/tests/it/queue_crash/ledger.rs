//! What was asked of the queues and what was acknowledged: the truth every answer is held to.
//!
//! A request that was in flight when the broker was killed may have gone either way. Nothing is concluded from how
//! quickly something happened: all conclusions rest on times before a request was sent and after its answer came, read
//! from the clock that the broker reads too.

use std::collections::BTreeMap;

use super::content::Attributes;

/// Clocks that are set while the test runs may step by so much, ms.
pub(crate) const SLACK: u64 = 100;

/// Number of a queue in the ledger.
pub(crate) type QueueNumber = usize;

/// Whether a queue of this name is one in order.
pub(crate) fn is_fifo(name: &str) -> bool {
    name.strip_suffix(".fifo").is_some()
}

/// A queue that stays.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says what one of the actors does with it, and they combine"
)]
pub(crate) struct QueueBook {
    pub(crate) name: String,
    pub(crate) fifo: bool,
    /// Where its messages go that fail too often, and after how many attempts.
    pub(crate) dead: Option<(QueueNumber, u64)>,
    /// Messages go there on their own only: it is a dead-letter queue.
    pub(crate) for_dead: bool,
    /// Move tasks bring its dead letters back.
    pub(crate) moves: bool,
    /// An actor purges it now and then.
    pub(crate) purged: bool,
    /// Receives that were acknowledged, and those nobody knows the outcome of.
    pub(crate) receives: u64,
    pub(crate) lost_receives: u64,
    /// Receives that are on their way.
    pub(crate) open_receives: u64,
}

/// Whether a message is still there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Gone {
    /// A delete or a purge was acknowledged that must have found it.
    pub(crate) sure: bool,
    /// Deletes and purges that may have found it.
    pub(crate) doubts: u32,
    /// When it was surely gone, ms.
    pub(crate) at: u64,
}

impl Gone {
    /// It must be there.
    pub(crate) fn not_at_all(self) -> bool {
        !self.sure && self.doubts == 0
    }
}

/// The last lease an actor received.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    pub(crate) queue: QueueNumber,
    pub(crate) handle: String,
    pub(crate) id: String,
    pub(crate) count: u64,
    /// When its receiver was told, ms.
    pub(crate) told: u64,
    /// Nobody else may have the message before this, ms; 0 when it may have been given back.
    pub(crate) until: u64,
}

/// A receive that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) count: u64,
    pub(crate) asked: u64,
    pub(crate) answered: u64,
}

/// A message.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    pub(crate) queue: QueueNumber,
    pub(crate) group: Option<String>,
    pub(crate) dedup: Option<String>,
    pub(crate) body: String,
    pub(crate) attributes: Attributes,
    pub(crate) delay: u64,
    /// When it was first asked to be sent, ms.
    pub(crate) asked: u64,
    /// It is known to have been sent: by an answer, or because it was received.
    pub(crate) sent: bool,
    /// The broker said so.
    pub(crate) acked: bool,
    pub(crate) id: Option<String>,
    pub(crate) sequence: Option<u128>,
    pub(crate) gone: Gone,
    /// When a later one of its group was received without it, ms: it has to have left its queue before.
    pub(crate) overtaken: Option<u64>,
    /// When it was received from the dead-letter queue, ms.
    pub(crate) dead: Option<u64>,
    /// An actor is about to settle it.
    pub(crate) busy: bool,
    pub(crate) hold: Option<Hold>,
    pub(crate) seen: Vec<Seen>,
}

/// Something the broker did that it must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Acknowledged messages are missing.
    Lost(String),
    /// What was acknowledged as deleted is back.
    Back(String),
    /// A queue that was acknowledged is missing, or one is back that was removed.
    Queue(String),
    /// Anything else: order, locks, counts, bytes, refusals.
    Wrong(String),
}

/// What came of everything.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) sends: u64,
    pub(crate) repeats: u64,
    pub(crate) receives: u64,
    pub(crate) deletes: u64,
    pub(crate) dead: u64,
    pub(crate) moves: u64,
}

/// Everything, over all rounds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) queues: Vec<QueueBook>,
    pub(crate) messages: Vec<Message>,
    /// Per queue in order and group: sequence number and message of those that are not surely gone.
    pub(crate) groups: BTreeMap<(QueueNumber, String), BTreeMap<u128, usize>>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) totals: Totals,
    /// The broker is gone: who has nothing to ask of it ends by this.
    pub(crate) over: bool,
    /// Per queue: messages that are not surely gone.
    live: Vec<usize>,
}

impl Ledger {
    pub(crate) fn lost(&mut self, what: String) {
        self.violations.push(Violation::Lost(what));
    }

    pub(crate) fn back(&mut self, what: String) {
        self.violations.push(Violation::Back(what));
    }

    pub(crate) fn queue(&mut self, what: String) {
        self.violations.push(Violation::Queue(what));
    }

    pub(crate) fn wrong(&mut self, what: String) {
        self.violations.push(Violation::Wrong(what));
    }

    /// A queue that was made.
    pub(crate) fn add_queue(&mut self, queue: QueueBook) -> QueueNumber {
        self.queues.push(queue);
        self.live.push(0);
        self.queues.len() - 1
    }

    /// About how many messages a queue holds.
    pub(crate) fn backlog(&self, queue: QueueNumber) -> usize {
        self.live[queue]
    }

    /// A message is about to be sent; returns its number. `make` is told it.
    pub(crate) fn begin_send(&mut self, make: impl FnOnce(usize) -> Message) -> usize {
        let number = self.messages.len();
        let message = make(number);
        self.live[message.queue] += 1;
        self.messages.push(message);
        number
    }

    /// A send, or a repeat of one, was acknowledged.
    pub(crate) fn sent(&mut self, number: usize, id: &str, sequence: Option<u128>) {
        let message = &mut self.messages[number];
        let same = message.id.as_deref().is_none_or(|known| known == id)
            && (message.sequence.is_none() || message.sequence == sequence);
        let known = (message.id.clone(), message.sequence);
        let first = !std::mem::replace(&mut message.acked, true);
        message.sent = true;
        if !same {
            let moves = self.queues[message.queue].moves;
            if !moves {
                self.wrong(format!(
                    "message {number}: sent as {known:?}, and again as {id} {sequence:?}"
                ));
            }
            return;
        }
        if first {
            self.totals.sends += 1;
        } else {
            self.totals.repeats += 1;
        }
        self.know(number, id, sequence);
    }

    /// Identity and place of a message are known.
    pub(crate) fn know(&mut self, number: usize, id: &str, sequence: Option<u128>) {
        let message = &mut self.messages[number];
        message.sent = true;
        message.id.get_or_insert_with(|| id.to_owned());
        if let (None, Some(sequence), Some(group)) = (message.sequence, sequence, &message.group) {
            message.sequence = Some(sequence);
            if !message.gone.sure {
                let group = (message.queue, group.clone());
                let of_group = self.groups.entry(group).or_default();
                if let Some(other) = of_group.insert(sequence, number) {
                    self.wrong(format!(
                        "messages {other} and {number} share the place {sequence}"
                    ));
                }
            }
        }
    }

    /// A delete is about to be asked for; returns the last moment the lease is sure to hold, if the handle is that of
    /// the last lease.
    pub(crate) fn begin_delete(&mut self, number: usize, handle: &str) -> u64 {
        let message = &mut self.messages[number];
        message.gone.doubts += 1;
        let hold = message.hold.as_ref().filter(|hold| hold.handle == handle);
        hold.map_or(0, |hold| hold.until)
    }

    /// A delete was answered at `now`. `until` is what [`Ledger::begin_delete`] returned.
    pub(crate) fn deleted(
        &mut self,
        number: usize,
        (queue, until): (QueueNumber, u64),
        now: u64,
        outcome: Result<(), String>,
    ) {
        let in_time = until > now + SLACK;
        let book = &self.queues[queue];
        // In order, and where nothing leaves on its own, a delete that succeeds has found its message.
        let found = in_time || (book.fifo && book.dead.is_none());
        match outcome {
            Ok(()) if found => {
                self.totals.deletes += 1;
                self.messages[number].gone.doubts -= 1;
                self.is_gone(number, now);
            }
            Ok(()) => self.totals.deletes += 1,
            Err(why) => {
                if !book.fifo || in_time {
                    let name = &book.name;
                    let what = format!("message {number} of {name}: a delete was refused: {why}");
                    self.wrong(what);
                }
                self.messages[number].gone.doubts -= 1;
            }
        }
    }

    /// A message is surely gone since `at`.
    pub(crate) fn is_gone(&mut self, number: usize, at: u64) {
        let message = &mut self.messages[number];
        if std::mem::replace(&mut message.gone.sure, true) {
            return;
        }
        message.gone.at = at;
        message.hold = None;
        self.live[message.queue] -= 1;
        if let (Some(group), Some(sequence)) = (message.group.clone(), message.sequence) {
            let of_group = self.groups.entry((message.queue, group)).or_default();
            of_group.remove(&sequence);
        }
    }

    /// A change of visibility is about to be asked for: from now on the lease may have ended.
    pub(crate) fn begin_change(&mut self, number: usize, handle: &str) -> u64 {
        let hold = self.messages[number].hold.as_mut();
        let hold = hold.filter(|hold| hold.handle == handle);
        hold.map_or(0, |hold| std::mem::take(&mut hold.until))
    }

    /// A change of visibility was asked for at `asked` and answered at `now`.
    pub(crate) fn changed(
        &mut self,
        (number, handle): (usize, &str),
        (until, seconds): (u64, u64),
        (asked, now): (u64, u64),
        outcome: Result<(), String>,
    ) {
        match outcome {
            Err(why) if until > now + SLACK && self.messages[number].gone.not_at_all() => {
                self.wrong(format!("message {number}: a change was refused: {why}"));
            }
            Err(_) => {}
            // Of a handle whose time may have been over nothing is changed, and nothing is said.
            Ok(()) if until <= now => {}
            Ok(()) => {
                let hold = self.messages[number].hold.as_mut();
                if let Some(hold) = hold.filter(|hold| hold.handle == handle) {
                    hold.until = if seconds == 0 {
                        0
                    } else {
                        asked + seconds * 1000
                    };
                }
            }
        }
    }

    /// Takes messages that one actor may settle now, and no other does meanwhile.
    pub(crate) fn take_busy(&mut self, numbers: impl Iterator<Item = usize>) -> Vec<usize> {
        let free = |number: &usize| !std::mem::replace(&mut self.messages[*number].busy, true);
        numbers.filter(free).collect()
    }

    /// Nobody settles anything any more.
    pub(crate) fn calm(&mut self) {
        self.over = false;
        for message in &mut self.messages {
            message.busy = false;
        }
        for queue in &mut self.queues {
            assert_eq!(queue.open_receives, 0, "everybody has come back");
        }
    }

    /// Messages of a queue and its dead-letter queue: how many must be there at least, and can be at most.
    pub(crate) fn extent(&self, queue: QueueNumber) -> (u64, u64) {
        let of_queue = self.messages.iter().filter(|m| m.queue == queue);
        let maybe: Vec<&Message> = of_queue.filter(|m| !m.gone.sure).collect();
        let sure = maybe.iter().filter(|m| m.sent && m.gone.not_at_all());
        (sure.count() as u64, maybe.len() as u64)
    }
}
