//! Which loads are measured, in which order.

use super::options::{BODY_BYTES, Kind, Options, Shape};

/// Seconds of a row of a quick run.
const QUICK_SECONDS: f64 = 1.0;
/// A row of consumers alone ends with its backlog, not with time.
pub(super) const NO_END_SECONDS: f64 = 86_400.0;

/// One load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) kind: Kind,
    pub(super) queues: u16,
    pub(super) body_bytes: usize,
    pub(super) window: u16,
    pub(super) prefetch: u16,
    pub(super) ack_every: u16,
}

/// The loads the options ask for.
pub(super) fn plan(options: &Options) -> Vec<Work> {
    let shape = if options.quick {
        quick(&options.shape)
    } else {
        options.shape.clone()
    };
    shape.cases.iter().flat_map(|k| loads(&shape, *k)).collect()
}

/// How long a row takes.
pub(super) fn seconds(options: &Options) -> f64 {
    if options.quick {
        options.seconds.min(QUICK_SECONDS)
    } else {
        options.seconds
    }
}

/// The first of everything, and bodies of one size.
fn quick(shape: &Shape) -> Shape {
    Shape {
        queues: shape.queues.iter().copied().take(1).collect(),
        body_bytes: vec![usual(shape)],
        ack_every: shape.ack_every.iter().copied().take(1).collect(),
        ..shape.clone()
    }
}

/// Size of bodies where only one is measured.
fn usual(shape: &Shape) -> usize {
    match &shape.body_bytes[..] {
        [first, ..] if !shape.body_bytes.contains(&BODY_BYTES) => *first,
        _ => BODY_BYTES,
    }
}

fn loads(shape: &Shape, kind: Kind) -> Vec<Work> {
    let usual = Work {
        kind,
        queues: 1,
        body_bytes: usual(shape),
        window: shape.window,
        prefetch: shape.prefetch,
        ack_every: shape.ack_every.first().copied().unwrap_or(1),
    };
    let one = match kind {
        Kind::Backlog | Kind::Both => return matrix(shape, usual),
        Kind::FanOut => Work {
            queues: shape.fan_out,
            ..usual
        },
        Kind::OneInFlight => Work {
            window: 1,
            prefetch: 1,
            ack_every: 1,
            ..usual
        },
        Kind::Spike => Work {
            ack_every: 1,
            ..usual
        },
    };
    vec![one]
}

fn matrix(shape: &Shape, usual: Work) -> Vec<Work> {
    let mut loads = Vec::new();
    for body_bytes in &shape.body_bytes {
        for queues in &shape.queues {
            loads.push(Work {
                queues: *queues,
                body_bytes: *body_bytes,
                ..usual
            });
        }
    }
    let others = shape.ack_every.iter().skip(1);
    loads.extend(others.map(|ack_every| Work {
        ack_every: *ack_every,
        ..usual
    }));
    loads
}

#[cfg(test)]
mod tests {
    use super::super::options::tests::parse;
    use super::*;

    fn planned(line: &str) -> Vec<Work> {
        plan(&parse(line).unwrap())
    }

    #[test]
    fn the_matrix_is_sizes_by_queues_and_acknowledgements_once() {
        let loads = planned("--cases both");
        let shapes: Vec<_> = loads
            .iter()
            .map(|w| (w.body_bytes, w.queues, w.ack_every))
            .collect();
        let expected = [
            (16, 1, 1),
            (16, 4, 1),
            (1024, 1, 1),
            (1024, 4, 1),
            (16384, 1, 1),
            (16384, 4, 1),
            (1024, 1, 100),
        ];
        assert_eq!(shapes, expected);
    }

    #[test]
    fn a_quick_run_has_every_case_once() {
        let loads = planned("--quick");
        let kinds: Vec<_> = loads.iter().map(|w| w.kind).collect();
        assert_eq!(kinds, parse("").unwrap().shape.cases);
        assert!(loads.iter().all(|w| w.body_bytes == 1024));
        assert!((seconds(&parse("--quick").unwrap()) - 1.0).abs() < 1e-9);
        assert!((seconds(&parse("--quick --seconds 0.2").unwrap()) - 0.2).abs() < 1e-9);
    }

    #[test]
    fn one_in_flight_is_one_everywhere() {
        let loads = planned("--cases one-in-flight --body-bytes 100,200");
        assert_eq!(loads.len(), 1);
        let work = loads[0];
        assert_eq!((work.window, work.prefetch, work.ack_every), (1, 1, 1));
        assert_eq!(work.body_bytes, 100);
    }
}
