//! Fakes for tests: clock, random source, disk, and a whole broker over a store of its own; batches made by hand; what damages
//! a data folder; and the pages that are written from code.

mod broker;
mod clock;
mod disk;
pub mod forge;
mod journal;
mod memory;
mod random;
mod reference_page;

pub use broker::TestBroker;
pub use clock::{FakeClock, HeldTime};
pub use disk::{Fault, SimDisk};
pub use journal::{Damaged, fuzz_journal};
pub use memory::peak_memory_mib;
pub use random::SeededRandom;
pub use reference_page::{ReferencePage, check_page};
