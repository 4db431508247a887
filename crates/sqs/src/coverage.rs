//! `docs/reference/sqs-protocol.md` says which actions there are and what is different about them. `UPDATE=1` rewrites
//! it.

use std::path::PathBuf;

use crate::actions::ACTIONS;

/// The page, but for the table of actions.
const PAGE: &str = include_str!("coverage.md");

/// What a user should know about an action beyond the service's own documentation.
fn notes(action: &str) -> &'static str {
    match action {
        "AddPermission" | "RemovePermission" => {
            "kept in the queue's policy and shown; policies are not enforced yet"
        }
        "CreateQueue" => {
            "a topic of that name that is there already is attached to, and outlives the queue; a name can be used again at once unless `sqs.recreate_delay` is set"
        }
        "DeleteMessage" => {
            "an old handle of a standard queue succeeds and deletes only what has not been received again"
        }
        "GetCallerIdentity" => "the token service's, Query only: the account and who signed",
        "GetQueueAttributes" => "the three counts are exact, not approximate",
        "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => {
            "with an expired or older handle of a standard queue it succeeds and changes nothing"
        }
        "GetQueueUrl" => "the host is the one the client asked, unless `sqs.public_url` is set",
        "ListMessageMoveTasks" => "the last ten of a queue, over restarts",
        "ListQueues" => {
            "queues made through other protocols too, where the service could have their names"
        }
        "PurgeQueue" => {
            "done when it answers, and final: nothing of it can be read or replayed; a second one within a minute is refused only with `sqs.purge_delay`"
        }
        "ReceiveMessage" => {
            "asks the whole queue, so a short poll misses nothing; ten thousand attempt ids are remembered per queue and partition"
        }
        "SendMessage" | "SendMessageBatch" => "answered when the messages are on disk",
        "StartMessageMoveTask" => {
            "survives restarts; without a destination each message goes back to where it failed; without a rate as fast as the disk takes it"
        }
        _ => "",
    }
}

fn page() -> String {
    let rows = ACTIONS
        .iter()
        .map(|action| format!("| {action} | {} |\n", notes(action)));
    let table = "| action | notes |\n|---|---|\n".to_owned() + &rows.collect::<String>();
    PAGE.replace("{actions}\n", &table)
}

#[test]
fn the_coverage_page_is_fresh() {
    let page = page();
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/sqs-protocol.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page,
        "{} is stale; UPDATE=1 rewrites it",
        path.display()
    );
}
