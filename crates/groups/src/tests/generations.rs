//! How generations come and go: joins, protocols, leaders, timeouts.

use super::check;

#[test]
fn three_members_join_eagerly() {
    check(
        "
        join a
        join b
        join c
        describe
        > PreparingRebalance g0 - a-1= b-2= c-3=
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2,c-3
        > b: joined g1 as b-2 leader=a-1
        > c: joined g1 as c-3 leader=a-1
        sync b-2 g1
        sync a-1 g1 a-1=x b-2=y c-3=z
        > a-1: synced x
        > b-2: synced y
        sync c-3 g1
        > c-3: synced z
        beat c-3 g1
        > c-3: ok
        describe
        > Stable g1 range a-1=x b-2=y c-3=z
        ",
    );
}

#[test]
fn the_first_generation_waits_for_latecomers_up_to_the_rebalance_timeout() {
    check(
        "
        join a rebalance=7s
        wait 2s
        join b rebalance=7s
        # Someone came in the first round, so there is a second.
        wait 2s
        join c rebalance=7s
        # Only 4 s of the 7 s were left after the first round; 1 s after the second.
        wait 2500ms
        join d rebalance=7s
        wait 499ms
        wait 1ms
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2,c-3,d-4
        > b: joined g1 as b-2 leader=a-1
        > c: joined g1 as c-3 leader=a-1
        > d: joined g1 as d-4 leader=a-1
        ",
    );
}

#[test]
fn an_alone_member_waits_one_round() {
    check(
        "
        join a
        wait 2999ms
        wait 1ms
        > a: joined g1 as a-1 leader=a-1 members=a-1
        ",
    );
}

#[test]
fn without_delay_the_next_tick_decides() {
    check(
        "
        set delay=0s
        join a
        join b
        wait 0s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2
        > b: joined g1 as b-2 leader=a-1
        ",
    );
}

#[test]
fn a_newcomer_makes_everyone_join_again() {
    check(
        "
        join a
        wait 3s
        > a: joined g1 as a-1 leader=a-1 members=a-1
        sync a-1 g1 a-1=x
        > a-1: synced x
        join b
        beat a-1 g1
        > a-1: RebalanceInProgress
        sync a-1 g1
        > a-1: RebalanceInProgress
        join a-1
        > a-1: joined g2 as a-1 leader=a-1 members=a-1,b-2
        > b: joined g2 as b-2 leader=a-1
        sync a-1 g1
        > a-1: IllegalGeneration
        sync a-1 g2 a-1=x b-2=y
        > a-1: synced x
        beat b-2 g1
        > b-2: IllegalGeneration
        ",
    );
}

#[test]
fn the_leader_forces_a_rebalance_and_an_unchanged_follower_does_not() {
    check(
        "
        join a
        join b
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2
        > b: joined g1 as b-2 leader=a-1
        sync a-1 g1 a-1=x b-2=y
        > a-1: synced x
        sync b-2 g1
        > b-2: synced y
        # An answer lost on the way: the same again.
        join b-2
        > b-2: joined g1 as b-2 leader=a-1
        join a-1
        describe
        > PreparingRebalance g1 - a-1= b-2=
        join b-2
        > a-1: joined g2 as a-1 leader=a-1 members=a-1,b-2
        > b-2: joined g2 as b-2 leader=a-1
        ",
    );
}

#[test]
fn a_follower_with_new_metadata_forces_a_rebalance() {
    check(
        "
        join a
        join b
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2
        > b: joined g1 as b-2 leader=a-1
        sync a-1 g1
        > a-1: synced
        sync b-2 g1
        > b-2: synced
        join b-2 topics=t,u
        join a-1
        > a-1: joined g2 as a-1 leader=a-1 members=a-1,b-2
        > b-2: joined g2 as b-2 leader=a-1
        ",
    );
}

#[test]
fn joining_again_before_the_assignment_repeats_the_answer_or_starts_over() {
    check(
        "
        join a
        join b
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2
        > b: joined g1 as b-2 leader=a-1
        join a-1
        > a-1: joined g1 as a-1 leader=a-1 members=a-1,b-2
        sync a-1 g1 protocol=roundrobin
        > a-1: InconsistentProtocol
        sync a-1 g1 type=connect
        > a-1: InconsistentProtocol
        # b changes its mind while a's assignment is awaited.
        sync b-2 g1
        join b-2 topics=u
        > b-2: RebalanceInProgress
        join a-1
        > a-1: joined g2 as a-1 leader=a-1 members=a-1,b-2
        > b-2: joined g2 as b-2 leader=a-1
        ",
    );
}

#[test]
fn the_protocol_is_voted_for_among_those_all_know() {
    check(
        "
        join a protocols=sticky,range
        join b protocols=roundrobin,range,sticky
        join c protocols=range,sticky
        join d protocols=roundrobin
        > d: InconsistentProtocol
        join e type=connect
        > e: InconsistentProtocol
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2,c-3
        > b: joined g1 as b-2 leader=a-1
        > c: joined g1 as c-3 leader=a-1
        sync a-1 g1
        > a-1: synced
        describe
        > Stable g1 range a-1= b-2= c-3=
        ",
    );
}

#[test]
fn a_group_needs_a_protocol() {
    check(
        "
        join a protocols=
        > a: InconsistentProtocol
        join a type=
        > a: InconsistentProtocol
        describe
        > Dead g0 -
        ",
    );
}

#[test]
fn a_member_that_does_not_join_in_time_is_out_and_the_lead_passes_on() {
    check(
        "
        join a rebalance=20s session=30s
        join b rebalance=20s session=30s
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2
        > b: joined g1 as b-2 leader=a-1
        sync a-1 g1
        > a-1: synced
        sync b-2 g1
        > b-2: synced
        join b-2 topics=u rebalance=20s session=30s
        wait 15s
        beat a-1 g1
        > a-1: RebalanceInProgress
        wait 5s
        > b-2: joined g2 as b-2 leader=b-2 members=b-2
        beat a-1 g1
        > a-1: UnknownMember
        ",
    );
}

#[test]
fn a_member_that_never_syncs_is_out() {
    check(
        "
        join a session=30s rebalance=10s
        join b session=30s rebalance=10s
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2
        > b: joined g1 as b-2 leader=a-1
        sync a-1 g1 a-1=x
        > a-1: synced x
        wait 10s
        beat b-2 g1
        > b-2: UnknownMember
        beat a-1 g1
        > a-1: RebalanceInProgress
        join a-1
        > a-1: joined g2 as a-1 leader=a-1 members=a-1
        ",
    );
}

#[test]
fn a_leader_that_never_syncs_does_not_hold_up_the_others() {
    check(
        "
        join a session=30s rebalance=10s
        join b session=30s rebalance=10s
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2
        > b: joined g1 as b-2 leader=a-1
        sync b-2 g1
        wait 10s
        > b-2: RebalanceInProgress
        join b-2
        > b-2: joined g2 as b-2 leader=b-2 members=b-2
        ",
    );
}

#[test]
fn asking_twice_answers_the_first_request_too() {
    check(
        "
        join a two-step
        > a: MemberIdRequired a-1
        join a-1
        join a-1
        > a-1: RebalanceInProgress a-1
        wait 3s
        > a-1: joined g1 as a-1 leader=a-1 members=a-1
        ",
    );
}

#[test]
fn a_cancelled_join_still_counts_as_joined() {
    check(
        "
        join a
        join b
        cancel b
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2
        sync a-1 g1
        > a-1: synced
        # Nobody is left to speak for b: its session ends.
        wait 5s
        beat a-1 g1
        > a-1: ok
        wait 5s
        beat a-1 g1
        > a-1: RebalanceInProgress
        ",
    );
}
