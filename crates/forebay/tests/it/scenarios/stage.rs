//! What a scenario is played on: the broker, its frontends, the clock, and the names things were given.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use net::Shutdown;
use testkit::TestBroker;

use super::peer::Peer;

/// The whole broker in memory.
pub(super) struct Stage {
    pub(super) broker: TestBroker,
    pub(super) router: Router,
    pub(super) kafka: Arc<kafka::Context>,
    pub(super) amqp: Arc<amqp::Context>,
    /// The AMQP client, once there is one.
    pub(super) peer: Option<Peer>,
    /// Connections it made.
    pub(super) connections: u64,
    pub(super) shutdown: Shutdown,
    pub(super) messages: Names,
    pub(super) handles: Names,
    pub(super) tasks: Names,
    pub(super) deliveries: Names,
}

/// Short names for long identities, in the order in which these are first seen.
pub(super) struct Names {
    letter: char,
    known: Vec<String>,
}

impl Names {
    fn new(letter: char) -> Self {
        Self {
            letter,
            known: Vec::new(),
        }
    }

    pub(super) fn short(&mut self, long: &str) -> String {
        let place = self.known.iter().position(|known| known == long);
        let place = place.unwrap_or_else(|| {
            self.known.push(long.to_owned());
            self.known.len() - 1
        });
        format!("{}{}", self.letter, place + 1)
    }

    /// A text with names in place of identities.
    pub(super) fn shorten(&self, text: String) -> String {
        let known = (1..).zip(&self.known);
        known.fold(text, |text, (n, long)| {
            text.replace(long, &format!("{}{n}", self.letter))
        })
    }

    /// The identity behind a name; a name nobody was given stands for itself.
    pub(super) fn long(&self, short: &str) -> String {
        let place = short.strip_prefix(self.letter);
        let place = place.and_then(|n| n.parse::<usize>().ok()?.checked_sub(1));
        let known = place.and_then(|place| self.known.get(place));
        known.map_or(short, |known| known).to_owned()
    }
}

/// A command's words: quoted ones may hold spaces; `name=value` pairs are options.
pub(super) struct Words {
    pub(super) plain: Vec<String>,
    pub(super) options: Vec<(String, String)>,
}

impl Words {
    fn new(command: &str) -> Self {
        let mut words = Self {
            plain: Vec::new(),
            options: Vec::new(),
        };
        let mut rest = command.trim();
        while !rest.is_empty() {
            let mut quoted = false;
            let ends = |c: char| {
                quoted ^= c == '"';
                c == ' ' && !quoted
            };
            let (word, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
            rest = after.trim_start();
            match word.split_once('=').filter(|_| !word.starts_with('"')) {
                Some((name, value)) => {
                    let value = value.trim_matches('"');
                    words.options.push((name.to_owned(), value.to_owned()));
                }
                None => words.plain.push(word.trim_matches('"').to_owned()),
            }
        }
        words
    }

    pub(super) fn option(&self, name: &str) -> Option<&str> {
        let found = self.options.iter().find(|(n, _)| n == name)?;
        Some(&found.1)
    }

    pub(super) fn has(&self, word: &str) -> bool {
        self.plain.iter().any(|plain| plain == word)
    }

    pub(super) fn word(&self, place: usize) -> &str {
        self.plain.get(place).map_or("", String::as_str)
    }
}

impl Stage {
    pub(super) async fn start() -> Self {
        Self::over(TestBroker::start().await)
    }

    fn over(broker: TestBroker) -> Self {
        let sqs = sqs::Context::new(broker.broker().clone(), sqs::Settings::default());
        let kafka = kafka::Context::new(broker.broker().clone(), kafka::Settings::default());
        let never_low: amqp::DiskAlarm = Box::new(|| false);
        let amqp = amqp::Context::new(
            broker.broker().clone(),
            amqp::Settings::default(),
            never_low,
        );
        Self {
            router: sqs::router(Arc::new(sqs)),
            kafka: Arc::new(kafka),
            amqp: Arc::new(amqp),
            peer: None,
            connections: 0,
            broker,
            shutdown: Shutdown::new(),
            messages: Names::new('m'),
            handles: Names::new('h'),
            tasks: Names::new('t'),
            deliveries: Names::new('d'),
        }
    }

    /// Carries out a command and returns what it is answered with.
    pub(super) async fn run(&mut self, command: &str) -> String {
        let words = Words::new(command);
        match words.word(0) {
            "sqs" => self.sqs(&words).await,
            "kafka" => self.kafka(&words).await,
            "amqp" => self.amqp(&words).await,
            "clock" => {
                let by = words.word(1).trim_start_matches('+');
                let by = match by.strip_suffix("ms") {
                    Some(millis) => Duration::from_millis(millis.parse().unwrap()),
                    None => Duration::from_secs(by.trim_end_matches('s').parse().unwrap()),
                };
                // Timers go off with the next whole millisecond, which held time would never come to.
                tokio::time::advance(by + Duration::from_millis(1)).await;
                "ok".to_owned()
            }
            "restart" => {
                self.restart().await;
                "ok".to_owned()
            }
            other => panic!("there is no command `{other}`"),
        }
    }

    /// Ends in good order and starts again on the same data; what was named keeps its name.
    async fn restart(&mut self) {
        let fresh = Self::start().await;
        let Self {
            broker,
            router,
            kafka,
            amqp,
            peer,
            connections,
            shutdown,
            messages,
            handles,
            tasks,
            deliveries,
        } = std::mem::replace(self, fresh);
        shutdown.begin();
        drop((router, kafka, amqp, peer));
        *self = Self::over(broker.restart().await);
        (self.messages, self.handles, self.tasks) = (messages, handles, tasks);
        (self.deliveries, self.connections) = (deliveries, connections);
    }
}
