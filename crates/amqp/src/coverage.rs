//! `docs/reference/amqp-protocol.md` says which methods there are and what is different about them. `UPDATE=1` rewrites
//! it.

use testkit::ReferencePage;

use crate::wire::method_names;

/// Who sends a method, and what a user should know about it beyond the specification.
fn state(name: &str) -> (&'static str, &'static str) {
    match name {
        "connection.start" => (
            "S",
            "PLAIN, AMQPLAIN and, where everyone may log in, ANONYMOUS",
        ),
        "connection.secure" => ("S", "never sent: no login needs a second step"),
        "connection.secure-ok" => ("C", "refused: nothing was asked"),
        "connection.tune" => (
            "S",
            "from `amqp.channel_max`, `amqp.frame_max`, `amqp.heartbeat`",
        ),
        "connection.tune-ok" => (
            "C",
            "limits may be lowered; frames of 4096 bytes are enough",
        ),
        "connection.close"
        | "channel.close"
        | "connection.close-ok"
        | "channel.close-ok"
        | "channel.flow-ok"
        | "basic.cancel-ok" => ("C S", "yes"),
        "connection.blocked" | "connection.unblocked" => (
            "S",
            "to publishers, while the disk is low; to clients that understand it",
        ),
        "connection.update-secret" => ("C", "taken and not looked at: passwords do not expire"),
        "channel.flow" => ("C", "`active=true` only"),
        "access.request" => ("C", "answered; tickets mean nothing"),
        "exchange.declare" => (
            "C",
            "direct, fanout, topic, headers, x-consistent-hash, x-modulus-hash, x-random, x-local-random, x-delayed-message",
        ),
        "queue.declare" => (
            "C",
            "types classic and quorum, which differ in defaults only: every argument works with both",
        ),
        "basic.qos" => ("C", "per consumer and per channel; not by size"),
        "basic.consume" => ("C", "`no_local` is ignored, `x-priority` is not"),
        "basic.cancel" => ("C S", "from the server to clients that understand it"),
        "basic.publish" => ("C", "`mandatory`, not `immediate`"),
        "basic.ack" | "basic.nack" => ("C S", "to publishers in confirm mode too"),
        "basic.reject" => (
            "C",
            "with `requeue` it counts as a failure, unlike `basic.nack`",
        ),
        "basic.recover" | "basic.recover-async" => ("C", "`requeue=true` only"),
        "tx.commit" => (
            "C",
            "one commit: publishes and acknowledgements are on disk together when it answers",
        ),
        name if name.ends_with("-ok") && name != "connection.start-ok"
            || matches!(name, "basic.return" | "basic.deliver" | "basic.get-empty") =>
        {
            ("S", "yes")
        }
        _ => ("C", "yes"),
    }
}

#[test]
fn the_coverage_page_is_fresh() {
    let rows = method_names().map(|name| {
        let (from, state) = state(name);
        [name, from, state].map(str::to_owned)
    });
    let columns = ["method", "from", "state"];
    ReferencePage::new(include_str!("coverage.md"), columns, rows).check("amqp-protocol.md");
}
