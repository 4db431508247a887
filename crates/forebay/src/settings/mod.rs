//! What an operator may decide: every key, its type, its default and its meaning, in one table.
//!
//! Parsing, `forebay config show` and `docs/reference/settings.md` all follow from the table. Settings are plain
//! data; the components built from them are made in `boot`.

mod layers;
mod reference;
mod suggest;
mod table;
#[cfg(test)]
mod tests;
mod validate;
mod value;

use std::path::PathBuf;

pub(crate) use layers::{Entry, FAMILY, FlagValue, Sources, with_origins};
pub(crate) use reference::page as reference_page;
pub(crate) use value::{
    Account, ByteSize, ClusterId, Count, Endpoint, EndpointStrategy, HostPort, Listen, LogFilter,
    LogFormat, PARTS, Profile, Region, Setting, Signatures, Span, Url, Vhosts,
};

use table::settings;

settings! {
    /// `dev`: open to everyone who can reach it, and therefore on loopback only, unless a login is configured or
    /// `allow_open` is set. `production`: authentication, TLS and an encryption key source are required.
    profile: Profile = "dev";
    /// Lets listeners of the `dev` profile that ask for no login have addresses other machines can reach: everyone who
    /// reaches them may do everything.
    allow_open: bool = "false";

    data: Data {
        /// Data directory: everything that must survive. One process at a time.
        dir: PathBuf = "./forebay-data";
    }

    listeners: Listeners {
        /// Address of the Kafka listener, or several; `localhost:9092` is both `127.0.0.1` and `::1`.
        kafka: Listen = "127.0.0.1:9092";
        /// Address of the AMQP 0-9-1 listener, or several.
        amqp: Listen = "127.0.0.1:5672";
        /// Address of the SQS listener, or several.
        sqs: Listen = "127.0.0.1:9324";
        /// Address of the HTTP listener, or several: health, metrics and the JSON API.
        http: Listen = "127.0.0.1:8080";
    }

    kafka: Kafka {
        /// `host:port` that clients are told to connect to; empty means the address they connected to, and `localhost` for
        /// those that come from the host of a container.
        advertised_address: Option<HostPort> = "";
        /// Number clients know this broker by.
        node_id: Count<0, 2_147_483_647> = "1";
        /// Fetch sessions that are remembered at once; 0: none.
        fetch_sessions_max: Count<0, 100_000> = "1000";
        /// Create a topic when a client first names it.
        auto_create_topics: bool = "true";
        /// Partitions of a topic created without a number.
        default_partitions: Count<1, 10_000> = "1";
        /// Largest request accepted from a client.
        max_request_bytes: ByteSize = "100MiB";
        /// Largest record batch accepted, unless the topic says otherwise.
        max_message_bytes: ByteSize = "1048588";
        /// Connections open at once.
        max_connections: Count<1, 1_000_000> = "20000";
        /// Largest replication factor that is accepted and reported back, for clients that insist on one;
        /// how often data is stored does not depend on it.
        reported_replication_factor_max: Count<1, 3> = "1";
        /// How long a new group waits for more members before its first assignment; empty means `0s` in the profile
        /// `dev`, and `3s` in others.
        group_initial_rebalance_delay: Option<Span> = "";
        /// Shortest session timeout a group's member may ask for.
        group_min_session_timeout: Span = "6s";
        /// How long the committed offsets of an empty group are kept.
        offsets_retention: Span = "7d";
        /// Cluster id told to clients; empty means one made at first start and kept with the data.
        cluster_id: Option<ClusterId> = "";
    }

    amqp: Amqp {
        /// File of the users that may log in: sections `[user]` with a `password`, as shown below. Empty: authentication
        /// is off, any user and password is accepted.
        credentials_file: Option<PathBuf> = "";
        /// Vhosts to create at start, unless they exist; `/` always does.
        vhosts: Vhosts = "";
        /// Largest body of a message accepted from a client.
        message_bytes_max: ByteSize = "16MiB";
        /// Largest frame; clients may ask for less.
        frame_max: ByteSize = "128KiB";
        /// Channels a connection may have open; clients may ask for less.
        channel_max: Count<1, 65535> = "2047";
        /// AMQP heartbeat interval proposed to clients, in whole seconds; `0s` is none.
        heartbeat: Span = "1m";
        /// Connections open at once.
        max_connections: Count<1, 1_000_000> = "20000";
    }

    sqs: Sqs {
        /// Home account, twelve digits: its queues in the home region are known to every protocol by their plain names;
        /// requests that name no account are about it. Queues of other accounts and regions live in vhosts
        /// `sqs/<account>/<region>`.
        account: Account = "000000000000";
        /// Home region, likewise.
        region: Region = "us-east-1";
        /// What addresses of queues begin with; empty means the host the client asked.
        public_url: Option<Url> = "";
        /// How addresses of queues say their region: `off` (not at all), `standard` (`sqs.<region>.<host>`), `domain`
        /// (`<region>.queue.<host>`), `path` (`<host>/queue/<region>/…`) or `dynamic` (as the request did). All of them
        /// are understood, whatever is set here.
        endpoint_strategy: EndpointStrategy = "off";
        /// `off`: signatures are not looked at. `verify`: every request has to be signed with one of the credentials.
        signatures: Signatures = "off";
        /// File of the keys that requests can be signed with, as clients have it: sections `[principal]` with
        /// `aws_access_key_id` and `aws_secret_access_key`, as shown below.
        credentials_file: Option<PathBuf> = "";
        /// Refuse to make a queue again within a minute after it was deleted, as the service does.
        recreate_delay: bool = "false";
        /// Refuse a second purge within a minute, as the service does.
        purge_delay: bool = "false";
        /// Largest request accepted from a client.
        max_request_bytes: ByteSize = "16MiB";
        /// Connections open at once.
        max_connections: Count<1, 1_000_000> = "20000";
    }

    queues: Queues {
        /// Attach a queue to a topic of the same name when an AMQP or SQS client first uses the name as a queue's. Without it
        /// such a client is told how to attach one.
        attach_topics: bool = "false";
    }

    storage: Storage {
        /// Size of one journal file; files are preallocated and recycled.
        journal_file_bytes: ByteSize = "256MiB";
        /// Write buffer: records that are in the journal and in no segment yet are flushed to segments at this size.
        /// Empty means a sixteenth of the memory budget, at most 32MiB.
        unflushed_bytes: Option<ByteSize> = "";
        /// fsync interval of topics with `durability=flush`.
        flush_interval: Span = "100ms";
        /// Free space below which publishes are refused; acks and deletes go on.
        min_free_bytes: ByteSize = "512MiB";
    }

    memory: Memory {
        /// Memory for records and for what clients make the broker hold: requests, messages on their way to the disk,
        /// answers nobody has read yet. Empty means half of the machine's memory, or of the control group's limit.
        budget_bytes: Option<ByteSize> = "";
        /// The part of the budget for the state of queues: message groups, deduplication ids, messages that are in flight,
        /// delayed or retried. Messages that would make it grow beyond this are refused until others were acknowledged.
        /// Empty means an eighth of the budget.
        queue_state_bytes: Option<ByteSize> = "";
        /// The part of the budget for the state of consumer groups: members with what they say of themselves, ids that were
        /// handed out, committed offsets with their texts. Joins and commits that would make it grow beyond this are refused
        /// until others left or were deleted; commits that replace an offset go on. Empty means a sixteenth of the budget.
        group_state_bytes: Option<ByteSize> = "";
    }

    log: Log {
        /// What is logged, to stderr: `error`, `warn`, `info`, `debug`, `trace`, or per part: `info,kafka=debug`.
        level: LogFilter = "info";
        /// `text` for people, `json` for machines.
        format: LogFormat = "text";
    }
}
