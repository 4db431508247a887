//! Fakes for tests: clock, dice, disk, and a whole broker over a store of its own.

mod broker;
mod clock;
mod dice;
mod disk;

pub use broker::TestBroker;
pub use clock::{FakeClock, HeldTime};
pub use dice::SeededDice;
pub use disk::{Fault, SimDisk};
