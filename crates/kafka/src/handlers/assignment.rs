//! Assignments of partitions to brokers, made by hand: there is one broker to assign them to.

use crate::context::Context;
use crate::error::Code;
use crate::wire::create_topics::CreatableReplicaAssignment;

/// A refusal with its code and text.
pub(super) type Refusal = (Code, String);

/// Checks one partition's replicas: this broker, once.
pub(super) fn check_replicas(context: &Context, replicas: &[i32]) -> Result<(), Refusal> {
    let refuse = |what: String| {
        let text = format!("The manual partition assignment includes {what}");
        Err((Code::InvalidReplicaAssignment, text))
    };
    if replicas.is_empty() {
        return refuse("an empty replica list.".to_owned());
    }
    let mut sorted = replicas.to_vec();
    sorted.sort_unstable();
    let mut last = None;
    for id in sorted {
        if id != context.node_id() {
            return refuse(format!("broker {id}, but no such broker is registered."));
        }
        if last.replace(id) == Some(id) {
            return refuse(format!("the broker {id} more than once."));
        }
    }
    Ok(())
}

/// Checks an assignment of all partitions, every one once; returns how many there are.
pub(super) fn check_all(
    context: &Context,
    assignments: &[CreatableReplicaAssignment],
) -> Result<u32, Refusal> {
    let refuse = |text: String| Err((Code::InvalidReplicaAssignment, text));
    let mut seen = std::collections::HashSet::with_capacity(assignments.len());
    for assignment in assignments {
        let index = assignment.partition_index;
        if !seen.insert(index) {
            return refuse(format!(
                "Found multiple manual partition assignments for partition {index}"
            ));
        }
        check_replicas(context, &assignment.broker_ids)?;
    }
    let is_next = |index| i32::try_from(index).is_ok_and(|index| seen.contains(&index));
    if !(0..seen.len()).all(is_next) {
        return refuse("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    u32::try_from(assignments.len())
        .map_err(|_| (Code::InvalidPartitions, "too many partitions".to_owned()))
}
