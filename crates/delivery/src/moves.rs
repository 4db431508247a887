//! Move tasks as far as a queue partition is concerned: since when they run, what they moved, how they ended.

use uuid::Uuid;

use super::{QueueEvent, QueuePartition};

/// Ended move tasks that are remembered.
const MOVES_MAX: usize = 10;

/// A move task as far as this queue partition is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MoveProgress {
    pub(crate) task: Uuid,
    pub(crate) at: u64,
    pub(crate) upto: u64,
    pub(crate) to_move: u64,
    pub(crate) moved: u64,
    pub(crate) rate_max: u32,
    pub(crate) destination: Option<String>,
    pub(crate) ended: Option<Ended>,
}

/// How a move task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) cancelled: bool,
    pub(crate) failure: Option<String>,
}

impl QueuePartition {
    pub(super) fn note_move(&mut self, event: &QueueEvent) {
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
