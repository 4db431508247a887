//! Fakes for tests: clock, dice, disk, and a whole broker over a store of its own; and batches made by hand.

mod broker;
mod clock;
mod dice;
mod disk;
pub mod forge;

pub use broker::TestBroker;
pub use clock::{FakeClock, HeldTime};
pub use dice::SeededDice;
pub use disk::{Fault, SimDisk};
