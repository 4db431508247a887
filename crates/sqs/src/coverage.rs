//! `docs/reference/sqs-protocol.md` says which actions there are and what is different about them. `UPDATE=1` rewrites
//! it.

use testkit::ReferencePage;

use crate::actions::ACTIONS;

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

#[test]
fn the_coverage_page_is_fresh() {
    let rows = ACTIONS
        .iter()
        .map(|action| [action, notes(action)].map(str::to_owned));
    let columns = ["action", "notes"];
    ReferencePage::new(include_str!("coverage.md"), columns, rows).check("sqs-protocol.md");
}
