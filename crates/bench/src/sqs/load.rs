//! What one connection does over and over: it sends, or it receives and deletes what it got.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::task::JoinSet;

use super::client::{self, Client};
use crate::histogram::Histogram;
use crate::run::Run;

/// The requests of one turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// So many messages: one alone, several as a batch.
    Send { count: usize },
    /// At most so many, deleted together.
    Receive { max: usize },
}

/// The queue under load; shared by all connections.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: String,
    /// A message's body: nothing that has to be escaped.
    pub(super) text: String,
    /// Groups of a FIFO queue.
    pub(super) groups: Option<u64>,
    /// Rises with every message, so that none repeats another.
    pub(super) next: AtomicU64,
}

/// What one connection did.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) messages: u64,
    pub(super) latency: Histogram,
    /// When its last answer came.
    pub(super) end: Duration,
}

impl Action {
    /// What it is called in the output.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Send { count: 1 } => "SendMessage",
            Self::Send { .. } => "SendMessageBatch(10)",
            Self::Receive { max: 1 } => "Receive(1) + Delete",
            Self::Receive { .. } => "Receive(10) + DeleteBatch",
        }
    }
}

/// Runs `action` on all connections until the row is over.
pub(super) async fn run(
    clients: Vec<Client>,
    target: &Arc<Target>,
    action: Action,
    run: &Arc<Run>,
) -> Result<Vec<Tally>> {
    let mut tasks = JoinSet::new();
    for client in clients {
        let mut worker = Worker {
            client,
            target: Arc::clone(target),
            body: String::new(),
            tally: Tally::default(),
        };
        let run = Arc::clone(run);
        tasks.spawn(async move {
            worker.run(action, &run).await?;
            Ok(worker.tally)
        });
    }
    run.gather(tasks).await
}

#[derive(Debug)]
struct Worker {
    client: Client,
    target: Arc<Target>,
    body: String,
    tally: Tally,
}

impl Worker {
    async fn run(&mut self, action: Action, run: &Run) -> Result<()> {
        while run.may_send(1) {
            let start = run.elapsed();
            let (requests, messages) = match action {
                Action::Send { count: 1 } => self.send().await?,
                Action::Send { count } => self.send_batch(count).await?,
                Action::Receive { max } => self.receive(max).await?,
            };
            if messages == 0 {
                return Ok(());
            }
            self.tally.end = run.elapsed();
            self.tally
                .latency
                .record(self.tally.end.saturating_sub(start));
            self.tally.requests += requests;
            self.tally.messages += messages;
            run.answered();
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(u64, u64)> {
        self.begin();
        self.put_message()?;
        self.body.push('}');
        self.client.call("SendMessage", &self.body).await?;
        Ok((1, 1))
    }

    async fn send_batch(&mut self, count: usize) -> Result<(u64, u64)> {
        self.begin();
        self.body.push_str(r#","Entries":["#);
        for index in 0..count {
            let comma = if index > 0 { "," } else { "" };
            write!(self.body, r#"{comma}{{"Id":"{index}""#)?;
            self.put_message()?;
            self.body.push('}');
        }
        self.body.push_str("]}");
        let answer = self.client.call("SendMessageBatch", &self.body).await?;
        client::all_done(&answer, count)?;
        Ok((1, count as u64))
    }

    /// Without any message there was one request less, and the row is over for this connection.
    async fn receive(&mut self, max: usize) -> Result<(u64, u64)> {
        self.begin();
        write!(self.body, r#","MaxNumberOfMessages":{max}}}"#)?;
        let answer = self.client.call("ReceiveMessage", &self.body).await?;
        let leased = client::received(&answer)?;
        let expected = self.target.text.len();
        ensure!(
            leased.iter().all(|leased| leased.body.len() == expected),
            "a message came back changed"
        );
        self.begin();
        match &leased[..] {
            [] => return Ok((1, 0)),
            [one] if max == 1 => {
                write!(self.body, r#","ReceiptHandle":"{}"}}"#, one.receipt_handle)?;
                self.client.call("DeleteMessage", &self.body).await?;
            }
            several => {
                self.body.push_str(r#","Entries":["#);
                for (index, leased) in several.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    let handle = leased.receipt_handle;
                    write!(
                        self.body,
                        r#"{comma}{{"Id":"{index}","ReceiptHandle":"{handle}"}}"#
                    )?;
                }
                self.body.push_str("]}");
                let answer = self.client.call("DeleteMessageBatch", &self.body).await?;
                client::all_done(&answer, several.len())?;
            }
        }
        Ok((2, leased.len() as u64))
    }

    fn begin(&mut self) {
        self.body.clear();
        let url = &*self.target.url;
        self.body.extend([r#"{"QueueUrl":""#, url, "\""]);
    }

    fn put_message(&mut self) -> Result<()> {
        let text = &*self.target.text;
        self.body.extend([r#","MessageBody":""#, text, "\""]);
        if let Some(groups) = self.target.groups {
            let number = self.target.next.fetch_add(1, Relaxed);
            let group = number % groups;
            write!(
                self.body,
                r#","MessageGroupId":"g{group}","MessageDeduplicationId":"{number}""#
            )?;
        }
        Ok(())
    }
}
