//! How members come, go, and are taken for dead.

use super::check;

#[test]
fn the_two_step_join_leaves_nobody_behind() {
    check(
        "
        join a two-step
        > a: MemberIdRequired a-1
        describe
        > Empty g0 -
        wait 9s
        join a-1
        wait 3s
        > a-1: joined g1 as a-1 leader=a-1 members=a-1
        join b two-step
        > b: MemberIdRequired b-2
        wait 10s
        join b-2
        > b-2: UnknownMember b-2
        ",
    );
}

#[test]
fn a_rebalance_waits_for_an_id_that_was_handed_out() {
    check(
        "
        join a
        wait 3s
        > a: joined g1 as a-1 leader=a-1 members=a-1
        sync a-1 g1
        > a-1: synced
        join b two-step
        > b: MemberIdRequired b-2
        join a-1
        describe
        > PreparingRebalance g1 - a-1=
        join b-2
        > a-1: joined g2 as a-1 leader=a-1 members=a-1,b-2
        > b-2: joined g2 as b-2 leader=a-1
        sync a-1 g2
        > a-1: synced
        join c two-step
        > c: MemberIdRequired c-3
        join a-1 session=30s
        join b-2 session=30s
        # Nobody comes with c's id.
        wait 10s
        > a-1: joined g3 as a-1 leader=a-1 members=a-1,b-2
        > b-2: joined g3 as b-2 leader=a-1
        ",
    );
}

#[test]
fn handed_out_ids_are_for_dynamic_members() {
    check(
        "
        join a two-step
        > a: MemberIdRequired a-1
        join a-1 inst=i
        > a-1: UnknownMember a-1
        # A static member needs no second step.
        join b two-step inst=i
        leave a-1
        > leave: ok
        wait 3s
        > b: joined g1 as i-2 leader=i-2 members=i-2
        ",
    );
}

#[test]
fn strangers_are_refused() {
    check(
        "
        join x-9
        > x-9: UnknownMember x-9
        beat x-9 g1
        > x-9: UnknownMember
        sync x-9 g1
        > x-9: UnknownMember
        leave x-9
        > leave: UnknownMember
        join a
        wait 3s
        > a: joined g1 as a-1 leader=a-1 members=a-1
        join x-9
        > x-9: UnknownMember x-9
        beat x-9 g1
        > x-9: UnknownMember
        beat a-1 g1 inst=i
        > a-1: UnknownMember
        ",
    );
}

#[test]
fn the_session_timeout_has_bounds() {
    check(
        "
        join a session=5999ms
        > a: InvalidSessionTimeout
        join a session=1801s
        > a: InvalidSessionTimeout
        join a session=6s
        wait 3s
        > a: joined g1 as a-3 leader=a-3 members=a-3
        ",
    );
}

#[test]
fn silence_ends_a_session() {
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
        wait 9s
        beat b-2 g1
        > b-2: ok
        wait 1s
        beat a-1 g1
        > a-1: UnknownMember
        beat b-2 g1
        > b-2: RebalanceInProgress
        join b-2
        > b-2: joined g2 as b-2 leader=b-2 members=b-2
        wait 10s
        describe
        > Empty g3 -
        ",
    );
}

#[test]
fn silence_before_the_assignment_ends_a_session_too() {
    check(
        "
        join a session=8s
        join b session=20s
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2
        > b: joined g1 as b-2 leader=a-1
        sync b-2 g1
        wait 8s
        > b-2: RebalanceInProgress
        ",
    );
}

#[test]
fn a_new_member_waits_five_minutes_at_most() {
    check(
        "
        join a rebalance=30m session=30m
        wait 3s
        > a: joined g1 as a-1 leader=a-1 members=a-1
        sync a-1 g1
        > a-1: synced
        # b waits for a to notice, which it never does.
        join b rebalance=30m
        wait 299s
        wait 1s
        > b: UnknownMember
        ",
    );
}

#[test]
fn members_that_wait_need_no_heartbeat() {
    check(
        "
        join a
        join b session=30m
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2
        > b: joined g1 as b-2 leader=a-1
        sync a-1 g1
        > a-1: synced
        sync b-2 g1
        > b-2: synced
        join a-1
        wait 50s
        join b-2
        > a-1: joined g2 as a-1 leader=a-1 members=a-1,b-2
        > b-2: joined g2 as b-2 leader=a-1
        ",
    );
}

#[test]
fn leaving_starts_a_rebalance_at_once() {
    check(
        "
        join a
        join b
        join c
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2,c-3
        > b: joined g1 as b-2 leader=a-1
        > c: joined g1 as c-3 leader=a-1
        sync b-2 g1
        sync c-3 g1
        # Those who wait for an assignment hear of it, the one who left as well.
        leave c-3 x-9
        > c-3: UnknownMember
        > leave: ok UnknownMember
        > b-2: RebalanceInProgress
        join b-2
        # The last one that was waited for leaves: the others go on.
        leave a-1
        > leave: ok
        > b-2: joined g2 as b-2 leader=b-2 members=b-2
        leave b-2
        > leave: ok
        describe
        > Empty g3 -
        ",
    );
}

#[test]
fn leaving_during_the_initial_delay() {
    check(
        "
        join a
        join b
        leave a-1
        > a: UnknownMember
        > leave: ok
        wait 6s
        > b: joined g1 as b-2 leader=b-2 members=b-2
        ",
    );
    check(
        "
        join a
        leave a-1
        > a: UnknownMember
        > leave: ok
        describe
        > PreparingRebalance g0 -
        wait 3s
        describe
        > Empty g1 -
        ",
    );
}

#[test]
fn a_full_group_takes_nobody() {
    check(
        "
        set members=2
        join a
        join b
        join c
        > c: GroupFull
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2
        > b: joined g1 as b-2 leader=a-1
        join c
        > c: GroupFull
        sync a-1 g1
        > a-1: synced
        join c
        > c: GroupFull
        join b-2
        > b-2: joined g1 as b-2 leader=a-1
        ",
    );
}

#[test]
fn ids_handed_out_are_limited_too() {
    check(
        "
        set members=1
        join a two-step
        > a: MemberIdRequired a-1
        join b two-step
        > b: GroupFull
        ",
    );
}

#[test]
fn large_members_are_refused() {
    check(
        "
        set bytes=40
        join a topics=abcdefghijklmnopqrstuvwxyz
        > a: TooLarge
        join a topics=abc
        wait 3s
        > a: joined g1 as a-2 leader=a-2 members=a-2
        sync a-2 g1 a-2=12345678901234567890123456789012345678901
        > a-2: TooLarge
        sync a-2 g1 a-2=1234567890
        > a-2: synced 1234567890
        ",
    );
}

#[test]
fn members_there_is_no_memory_for_are_refused_and_known_ones_go_on() {
    check(
        "
        join a two-step
        > a: MemberIdRequired a-1
        set memory=0
        join b two-step
        > b: StateFull
        join c
        > c: StateFull
        join a-1
        > a-1: StateFull a-1
        set memory=10000
        join a-1
        wait 3s
        > a-1: joined g1 as a-1 leader=a-1 members=a-1
        set memory=10
        sync a-1 g1 a-1=123456
        > a-1: StateFull
        sync a-1 g1 a-1=12345
        > a-1: synced 12345
        set memory=0
        # What adds nothing is taken: the same again, and less.
        beat a-1 g1
        > a-1: ok
        join a-1
        > a-1: joined g2 as a-1 leader=a-1 members=a-1
        sync a-1 g2 a-1=1234
        > a-1: synced 1234
        join a-1 topics=topic
        > a-1: StateFull a-1
        join a-1 topics=
        > a-1: joined g3 as a-1 leader=a-1 members=a-1
        leave a-1
        > leave: ok
        describe
        > Empty g4 -
        ",
    );
}

#[test]
fn a_static_member_that_comes_back_needs_no_memory_but_for_what_is_new() {
    check(
        "
        join a inst=i
        wait 3s
        > a: joined g1 as i-1 leader=i-1 members=i-1
        sync i-1 g1 i-1=0123456789
        > i-1: synced 0123456789
        set memory=0
        join a inst=i topics=t,u
        > a: StateFull
        join a inst=i skips
        > a: joined g1 as i-3 leader=i-3 members=i-3 skip
        ",
    );
}

#[test]
fn only_an_empty_group_can_be_deleted() {
    check(
        "
        delete
        > delete: NotFound
        join a
        delete
        > delete: NotEmpty
        wait 3s
        > a: joined g1 as a-1 leader=a-1 members=a-1
        delete
        > delete: NotEmpty
        leave a-1
        > leave: ok
        commit - -1 t/0@5
        > commit: ok
        delete
        > delete: ok
        describe
        > Dead g0 -
        fetch all
        > nothing
        # A group of the same name starts from scratch.
        join b
        wait 3s
        > b: joined g1 as b-2 leader=b-2 members=b-2
        ",
    );
}
