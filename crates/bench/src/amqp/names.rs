//! Names of what a measurement makes on a broker.

/// Names of queues and exchanges that nobody had before.
#[derive(Debug, Default)]
pub(super) struct Names(u32);

impl Names {
    pub(super) fn next(&mut self) -> String {
        self.0 += 1;
        format!("bench-{}-{}", std::process::id(), self.0)
    }
}
