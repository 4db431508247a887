//! Fakes for tests: clock, random source, disk, and a whole broker over a store of its own; batches made by hand; and what damages
//! a data folder.

mod broker;
mod clock;
mod disk;
pub mod forge;
mod journal;
mod memory;
mod random;

pub use broker::TestBroker;
pub use clock::{FakeClock, HeldTime};
pub use disk::{Fault, SimDisk};
pub use journal::{Damaged, fuzz_journal};
pub use memory::peak_memory_mib;
pub use random::SeededRandom;
