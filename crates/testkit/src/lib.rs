//! Fakes for tests: clock, dice, disk, and a whole broker over a store of its own; batches made by hand; and what damages
//! a data folder.

mod broker;
mod clock;
mod dice;
mod disk;
pub mod forge;
mod journal;
mod memory;

pub use broker::TestBroker;
pub use clock::{FakeClock, HeldTime};
pub use dice::SeededDice;
pub use disk::{Fault, SimDisk};
pub use journal::{Damaged, fuzz_journal};
pub use memory::peak_memory_mib;
