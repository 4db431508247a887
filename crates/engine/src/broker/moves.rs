//! Move tasks through the door: start them, ask how they stand, stop them.

use std::sync::{Arc, PoisonError};

use delivery::MoveProgress;
use security::{Resource, Verb};
use uuid::Uuid;

use super::command::Command;
use super::{Access, queue_partitions, transfer};
use crate::queue::{MoveState, MoveTask, Queue};
use crate::{Error, Result};

impl Access {
    /// Starts moving a queue's messages to `destination`, or back to where each was dead-lettered. Errors:
    /// `UnknownQueue`, `MoveRunning`.
    pub async fn start_move(
        &self,
        source: &str,
        destination: Option<&str>,
        rate_max: Option<u32>,
    ) -> Result<MoveTask> {
        let queue = self.find_queue(source, Verb::Consume)?;
        if let Some(name) = destination {
            self.find_queue(name, Verb::Publish)?;
        }
        let destination = destination.map(str::to_owned);
        let task = self
            .command(|done| Command::StartMove {
                queue: Arc::clone(&queue),
                destination,
                rate_max,
                done,
            })
            .await?;
        let moves = self.moves_from(&queue).await?;
        let started = moves.into_iter().find(|moving| moving.id == task);
        started.ok_or(Error::UnknownMove)
    }

    /// The move tasks of a source queue, newest first; the last ten are remembered.
    pub async fn moves(&self, source: &str) -> Result<Vec<MoveTask>> {
        let queue = self.find_queue(source, Verb::Describe)?;
        self.moves_from(&queue).await
    }

    async fn moves_from(&self, queue: &Queue) -> Result<Vec<MoveTask>> {
        let mut tasks: Vec<MoveTask> = Vec::new();
        for at in queue_partitions::of_queue(queue) {
            let moves = queue_partitions::inspect(&self.inner, at, |queue_partition| {
                queue_partition.moves().to_vec()
            })
            .await?;
            for moving in moves {
                let known = tasks.iter_mut().find(|task| task.id == moving.task);
                match known {
                    Some(task) => {
                        task.moved += moving.moved;
                        task.to_move += moving.to_move;
                    }
                    None => tasks.push(move_task(queue, moving)),
                }
            }
        }
        tasks.reverse();
        tasks.truncate(10);
        Ok(tasks)
    }

    /// Stops a move task. Errors: `UnknownMove` when there is none of that identity that runs.
    pub async fn cancel_move(&self, id: Uuid) -> Result<MoveTask> {
        let source = {
            let moves = self
                .inner
                .moves
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            moves.get(&id).copied()
        };
        let queue = source.and_then(|source| self.inner.queues.with_id(source));
        let queue = queue.ok_or(Error::UnknownMove)?;
        self.authorize(Verb::Consume, Resource::Queue(&queue.name))?;
        transfer::end_move(&self.inner, &queue, id, true, None).await?;
        let moves = self.moves_from(&queue).await?;
        let ended = moves.into_iter().find(|moving| moving.id == id);
        ended.ok_or(Error::UnknownMove)
    }
}

fn move_task(queue: &Queue, moving: MoveProgress) -> MoveTask {
    let (state, failure) = match moving.ended {
        None => (MoveState::Running, None),
        Some(ended) if ended.cancelled => (MoveState::Cancelled, None),
        Some(ended) if ended.failure.is_some() => (MoveState::Failed, ended.failure),
        Some(_) => (MoveState::Completed, None),
    };
    MoveTask {
        id: moving.task,
        source: queue.name.to_string(),
        destination: moving.destination,
        rate_max: Some(moving.rate_max).filter(|rate| *rate > 0),
        state,
        moved: moving.moved,
        to_move: moving.to_move,
        started_ms: moving.at,
        failure,
    }
}
