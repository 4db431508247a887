//! How a move task is shown.

use engine::queue::{MoveState, MoveTask};
use engine::vhost;
use serde_json::{Value, json};

/// A task as it stands.
pub(super) fn show(task: &MoveTask) -> Value {
    let state = match task.state {
        MoveState::Running => "running",
        MoveState::Completed => "completed",
        MoveState::Cancelling => "cancelling",
        MoveState::Cancelled => "cancelled",
        MoveState::Failed => "failed",
    };
    json!({
        "id": task.id,
        "source": vhost::split(&task.source).1,
        "destination": task.destination.as_deref().map(|name| vhost::split(name).1),
        "rate_max": task.rate_max,
        "state": state,
        "moved": task.moved,
        "to_move": task.to_move,
        "started_ms": task.started_ms,
        "failure": task.failure,
    })
}
