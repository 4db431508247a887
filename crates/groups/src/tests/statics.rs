//! Static members: restarts without rebalances, and fencing of twins.

use super::check;

const TWO: &str = "
    join a inst=i
    join b inst=j
    wait 6s
    > a: joined g1 as i-1 leader=i-1 members=i-1,j-2
    > b: joined g1 as j-2 leader=i-1
    sync i-1 g1 i-1=x j-2=y
    > i-1: synced x
    sync j-2 g1 inst=j
    > j-2: synced y
";

#[track_caller]
fn check_two(transcript: &str) {
    check(&format!("{TWO}{transcript}"));
}

#[test]
fn a_follower_comes_back_into_its_assignment() {
    check_two(
        "
        join b inst=j
        > b: joined g1 as j-3 leader=i-1
        sync j-3 g1 inst=j
        > j-3: synced y
        beat i-1 g1
        > i-1: ok
        beat j-2 g1 inst=j
        > j-2: FencedInstance
        sync j-2 g1 inst=j
        > j-2: FencedInstance
        commit j-2 1 t/0@1 inst=j
        > commit: FencedInstance
        join j-2 inst=j
        > j-2: FencedInstance j-2
        leave j-2~j
        > leave: FencedInstance
        describe
        > Stable g1 range i-1=x j-3=y
        ",
    );
}

#[test]
fn a_leader_comes_back_and_may_skip_the_assignment() {
    check_two(
        "
        join a inst=i skips
        > a: joined g1 as i-3 leader=i-3 members=i-3,j-2 skip
        describe
        > Stable g1 range i-3=x j-2=y
        ",
    );
}

#[test]
fn an_older_leader_comes_back_as_if_a_follower() {
    check_two(
        "
        join a inst=i
        > a: joined g1 as i-3 leader=i-1
        sync i-3 g1
        > i-3: synced x
        # It still leads: joining again forces a rebalance.
        join i-3 inst=i
        join j-2 inst=j
        > i-3: joined g2 as i-3 leader=i-3 members=i-3,j-2
        > j-2: joined g2 as j-2 leader=i-3
        ",
    );
}

#[test]
fn coming_back_with_other_wishes_starts_a_rebalance() {
    check_two(
        "
        join b inst=j topics=u
        beat i-1 g1
        > i-1: RebalanceInProgress
        join i-1 inst=i
        > i-1: joined g2 as i-1 leader=i-1 members=i-1,j-3
        > b: joined g2 as j-3 leader=i-1
        ",
    );
    check(
        "
        join a inst=i protocols=range,sticky
        wait 3s
        > a: joined g1 as i-1 leader=i-1 members=i-1
        sync i-1 g1 i-1=x
        > i-1: synced x
        join a inst=i protocols=sticky,range skips
        > a: joined g2 as i-2 leader=i-2 members=i-2
        ",
    );
}

#[test]
fn a_twin_that_waits_is_fenced() {
    check(
        "
        join a inst=i
        join a inst=i
        > a: FencedInstance i-1
        wait 3s
        > a: joined g1 as i-2 leader=i-2 members=i-2
        ",
    );
    check(
        "
        join a
        join b inst=j
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,j-2
        > b: joined g1 as j-2 leader=a-1
        sync j-2 g1
        # Before the assignment there is nothing to step into.
        join b inst=j
        > j-2: FencedInstance
        join a-1
        > a-1: joined g2 as a-1 leader=a-1 members=a-1,j-3
        > b: joined g2 as j-3 leader=a-1
        ",
    );
}

#[test]
fn static_members_are_not_thrown_out_of_a_rebalance() {
    check(
        "
        join a inst=i session=5m rebalance=20s
        join b inst=j session=5m rebalance=20s
        wait 6s
        > a: joined g1 as i-1 leader=i-1 members=i-1,j-2
        > b: joined g1 as j-2 leader=i-1
        sync i-1 g1
        > i-1: synced
        sync j-2 g1
        > j-2: synced
        join j-2 inst=j topics=u session=5m rebalance=20s
        # The absent leader stays a member, but someone present has to lead.
        wait 20s
        > j-2: joined g2 as j-2 leader=j-2 members=i-1,j-2
        sync j-2 g2 i-1=x j-2=y
        > j-2: synced y
        beat i-1 g2
        > i-1: ok
        ",
    );
}

#[test]
fn a_rebalance_of_absent_static_members_waits_for_one_of_them() {
    check(
        "
        join a inst=i session=10m rebalance=20s
        join b inst=j session=10m rebalance=20s
        wait 6s
        > a: joined g1 as i-1 leader=i-1 members=i-1,j-2
        > b: joined g1 as j-2 leader=i-1
        sync i-1 g1
        > i-1: synced
        sync j-2 g1
        > j-2: synced
        join c two-step
        > c: MemberIdRequired c-3
        join c-3
        leave c-3
        > c-3: UnknownMember
        > leave: ok
        wait 45s
        describe
        > PreparingRebalance g1 - i-1= j-2=
        join i-1 inst=i rebalance=20s session=10m
        wait 20s
        > i-1: joined g2 as i-1 leader=i-1 members=i-1,j-2
        ",
    );
}

#[test]
fn an_operator_removes_a_static_member_by_its_instance_id() {
    check_two(
        "
        leave ~j ~k
        > leave: ok UnknownMember
        beat i-1 g1
        > i-1: RebalanceInProgress
        ",
    );
}

#[test]
fn a_newcomer_still_has_to_sync_if_its_twin_did_not() {
    check(
        "
        join a session=30s rebalance=10s
        join b inst=j session=30s rebalance=10s
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,j-2
        > b: joined g1 as j-2 leader=a-1
        sync a-1 g1 a-1=x j-2=y
        > a-1: synced x
        join b inst=j session=30s rebalance=10s
        > b: joined g1 as j-3 leader=a-1
        sync j-3 g1
        > j-3: synced y
        wait 10s
        beat j-3 g1
        > j-3: ok
        ",
    );
}
