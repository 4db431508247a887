//! Runs of offsets against a plain list.

use std::collections::BTreeSet;

use proptest::prelude::*;

use crate::runs::Runs;

#[derive(Debug, Clone)]
enum Op {
    Push(u64, u64),
    Pop,
    DropBefore(u64),
    Remove(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..4_u64, 1..6_u64).prop_map(|(gap, len)| Op::Push(gap, len)),
        4 => Just(Op::Pop),
        1 => (0..300_u64).prop_map(Op::DropBefore),
        1 => (0..300_u64).prop_map(Op::Remove),
    ]
}

proptest! {
    #[test]
    fn runs_are_a_sorted_list(ops in proptest::collection::vec(op(), 0..200)) {
        let mut runs = Runs::default();
        let mut list = BTreeSet::new();
        let mut end = 0;
        for op in ops {
            match op {
                Op::Push(gap, len) => {
                    runs.push(end + gap, len);
                    list.extend(end + gap..end + gap + len);
                    end += gap + len;
                }
                Op::Pop => prop_assert_eq!(runs.pop(), list.pop_first()),
                Op::DropBefore(before) => {
                    let kept = list.split_off(&before);
                    prop_assert_eq!(runs.drop_before(before), list.len() as u64);
                    list = kept;
                }
                Op::Remove(offset) => prop_assert_eq!(runs.remove(offset), list.remove(&offset)),
            }
            prop_assert_eq!(runs.len(), list.len() as u64);
            prop_assert_eq!(runs.front(), list.first().copied());
            prop_assert!(runs.iter().eq(list.iter().copied()));
        }
    }
}

#[test]
fn neighbours_cost_nothing_and_gaps_a_few_bytes() {
    let mut runs = Runs::default();
    for offset in 0..1_000_000 {
        runs.push(offset, 1);
    }
    assert_eq!(runs.heap_bytes(), 0);
    let mut gaps = Runs::default();
    for offset in 0..100_000_u64 {
        gaps.push(offset * 50, 1);
    }
    assert!(gaps.heap_bytes() <= 100_000 * 4, "{}", gaps.heap_bytes());
}
