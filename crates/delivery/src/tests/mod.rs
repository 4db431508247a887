//! Queue partitions: by tables, and against a model that does everything the slow way.

mod codec;
mod dedup;
mod fairness;
mod kept;
mod model;
mod order;
mod random;
mod runs;
mod stage;
