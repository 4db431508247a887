//! Committed offsets: who may commit, how long they stay, how they go.

use super::check;

const ONE: &str = "
    join a session=30m
    wait 3s
    > a: joined g1 as a-1 leader=a-1 members=a-1
    sync a-1 g1
    > a-1: synced
";

#[track_caller]
fn check_one(transcript: &str) {
    check(&format!("{ONE}{transcript}"));
}

#[test]
fn members_commit_for_their_generation() {
    check_one(
        "
        commit a-1 1 t/0@5 t/1@6:note u/0@7
        > commit: ok ok ok
        fetch t/1
        > 6
        fetch t/2
        > nothing
        fetch all
        > t/0@5 t/1@6 u/0@7
        commit a-1 0 t/0@9
        > commit: IllegalGeneration
        commit b-1 1 t/0@9
        > commit: UnknownMember
        commit a-1 1 t/0@9 inst=i
        > commit: UnknownMember
        commit - -1 t/0@9
        > commit: UnknownMember
        fetch t/0
        > 5
        ",
    );
}

#[test]
fn commits_during_a_rebalance() {
    check_one(
        "
        join b session=30m
        # Still the old generation: a commit before joining again is welcome.
        commit a-1 1 t/0@5
        > commit: ok
        join a-1 session=30m
        > a-1: joined g2 as a-1 leader=a-1 members=a-1,b-2
        > b: joined g2 as b-2 leader=a-1
        commit a-1 1 t/0@6
        > commit: IllegalGeneration
        commit a-1 2 t/0@6
        > commit: RebalanceInProgress
        ",
    );
}

#[test]
fn a_commit_keeps_the_session_alive() {
    check(
        "
        join a
        wait 3s
        > a: joined g1 as a-1 leader=a-1 members=a-1
        sync a-1 g1
        > a-1: synced
        wait 9s
        commit a-1 1 t/0@5
        > commit: ok
        wait 9s
        beat a-1 g1
        > a-1: ok
        ",
    );
}

#[test]
fn simple_commits_need_no_members() {
    check(
        "
        commit x-1 1 t/0@5
        > commit: NotFound
        commit - -1 t/0@5
        > commit: ok
        describe
        > Empty g0 -
        fetch t/0
        > 5
        commit x-1 1 t/0@5
        > commit: UnknownMember
        restart
        fetch t/0
        > 5
        ",
    );
}

#[test]
fn long_metadata_is_refused_per_partition() {
    check(
        "
        # Two bytes each, but clients count characters.
        commit - -1 t/0@5:*4097 t/1@6:*4096
        > commit: MetadataTooLarge ok
        fetch all
        > t/1@6
        ",
    );
}

#[test]
fn the_bytes_of_texts_are_limited() {
    check(
        "
        set texts=16
        # Two bytes each.
        commit - -1 t/0@5:*4 t/1@6:*4 t/2@7:*1 t/3@8
        > commit: ok ok OffsetsFull ok
        commit - -1 t/0@6:*5 t/1@7:*4
        > commit: OffsetsFull ok
        commit - -1 t/0@7:*2
        > commit: ok
        commit - -1 t/2@8:*2
        > commit: ok
        commit - -1 txn=1 t/3@9:*1
        > commit: OffsetsFull
        ",
    );
}

#[test]
fn offsets_there_is_no_memory_for_are_refused_and_usual_commits_go_on() {
    check(
        "
        set memory=0
        commit - -1 t/0@5
        > commit: StateFull
        describe
        > Dead g0 -
        # A topic with two offsets.
        set memory=1350
        commit - -1 t/0@5:note t/1@6 t/2@7
        > commit: ok ok StateFull
        commit - -1 u/0@5
        > commit: StateFull
        # What replaces an offset, and has no longer text, is always taken.
        set memory=0
        commit - -1 t/0@6:note t/1@7:x t/2@8
        > commit: ok StateFull StateFull
        commit - -1 t/0@7:no
        > commit: ok
        commit - -1 txn=1 t/0@9
        > commit: StateFull
        set memory=2500
        commit - -1 txn=1 t/0@9:note t/1@9
        > commit: ok ok
        set memory=0
        commit - -1 txn=1 t/0@10:note
        > commit: ok
        commit - -1 txn=1 t/0@10:notes
        > commit: StateFull
        end 1 commit
        > end: ok
        fetch all
        > t/0@10 t/1@9
        # What the transaction took was given back.
        commit - -1 t/2@8
        > commit: ok
        ",
    );
}

#[test]
fn the_number_of_offsets_is_limited() {
    check(
        "
        set offsets=2
        commit - -1 t/0@5 t/1@6 t/2@7
        > commit: ok ok OffsetsFull
        commit - -1 t/1@8
        > commit: ok
        commit - -1 txn=1 t/1@9
        > commit: OffsetsFull
        ",
    );
}

#[test]
fn simple_commits_expire_by_their_own_age() {
    check(
        "
        commit - -1 t/0@5
        > commit: ok
        wait 6d
        commit - -1 t/1@6
        > commit: ok
        wait 25h
        fetch all
        > t/1@6
        wait 6d
        fetch all
        > nothing
        describe
        > Dead g0 -
        ",
    );
}

#[test]
fn offsets_outlive_the_last_member_by_a_week() {
    check_one(
        "
        commit a-1 1 t/0@5
        > commit: ok
        wait 29m
        beat a-1 g1
        > a-1: ok
        leave a-1
        > leave: ok
        wait 167h
        fetch t/0
        > 5
        # Looked after every ten minutes.
        wait 70m
        fetch t/0
        > nothing
        describe
        > Dead g0 -
        ",
    );
}

#[test]
fn an_empty_group_without_offsets_goes_soon() {
    check_one(
        "
        leave a-1
        > leave: ok
        wait 10m
        describe
        > Dead g0 -
        ",
    );
}

#[test]
fn a_client_may_choose_the_retention() {
    check(
        "
        commit - -1 t/0@5 keep=1h
        > commit: ok
        commit - -1 t/1@5 keep=30d
        > commit: ok
        wait 70m
        fetch all
        > t/1@5
        wait 8d
        fetch all
        > t/1@5
        ",
    );
}

#[test]
fn topics_no_longer_subscribed_expire_under_living_members() {
    let alive = "
        wait 29m
        beat a-1 g1
        > a-1: ok
    ";
    let week = alive.repeat(7 * 24 * 2 + 24);
    let commits = "
        commit a-1 1 t/0@5 u/0@6
        > commit: ok ok
    ";
    check_one(&format!("{commits}{week}fetch all\n> t/0@5"));
    // Where the subscription cannot be read, nothing is given up.
    let unreadable = ONE.replace("join a", "join a topics=?");
    check(&format!(
        "{unreadable}{commits}{week}fetch all\n> t/0@5 u/0@6"
    ));
    // The same where the group is not about topics.
    let other = ONE.replace("join a", "join a type=connect");
    check(&format!("{other}{commits}{week}fetch all\n> t/0@5 u/0@6"));
}

#[test]
fn deleting_offsets() {
    check(
        "
        forget t/0
        > forget: NotFound
        commit - -1 t/0@5 u/0@6 v/0@7
        > commit: ok ok ok
        forget u/0 u/1
        > forget: ok ok
        join a
        wait 3s
        > a: joined g1 as a-1 leader=a-1 members=a-1
        forget t/0 v/0
        > forget: Subscribed ok
        restart
        fetch all
        > t/0@5
        ",
    );
    check(
        "
        join a type=connect
        wait 3s
        > a: joined g1 as a-1 leader=a-1 members=a-1
        forget t/0
        > forget: NotEmpty
        ",
    );
    check(
        "
        join a topics=?
        wait 3s
        > a: joined g1 as a-1 leader=a-1 members=a-1
        forget x/0
        > forget: Subscribed
        ",
    );
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    check(
        "
        commit - -1 t/0@5 t/1@6 u/0@7
        > commit: ok ok ok
        commit - -1 t/2@8 txn=1
        > commit: ok
        drop t
        > drop: ok
        end 1 commit
        > end: ok
        fetch all
        > u/0@7
        ",
    );
}

#[test]
fn offsets_in_a_transaction() {
    check_one(
        "
        commit a-1 1 t/0@5
        > commit: ok
        commit a-1 1 t/0@8 t/1@9 txn=7
        > commit: ok ok
        # Also from a producer that names no member.
        commit - -1 u/0@3 txn=8
        > commit: ok
        commit a-1 4 u/0@3 txn=8
        > commit: IllegalGeneration
        fetch t/0
        > 5
        fetch t/0 stable
        > UnstableOffset
        fetch all stable
        > t/0@UnstableOffset
        restart
        end 7 commit
        > end: ok
        end 8 abort
        > end: ok
        end 9 commit
        > end: ok
        fetch all stable
        > t/0@8 t/1@9
        ",
    );
}

#[test]
fn a_later_commit_is_not_undone_by_a_transaction() {
    check(
        "
        commit - -1 t/0@8 txn=7
        > commit: ok
        commit - -1 t/0@9
        > commit: ok
        fetch t/0 stable
        > UnstableOffset
        end 7 commit
        > end: ok
        fetch t/0 stable
        > 9
        ",
    );
}

#[test]
fn transactions_keep_a_group_alive() {
    check(
        "
        commit - -1 t/0@8 txn=7
        > commit: ok
        wait 30d
        describe
        > Empty g0 -
        end 7 abort
        > end: ok
        wait 10m
        describe
        > Dead g0 -
        ",
    );
}

#[test]
fn a_transaction_for_a_generation_needs_a_group() {
    check(
        "
        commit x-1 1 t/0@8 txn=7
        > commit: IllegalGeneration
        ",
    );
}
