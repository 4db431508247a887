//! What was published and what was settled: the truth every delivery is held to.
//!
//! What was in flight when a connection broke may have gone either way. An acknowledgement is sure once its connection
//! was closed in order, or its transaction was committed.

use std::collections::{BTreeMap, BTreeSet};

/// A queue that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Work,
    Dead,
    FanA,
    FanB,
    FanC,
    Ranked,
    Brief,
    Expired,
    /// Messages refused here wait in a queue of their own for a moment, and come back.
    Again,
}

impl Place {
    pub(crate) const ALL: [Self; 9] = [
        Self::Work,
        Self::Dead,
        Self::FanA,
        Self::FanB,
        Self::FanC,
        Self::Ranked,
        Self::Brief,
        Self::Expired,
        Self::Again,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Dead => "dead",
            Self::FanA => "fan-a",
            Self::FanB => "fan-b",
            Self::FanC => "fan-c",
            Self::Ranked => "ranked",
            Self::Brief => "brief",
            Self::Expired => "expired",
            Self::Again => "again",
        }
    }

    /// Whether its consumers stay until the broker is gone. Elsewhere they leave, and what one was handed and never got
    /// comes to another one out of its order, as if for the first time.
    pub(crate) fn has_residents(self) -> bool {
        matches!(self, Self::FanC | Self::Ranked)
    }

    /// Whether messages leave it only when they are acknowledged.
    pub(crate) fn keeps_all(self) -> bool {
        matches!(self, Self::FanA | Self::FanB | Self::FanC | Self::Ranked)
    }

    /// Where its dead letters end up, if they stay there.
    pub(crate) fn grave(self) -> Option<Self> {
        match self {
            Self::Work => Some(Self::Dead),
            Self::Brief => Some(Self::Expired),
            _ => None,
        }
    }

    /// The queue whose dead letters these are.
    pub(crate) fn home(self) -> Option<Self> {
        match self {
            Self::Dead => Some(Self::Work),
            Self::Expired => Some(Self::Brief),
            _ => None,
        }
    }
}

/// How a message is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Work,
    Fan,
    Ranked,
    Brief,
    Again,
}

impl Route {
    pub(crate) const ALL: [Self; 5] = [
        Self::Work,
        Self::Fan,
        Self::Ranked,
        Self::Brief,
        Self::Again,
    ];

    /// Exchange and routing key.
    pub(crate) fn path(self) -> (&'static str, &'static str) {
        match self {
            Self::Work => ("jobs", "work"),
            Self::Fan => ("all", "whatever"),
            Self::Ranked => ("", "ranked"),
            Self::Brief => ("", "brief"),
            Self::Again => ("", "again"),
        }
    }

    pub(crate) fn places(self) -> &'static [Place] {
        match self {
            Self::Work => &[Place::Work],
            Self::Fan => &[Place::FanA, Place::FanB, Place::FanC],
            Self::Ranked => &[Place::Ranked],
            Self::Brief => &[Place::Brief],
            Self::Again => &[Place::Again],
        }
    }
}

/// What is known of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// In a transaction whose commit nobody has asked for.
    Pending,
    /// Asked for, not confirmed: it may be there.
    Asked,
    Confirmed,
    /// Rolled back.
    Withdrawn,
}

/// How often a message died its way round before it came: 0 the first time.
pub(crate) type Turn = i64;

/// A message in one queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copy {
    /// Deliveries per turn.
    pub(crate) seen: BTreeMap<Turn, u32>,
    /// An actor may have settled it for good.
    pub(crate) doubtful: bool,
    /// Surely gone, up to this turn.
    pub(crate) gone: Option<Turn>,
    /// The connection that has it, and since which turn.
    pub(crate) holder: Option<(u64, Turn)>,
    /// Rejections that were asked for: those that send it away, and those that give it back.
    pub(crate) rejects: u32,
    pub(crate) failures: u32,
    /// A rejection is sure: it has to come as a dead letter, or for another turn.
    pub(crate) must_die: bool,
    pub(crate) must_turn: Turn,
}

/// A message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// The channel that published it.
    pub(crate) producer: u64,
    pub(crate) route: Route,
    pub(crate) priority: u8,
    pub(crate) filler: usize,
    pub(crate) told: Told,
    pub(crate) copies: BTreeMap<Place, Copy>,
}

/// What a consumer does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Ack,
    /// Refused for good.
    Reject,
    /// Given back, and charged for it.
    Fail,
    Requeue,
}

/// A delivery, as far as its consumer has to know it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) tag: u64,
    pub(crate) number: usize,
    pub(crate) place: Place,
    pub(crate) turn: Turn,
}

/// Something the broker did that it must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Confirmed messages are missing.
    Lost(String),
    /// What was surely gone is back.
    Back(String),
    /// Exchanges, bindings or queues are missing, or back.
    Topology(String),
    /// Anything else.
    Wrong(String),
}

/// What came of everything.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) confirmed: u64,
    pub(crate) committed: u64,
    pub(crate) rolled_back: u64,
    pub(crate) returned: u64,
    pub(crate) deliveries: u64,
    pub(crate) redelivered: u64,
    pub(crate) dead: u64,
    pub(crate) closed: u64,
    pub(crate) cut: u64,
}

/// Everything, over all rounds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) messages: Vec<Message>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) totals: Totals,
    /// The broker closes the connections: what one of them held may be with another one already.
    pub(crate) closing: bool,
    /// The broker is gone.
    pub(crate) over: bool,
    /// Messages nobody has settled yet, about.
    pub(crate) backlog: usize,
    /// What was settled on connections that are open: it is not sure yet.
    settled: BTreeMap<u64, Vec<(Held, Fate)>>,
    /// What each connection has.
    held: BTreeMap<u64, BTreeSet<(usize, Place)>>,
    /// Connections that broke while they consumed: each may have charged a message, also one it never saw.
    pub(crate) broken: u32,
    /// Last message received for the first time, per queue, producer and priority.
    pub(crate) newest: BTreeMap<(Place, u64, u8), usize>,
    /// Queues a consumer has left since the broker was started.
    pub(crate) left: BTreeSet<Place>,
    names: u64,
}

impl Ledger {
    pub(crate) fn lost(&mut self, what: String) {
        self.violations.push(Violation::Lost(what));
    }

    pub(crate) fn back(&mut self, what: String) {
        self.violations.push(Violation::Back(what));
    }

    pub(crate) fn topology(&mut self, what: String) {
        self.violations.push(Violation::Topology(what));
    }

    pub(crate) fn wrong(&mut self, what: String) {
        self.violations.push(Violation::Wrong(what));
    }

    /// A number for a connection or channel.
    pub(crate) fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    /// A message is about to be published; returns its number.
    pub(crate) fn begin(&mut self, message: Message) -> usize {
        self.backlog += message.route.places().len();
        self.messages.push(message);
        self.messages.len() - 1
    }

    pub(crate) fn confirmed(&mut self, number: usize) {
        self.totals.confirmed += 1;
        self.messages[number].told = Told::Confirmed;
    }

    pub(crate) fn tell(&mut self, numbers: &[usize], told: Told) {
        for number in numbers {
            self.messages[*number].told = told;
        }
    }

    pub(crate) fn copy(&mut self, held: Held) -> &mut Copy {
        let message = &mut self.messages[held.number];
        message.copies.entry(held.place).or_default()
    }

    /// A consumer is about to settle a message.
    pub(crate) fn settle(&mut self, connection: u64, held: Held, fate: Fate) {
        let copy = self.copy(held);
        match fate {
            Fate::Requeue => copy.holder = None,
            Fate::Fail => {
                copy.failures += 1;
                copy.holder = None;
            }
            Fate::Reject => copy.rejects += 1,
            Fate::Ack => {}
        }
        if matches!(fate, Fate::Ack | Fate::Reject) {
            let was_doubtful = std::mem::replace(&mut self.copy(held).doubtful, true);
            self.backlog = self.backlog.saturating_sub(usize::from(!was_doubtful));
            let settled = self.settled.entry(connection).or_default();
            settled.push((held, fate));
        }
    }

    /// What was settled is on disk: the connection was closed in order.
    pub(crate) fn closed(&mut self, connection: u64) {
        self.totals.closed += 1;
        for (held, fate) in self.settled.remove(&connection).unwrap_or_default() {
            self.sure(held, fate);
        }
    }

    /// A message was surely settled.
    pub(crate) fn sure(&mut self, held: Held, fate: Fate) {
        let copy = self.copy(held);
        copy.gone = copy.gone.max(Some(held.turn));
        if fate == Fate::Reject {
            copy.must_die = true;
            copy.must_turn = copy.must_turn.max(held.turn + 1);
        }
    }

    /// A connection broke, or is about to: what it settled may have been heard, and what it holds is anybody's.
    pub(crate) fn ended(&mut self, connection: u64) {
        self.settled.remove(&connection);
        self.broken += 1;
        self.release(connection);
    }

    /// A connection has a message.
    pub(crate) fn hold(&mut self, connection: u64, held: Held) {
        self.copy(held).holder = Some((connection, held.turn));
        let all = self.held.entry(connection).or_default();
        all.insert((held.number, held.place));
    }

    /// The broker begins to close all connections, in an order of its own.
    pub(crate) fn closes(&mut self) {
        self.closing = true;
        self.left.extend(Place::ALL);
    }

    /// Messages of a queue that nothing leaves on its own: how many must be there at least, and can be at most.
    pub(crate) fn extent(&self, place: Place) -> (usize, usize) {
        let (mut least, mut most) = (0, 0);
        let of_place = |m: &&Message| m.route.places().contains(&place);
        for message in self.messages.iter().filter(of_place) {
            let copy = message.copies.get(&place);
            let is_gone = copy.is_some_and(|copy| copy.gone.is_some());
            let is_doubtful = copy.is_some_and(|copy| copy.doubtful);
            let may_be = matches!(message.told, Told::Asked | Told::Confirmed);
            most += usize::from(may_be && !is_gone);
            // What came once is there, whatever its publisher heard.
            let is_sure = message.told == Told::Confirmed || copy.is_some();
            least += usize::from(is_sure && !is_gone && !is_doubtful);
        }
        (least, most)
    }

    /// What a connection has may be had by others: it is about to end.
    pub(crate) fn release(&mut self, connection: u64) {
        for (number, place) in self.held.remove(&connection).unwrap_or_default() {
            let copy = self.messages[number].copies.get_mut(&place);
            let is_holder = |copy: &&mut Copy| copy.holder.is_some_and(|(by, _)| by == connection);
            if let Some(copy) = copy.filter(is_holder) {
                copy.holder = None;
            }
        }
    }

    /// The broker was started again: no connection of before is left.
    pub(crate) fn calm(&mut self) {
        (self.closing, self.over) = (false, false);
        self.settled.clear();
        self.newest.clear();
        self.left.clear();
        let connections: Vec<u64> = self.held.keys().copied().collect();
        for connection in connections {
            self.release(connection);
        }
        // What was lost or withdrawn never gets settled.
        let places = self.messages.iter().flat_map(|message| {
            let may_be = matches!(message.told, Told::Asked | Told::Confirmed);
            let copies = message.route.places().iter();
            copies.filter(move |place| {
                let copy = message.copies.get(place);
                may_be && copy.is_none_or(|copy| !copy.doubtful && copy.gone.is_none())
            })
        });
        self.backlog = places.count();
    }
}
