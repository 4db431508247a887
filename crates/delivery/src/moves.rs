//! Move tasks as far as a queue partition is concerned: since when they run, what they moved, how they ended.

use crate::event::QueueEvent;
use crate::move_progress::{Ended, MoveProgress};
use crate::queue_partition::QueuePartition;

/// Ended move tasks that are remembered.
const MOVES_MAX: usize = 10;

impl QueuePartition {
    pub(crate) fn note_move(&mut self, event: &QueueEvent) {
        match event {
            QueueEvent::MoveStarted {
                task,
                at,
                upto,
                to_move,
                rate_max,
                destination,
            } => {
                self.moves.push(MoveProgress {
                    task: *task,
                    at: *at,
                    upto: *upto,
                    to_move: *to_move,
                    moved: 0,
                    rate_max: *rate_max,
                    destination: destination.clone(),
                    ended: None,
                });
                let ended = self.moves.iter().filter(|m| m.ended.is_some()).count();
                if ended > MOVES_MAX {
                    self.moves.remove(0);
                }
            }
            QueueEvent::MoveEnded {
                task,
                cancelled,
                failure,
            } => {
                let of_task = |m: &&mut MoveProgress| m.task == *task && m.ended.is_none();
                if let Some(moving) = self.moves.iter_mut().find(of_task) {
                    moving.ended = Some(Ended {
                        cancelled: *cancelled,
                        failure: failure.clone(),
                    });
                }
            }
            _ => {}
        }
    }
}
