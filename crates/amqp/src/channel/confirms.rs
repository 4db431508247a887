//! Acknowledgements to a publisher: numbered from 1 on, given in order, and gathered while they say the same.

/// Counts what was published, and gathers what became of it.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    /// The last number given.
    last: u64,
    run: Option<Run>,
}

/// Publishes in a row of which the same became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// They are safe; otherwise refused.
    pub(crate) is_ack: bool,
    pub(crate) last: u64,
    pub(crate) count: u64,
}

impl Confirms {
    /// The number of one more publish.
    pub(crate) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Says what became of a publish; all before it are known by now. Returns the run that ends with that.
    pub(crate) fn resolve(&mut self, number: u64, is_ack: bool) -> Option<Run> {
        match &mut self.run {
            Some(run) if run.is_ack == is_ack => {
                run.last = number;
                run.count += 1;
                None
            }
            run => run.replace(Run {
                is_ack,
                last: number,
                count: 1,
            }),
        }
    }

    /// The run that was gathered so far.
    pub(crate) fn take_run(&mut self) -> Option<Run> {
        self.run.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_said_at_once() {
        let mut confirms = Confirms::default();
        assert_eq!([1, 2, 3, 4].map(|_| confirms.number()), [1, 2, 3, 4]);
        let run = |is_ack, last, count| {
            Some(Run {
                is_ack,
                last,
                count,
            })
        };
        assert_eq!(confirms.resolve(1, true), None);
        assert_eq!(confirms.resolve(2, true), None);
        assert_eq!(confirms.resolve(3, false), run(true, 2, 2));
        assert_eq!(confirms.resolve(4, true), run(false, 3, 1));
        assert_eq!(confirms.take_run(), run(true, 4, 1));
        assert_eq!(confirms.take_run(), None);
    }
}
