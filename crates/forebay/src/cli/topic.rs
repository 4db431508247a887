//! `forebay topic …`: the topics of a running broker and their records, over its JSON API.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::bail;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::api::escape;
use super::output::{Output, leaf, pairs, print_line};
use super::queue::{header, standard_input};
use super::remote::{Context, Remote, cell, rows};

/// Records appended in one request.
const BATCH: usize = 1000;
/// Records asked for at once.
const PAGE: usize = 1000;
/// How long a request of `--follow` waits for a record, shared by all partitions.
const FOLLOW_WAIT: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub(super) struct Topic {
    #[command(flatten)]
    pub(super) remote: Remote,
    /// The vhost: the topics of its queues.
    #[arg(long, value_name = "NAME", default_value = "/", global = true)]
    vhost: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List topics.
    List(List),
    /// Create a topic.
    Create(Create),
    /// Show everything about a topic.
    Describe(Describe),
    /// Change a topic's settings, or give it more partitions.
    Alter(Alter),
    /// Delete a topic and its records.
    Delete(Delete),
    /// Append records.
    Produce(Produce),
    /// Read records by offset.
    Consume(Consume),
}

#[derive(Args, Debug)]
struct List {
    /// Only names that begin with this.
    #[arg(long, default_value = "")]
    prefix: String,
    /// Topics at most.
    #[arg(long, value_name = "N")]
    max: Option<usize>,
}

#[derive(Args, Debug)]
struct Create {
    /// Name of the topic.
    name: String,
    /// Number of partitions; default: `kafka.default_partitions` of the broker.
    #[arg(long, value_name = "N")]
    partitions: Option<u32>,
    /// A setting, as `retention.ms=60000`; may be given many times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    set: Vec<(String, String)>,
}

#[derive(Args, Debug)]
struct Describe {
    /// Name of the topic.
    name: String,
    /// With the settings that have their defaults.
    #[arg(long)]
    all: bool,
}

#[derive(Args, Debug)]
struct Alter {
    /// Name of the topic.
    name: String,
    /// Number of partitions; only grows.
    #[arg(long, value_name = "N", required_unless_present_any = ["set", "reset"])]
    partitions: Option<u32>,
    /// A setting, as `retention.ms=60000`; may be given many times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    set: Vec<(String, String)>,
    /// A setting that goes back to its default; may be given many times.
    #[arg(long, value_name = "NAME")]
    reset: Vec<String>,
}

#[derive(Args, Debug)]
struct Delete {
    /// Name of the topic.
    name: String,
    /// Also when queues receive from it, which are deleted with it.
    #[arg(long)]
    force: bool,
}

#[derive(Args, Debug)]
struct Produce {
    /// Name of the topic.
    name: String,
    /// The value; `-`, or nothing, reads it from standard input.
    value: Option<String>,
    /// Every line of standard input is a record.
    #[arg(long, conflicts_with = "value")]
    lines: bool,
    /// Key: records of one key go to one partition, in order.
    #[arg(long)]
    key: Option<String>,
    /// A header; may be given many times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// Partition; default: that of the key, else one after the other.
    #[arg(long, value_name = "N")]
    partition: Option<i32>,
}

#[derive(Args, Debug)]
struct Consume {
    /// Name of the topic.
    name: String,
    /// Only this partition.
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    /// `earliest`, `latest`, or an offset.
    #[arg(long, value_name = "WHERE", default_value = "earliest")]
    from: String,
    /// Records at most; default: 100, and no limit with `--follow`.
    #[arg(long, value_name = "N")]
    max: Option<usize>,
    /// Wait for new records, until interrupted; each is one line.
    #[arg(long)]
    follow: bool,
}

/// Where a topic, or something of it, is in the API; more can be asked for behind it.
fn path(context: &Context, name: &str, what: &str) -> String {
    let (name, vhost) = (escape(name), escape(&context.vhost));
    format!("/topics/{name}{what}?vhost={vhost}")
}

impl Topic {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let context = Context {
            vhost: self.vhost,
            ..self.remote.open()?
        };
        match self.verb {
            Verb::List(List { prefix, max }) => {
                let (prefix, vhost) = (escape(&prefix), escape(&context.vhost));
                let path = format!("/topics?vhost={vhost}&prefix={prefix}");
                let listed = context.list(&path, "topics", max)?;
                let columns = [
                    ("NAME", "name"),
                    ("PARTITIONS", "partitions"),
                    ("OFFSETS", "offsets"),
                ];
                context.output.print(&listed, |t| rows(t, &columns))
            }
            Verb::Create(create) => create.run(&context),
            Verb::Describe(Describe { name, all }) => {
                let path = format!("{}&defaults={all}", path(&context, &name, ""));
                context.output.print(&context.api.get(&path)?, show)
            }
            Verb::Alter(alter) => alter.run(&context),
            Verb::Delete(Delete { name, force }) => {
                let path = format!("{}&force={force}", path(&context, &name, ""));
                context.api.delete(&path)?;
                context.done("deleted", &name)
            }
            Verb::Produce(produce) => produce.run(&context),
            Verb::Consume(consume) => consume.run(&context),
        }
    }
}

impl Create {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        if context.vhost != engine::vhost::DEFAULT {
            bail!("a topic of another vhost is made with its queue: `forebay queue create`");
        }
        let settings = self.set.into_iter();
        let settings: Map<String, Value> = settings.map(|(n, v)| (n, json!(v))).collect();
        let mut request = json!({ "name": self.name, "settings": settings });
        if let Some(partitions) = self.partitions {
            request["partitions"] = json!(partitions);
        }
        let made = context.api.post("/topics", &request)?;
        context.output.print(&made, show)
    }
}

impl Alter {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let set = self.set.into_iter().map(|(n, v)| (n, json!(v)));
        let reset = self.reset.into_iter().map(|name| (name, Value::Null));
        let settings: Map<String, Value> = set.chain(reset).collect();
        let mut request = json!({ "settings": settings });
        if let Some(partitions) = self.partitions {
            request["partitions"] = json!(partitions);
        }
        let changed = context
            .api
            .patch(&path(context, &self.name, ""), &request)?;
        context.output.print(&changed, show)
    }
}

/// Everything about one topic, a line each.
fn show(topic: &Value) -> String {
    let mut lines = Vec::new();
    if topic["vhost"] != "/" {
        lines.push(("vhost".to_owned(), leaf("vhost", &topic["vhost"])));
    }
    for name in ["name", "id"] {
        lines.push((name.to_owned(), leaf(name, &topic[name])));
    }
    lines.extend(partitions(topic));
    for (name, value) in topic["settings"].as_object().into_iter().flatten() {
        lines.push((format!("settings.{name}"), leaf("", value)));
    }
    if topic["queues"].as_array().is_some_and(|q| !q.is_empty()) {
        lines.push(("queues".to_owned(), leaf("queues", &topic["queues"])));
    }
    pairs(&lines)
}

/// Partitions shown one by one; of more there is a summary.
const PARTITIONS_SHOWN: usize = 100;

/// The partitions of a topic, a line each as far as people read them.
fn partitions(topic: &Value) -> Vec<(String, String)> {
    let all = topic["partitions"].as_array();
    let all = all.map_or(&[][..], Vec::as_slice);
    let line = |partition: &Value| {
        let (start, end) = (&partition["start"], &partition["end"]);
        let name = format!("partition.{}", partition["partition"]);
        (name, format!("offsets {start} to {end}"))
    };
    if all.len() <= PARTITIONS_SHOWN {
        return all.iter().map(line).collect();
    }
    let held = |partition: &Value| {
        let offset = |name: &str| partition[name].as_u64().unwrap_or(0);
        offset("end").saturating_sub(offset("start"))
    };
    let offsets: u64 = all.iter().map(held).sum();
    let said = format!("{offsets} in all; `-o json` shows each partition");
    vec![
        ("partitions".to_owned(), all.len().to_string()),
        ("offsets".to_owned(), said),
    ]
}

impl Produce {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let values: Vec<Vec<u8>> = match &self.value {
            Some(value) if value != "-" => vec![value.clone().into_bytes()],
            _ if self.lines => {
                let input = standard_input()?;
                let lines = input.split(|byte| *byte == b'\n');
                let mut lines: Vec<Vec<u8>> = lines.map(<[u8]>::to_vec).collect();
                // What ends with a line end has no line behind it.
                lines.pop_if(|last| last.is_empty());
                lines
            }
            _ => vec![standard_input()?],
        };
        let path = path(context, &self.name, "/records");
        let mut appended = Vec::new();
        for values in values.chunks(BATCH) {
            let records: Vec<Value> = values.iter().map(|value| self.record(value)).collect();
            let answer = context.api.post(&path, &json!({ "records": records }))?;
            appended.extend(answer["records"].as_array().into_iter().flatten().cloned());
        }
        let failed = appended
            .iter()
            .find(|record| record.get("problem").is_some());
        if let Some(failed) = failed {
            let why = leaf("detail", &failed["problem"]["detail"]);
            bail!("some records were refused: {why}");
        }
        let columns = [("PARTITION", "partition"), ("OFFSET", "offset")];
        let appended = Value::Array(appended);
        context.output.print(&appended, |r| rows(r, &columns))
    }

    fn record(&self, value: &[u8]) -> Value {
        let mut record = match std::str::from_utf8(value) {
            Ok(text) => json!({ "value": text }),
            Err(_) => json!({ "value_base64": STANDARD.encode(value) }),
        };
        if let Some(key) = &self.key {
            record["key"] = json!(key);
        }
        if let Some(partition) = self.partition {
            record["partition"] = json!(partition);
        }
        let headers = self.header.iter();
        record["headers"] = headers
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        record
    }
}

/// A partition that is read, and from where on.
struct Cursor {
    partition: u64,
    next: String,
    /// Where it began when the command did.
    start: u64,
    /// Where it ended when the command began.
    end: u64,
}

/// Records shown when nothing is said.
const SHOWN: usize = 100;

impl Consume {
    fn run(&self, context: &Context) -> anyhow::Result<()> {
        let mut cursors = self.cursors(context)?;
        if self.follow {
            return self.follow(context, &mut cursors);
        }
        let max = self.max.unwrap_or(SHOWN);
        let mut records = Vec::new();
        let mut is_cut = false;
        for cursor in &mut cursors {
            // What a topic keeps may be less than its offsets say; what was not read is not known to be there.
            is_cut |= records.len() >= max && cursor.may_have_more(&self.from);
            while records.len() < max {
                let page = self.read(context, cursor, max - records.len(), Duration::ZERO)?;
                let is_last = page.is_empty() || cursor.is_at_end();
                let end = cursor.end;
                let fresh = |record: &Value| record["offset"].as_u64() < Some(end);
                records.extend(page.into_iter().filter(fresh));
                if is_last {
                    break;
                }
                is_cut |= records.len() >= max;
            }
        }
        let shown = records.len();
        let columns = [
            ("PARTITION", "partition"),
            ("OFFSET", "offset"),
            ("TIMESTAMP", "timestamp_ms"),
            ("KEY", "key"),
            ("VALUE", "value"),
        ];
        let records = Value::Array(records);
        context.output.print(&records, |r| rows(r, &columns))?;
        if is_cut && self.max.is_none() {
            say_more(shown);
        }
        Ok(())
    }

    fn cursors(&self, context: &Context) -> anyhow::Result<Vec<Cursor>> {
        let topic = context.api.get(&path(context, &self.name, ""))?;
        let all = topic["partitions"].as_array().into_iter().flatten();
        let cursors = all.map(|partition| Cursor {
            partition: partition["partition"].as_u64().unwrap_or(0),
            next: self.from.clone(),
            start: partition["start"].as_u64().unwrap_or(0),
            end: partition["end"].as_u64().unwrap_or(0),
        });
        let wanted = cursors.filter(|c| self.partition.is_none_or(|p| c.partition == u64::from(p)));
        let cursors: Vec<Cursor> = wanted.collect();
        if cursors.is_empty() {
            let (name, partition) = (&self.name, self.partition.unwrap_or(0));
            bail!("--partition {partition}: topic '{name}' has no such partition");
        }
        Ok(cursors)
    }

    /// Reads on in one partition.
    fn read(
        &self,
        context: &Context,
        cursor: &mut Cursor,
        max: usize,
        wait: Duration,
    ) -> anyhow::Result<Vec<Value>> {
        let path = format!(
            "{}&partition={}&from={}&max={}&wait_ms={}",
            path(context, &self.name, "/records"),
            cursor.partition,
            escape(&cursor.next),
            max.min(PAGE),
            wait.as_millis()
        );
        let mut read = context.api.get_and_wait(&path, wait)?;
        cursor.next = read["next"].to_string();
        match read["records"].take() {
            Value::Array(records) => Ok(records),
            _ => Ok(Vec::new()),
        }
    }

    fn follow(&self, context: &Context, cursors: &mut [Cursor]) -> anyhow::Result<()> {
        let share = u32::try_from(cursors.len()).unwrap_or(u32::MAX);
        let wait = (FOLLOW_WAIT / share).max(Duration::from_millis(10));
        let mut left = self.max.unwrap_or(usize::MAX);
        loop {
            for cursor in &mut *cursors {
                for record in self.read(context, cursor, left, wait)? {
                    print_line(&line(&record, context.output))?;
                    left -= 1;
                }
                if left == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// Says that not everything was shown. Scripts read the records from standard output.
fn say_more(shown: usize) {
    // Who does not read it does without it.
    let _ = writeln!(
        io::stderr(),
        "{shown} records shown, and there may be more: `--max N` shows as many, `--follow` shows all and waits for new ones"
    );
}

impl Cursor {
    /// Whether there was something to read when the command began.
    fn may_have_more(&self, from: &str) -> bool {
        let from = match from {
            "earliest" => self.start,
            "latest" => self.end,
            offset => offset.parse().unwrap_or(self.end),
        };
        from < self.end
    }

    fn is_at_end(&self) -> bool {
        self.next.parse().is_ok_and(|next: u64| next >= self.end)
    }
}

/// A record in one line: JSON for scripts, words for people.
fn line(record: &Value, output: Output) -> String {
    if output != Output::Table {
        return record.to_string();
    }
    let words = ["partition", "offset", "timestamp_ms", "key", "value"];
    let words = words.map(|name| super::output::escaped(&cell(record, name)));
    words.join("  ")
}
