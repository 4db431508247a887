//! One number of bytes for everything peers make the process hold: unfinished requests, publishes that wait for the
//! disk, answers not read yet. All listeners share it.
//!
//! Each connection has an [`Account`]. What is in use is small change until it exceeds [`shared::FREE_BYTES`]; beyond that an
//! account takes larger pieces from the budget and gives them back when it holds nothing. An account may hold as much
//! as is left over for others, so that shares shrink while the budget is scarce, and a part is kept for those who hold
//! little. An account that finds nothing waits, those that would hold least first; one account at a time, the one that
//! has waited longest, may take what is spared for large requests, so that two halves of large requests never wait for
//! each other. A connection that makes others wait, and whose peer neither finishes what it began nor reads what it
//! asked for, is closed; likewise one that holds more than its fair share for something that lasts as long as a peer
//! likes. That it waits itself protects it only as far as its share goes.

mod account;
mod holders;
mod shared;
#[cfg(test)]
mod tests;
mod waiters;

pub use account::{Account, HeldBytes, Owed, Permit, SharedPermit};
pub use shared::{Budget, BudgetNumbers};
