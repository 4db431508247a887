//! What a restart keeps.

use super::check;

#[test]
fn members_go_on_after_a_restart() {
    check(
        "
        join a
        join b inst=j
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,j-2
        > b: joined g1 as j-2 leader=a-1
        sync a-1 g1 a-1=x j-2=y
        > a-1: synced x
        sync j-2 g1
        > j-2: synced y
        wait 9s
        restart
        # A full session for everyone, however long ago they were heard.
        wait 9s
        beat a-1 g1
        > a-1: ok
        beat j-2 g1 inst=j
        > j-2: ok
        sync j-2 g1
        > j-2: synced y
        commit a-1 1 t/0@7
        > commit: ok
        # A follower looks unchanged, whatever its list of protocols.
        join j-2 inst=j
        > j-2: joined g1 as j-2 leader=a-1
        join b inst=j
        > b: joined g1 as j-3 leader=a-1
        restart
        beat j-3 g1 inst=j
        > j-3: ok
        beat j-2 g1 inst=j
        > j-2: FencedInstance
        fetch t/0
        > 7
        ",
    );
}

#[test]
fn a_member_that_does_not_return_is_expired() {
    check(
        "
        join a
        wait 3s
        > a: joined g1 as a-1 leader=a-1 members=a-1
        sync a-1 g1
        > a-1: synced
        restart
        wait 10s
        describe
        > Empty g2 -
        restart
        describe
        > Empty g2 -
        ",
    );
}

#[test]
fn a_number_is_never_given_twice() {
    check(
        "
        join a
        wait 3s
        > a: joined g1 as a-1 leader=a-1 members=a-1
        sync a-1 g1 a-1=x
        > a-1: synced x
        join a-1
        > a-1: joined g2 as a-1 leader=a-1 members=a-1
        # Generation 2 was told, but not formed: generation 1 goes on.
        restart
        sync a-1 g2 a-1=x
        > a-1: IllegalGeneration
        describe
        > Stable g1 range a-1=x
        join a-1
        > a-1: joined g3 as a-1 leader=a-1 members=a-1
        ",
    );
}

#[test]
fn joins_under_way_are_forgotten() {
    check(
        "
        join a
        join b two-step
        > b: MemberIdRequired b-2
        restart
        describe
        > Empty g0 -
        join b-2
        > b-2: UnknownMember b-2
        ",
    );
}

#[test]
fn a_static_member_replaced_during_a_rebalance_is_not_fenced_afterwards() {
    check(
        "
        join a
        join b inst=j
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,j-2
        > b: joined g1 as j-2 leader=a-1
        sync a-1 g1 j-2=y
        > a-1: synced
        sync j-2 g1
        > j-2: synced y
        join a-1
        join b inst=j
        > a-1: joined g2 as a-1 leader=a-1 members=a-1,j-3
        > b: joined g2 as j-3 leader=a-1
        restart
        beat j-3 g2 inst=j
        > j-3: IllegalGeneration
        describe
        > Stable g1 range a-1= j-3=y
        ",
    );
}

#[test]
fn a_group_that_became_too_large_shrinks() {
    check(
        "
        join a
        join b
        wait 6s
        > a: joined g1 as a-1 leader=a-1 members=a-1,b-2
        > b: joined g1 as b-2 leader=a-1
        sync a-1 g1
        > a-1: synced
        set members=1
        restart
        beat a-1 g1
        > a-1: RebalanceInProgress
        commit a-1 1 t/0@3
        > commit: ok
        join b-2
        join a-1
        > a-1: GroupFull
        wait 60s
        > b-2: joined g2 as b-2 leader=b-2 members=b-2
        ",
    );
}
