//! Shares, lines and what happens to those who hold without progress.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::shared::{FREE_BYTES, LITTLE_BYTES, PIECE_BYTES};
use super::*;

const MIB: usize = 1 << 20;

fn account(budget: &Budget, port: u16) -> Account {
    budget.account("test", SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Grows step by step for as long as there is room.
fn fill(permit: &mut Permit, step: usize) -> usize {
    while permit.try_grow_to(permit.bytes() + step) {}
    permit.bytes()
}

async fn waits(permit: &mut Permit, bytes: usize) -> bool {
    timeout(Duration::from_millis(1), permit.grow_to(bytes))
        .await
        .is_err()
}

#[test]
fn little_takes_nothing_and_what_is_given_back_is_there_again() {
    let budget = Budget::new(3 * MIB);
    let (a, b) = (account(&budget, 1), account(&budget, 2));
    let mut small = a.permit();
    assert!(small.try_grow_to(FREE_BYTES));
    assert_eq!(budget.numbers().used_bytes, 0);
    assert!(small.try_grow_to(FREE_BYTES + 1));
    assert_eq!(budget.numbers().used_bytes, PIECE_BYTES as u64);
    let mut other = b.permit();
    other.set(10 * MIB);
    assert!(budget.numbers().used_bytes > 10 * MIB as u64);
    other.set(1);
    drop((small, other));
    assert_eq!((a.taken(), b.taken()), (0, 0));
    assert_eq!(budget.numbers().used_bytes, 0);
}

#[test]
fn shares_shrink_and_a_newcomer_finds_something() {
    let budget = Budget::new(96 * MIB);
    let mut first = account(&budget, 1).permit();
    let alone = fill(&mut first, 64 << 10);
    assert!((23 * MIB..=24 * MIB).contains(&alone), "{alone}");
    let mut all = vec![first];
    for port in 2..200 {
        let mut permit = account(&budget, port).permit();
        let share = fill(&mut permit, 4 << 10);
        assert!(share >= LITTLE_BYTES, "{port}: {share}");
        all.push(permit);
    }
    let numbers = budget.numbers();
    assert!(numbers.used_bytes < 64 * MIB as u64, "{numbers:?}");
    let mut late = account(&budget, 999).permit();
    assert!(late.try_grow_to(LITTLE_BYTES), "a small request is served");
}

#[tokio::test(start_paused = true)]
async fn who_holds_least_is_served_first() {
    let budget = Budget::new(3 * MIB);
    let mut hog = account(&budget, 1).permit();
    hog.set(2 * MIB);
    let mut large = account(&budget, 2).permit();
    large.set(512 << 10);
    // Takes what is spared.
    let mut spare = account(&budget, 3).permit();
    spare.grow_to(900 << 10).await;
    let mut small = account(&budget, 4).permit();
    assert!(waits(&mut large, 600 << 10).await);
    assert!(waits(&mut small, 100 << 10).await);
    assert_eq!(budget.numbers().waiting, 2);
    hog.set(MIB);
    small.grow_to(100 << 10).await;
    assert!(waits(&mut large, 600 << 10).await);
    drop(hog);
    large.grow_to(600 << 10).await;
    assert_eq!(budget.numbers().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn halves_of_large_requests_get_through_one_by_one() {
    let budget = Budget::new(3 * MIB);
    let tasks = (0..20).map(|port| {
        let account = account(&budget, port);
        tokio::spawn(async move {
            let mut permit = account.permit();
            while permit.bytes() < MIB {
                permit.grow_to((permit.bytes() + (64 << 10)).min(MIB)).await;
                tokio::task::yield_now().await;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        timeout(Duration::from_mins(1), task)
            .await
            .unwrap()
            .unwrap();
    }
    assert_eq!(budget.numbers().used_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_line_takes_nothing_along() {
    let budget = Budget::new(3 * MIB);
    let mut hog = account(&budget, 1).permit();
    hog.set(2 * MIB);
    let mut spare = account(&budget, 2).permit();
    spare.grow_to(MIB / 2).await;
    let mut gone = account(&budget, 3).permit();
    assert!(waits(&mut gone, MIB / 2).await);
    // It is granted, and never looked at.
    drop(hog);
    drop(gone);
    drop(spare);
    let numbers = budget.numbers();
    assert_eq!((numbers.used_bytes, numbers.waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_gives_back_while_it_waits_is_served_from_that() {
    let budget = Budget::new(3 * MIB);
    let mut other = account(&budget, 1).permit();
    other.set(MIB);
    let own = account(&budget, 2);
    let mut done = own.permit();
    done.grow_to(700_000).await;
    let mut next = own.permit();
    next.grow_to(300_000).await;
    assert!(waits(&mut next, 900_000).await);
    drop((done, other));
    next.grow_to(900_000).await;
    drop(next);
    assert_eq!(budget.numbers().used_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn only_holders_without_progress_are_closed() {
    let budget = Budget::new(3 * MIB);
    let names = ["stalls", "works", "moves", "reads nothing"];
    let accounts: Vec<Account> = (0..4).map(|port| account(&budget, port)).collect();
    let mut permits: Vec<Permit> = accounts.iter().map(Account::permit).collect();
    for permit in &mut permits {
        permit.set(512 << 10);
    }
    let _stalls = accounts[0].unfinished();
    let _moves = accounts[2].unfinished();
    let _reads_nothing = accounts[3].unsent();
    let mut spare = account(&budget, 9).permit();
    spare.grow_to(MIB / 2).await;
    let mut waiter = account(&budget, 10).permit();
    let waiting = tokio::spawn(async move { waiter.grow_to(MIB / 2).await });
    for _ in 0..20 {
        sleep(Duration::from_secs(1)).await;
        accounts[2].note_received(8 << 10);
    }
    for (name, account, expected) in [
        (names[0], &accounts[0], true),
        (names[1], &accounts[1], false),
        (names[2], &accounts[2], false),
        (names[3], &accounts[3], true),
    ] {
        let evicted = timeout(Duration::from_millis(1), account.evicted()).await;
        assert_eq!(evicted.is_ok(), expected, "{name}");
    }
    assert!(!waiting.is_finished());
    permits.clear();
    waiting.await.unwrap();
    assert!(budget.numbers().evicted_total >= 2);
}

#[test]
fn sent_bytes_give_back_their_room() {
    let budget = Budget::new(3 * MIB);
    let account = account(&budget, 1);
    let mut permit = account.permit();
    permit.set(MIB);
    let mut bytes = HeldBytes::of(vec![7; 100_000], 100_000, permit);
    let first = bytes.split_to(10);
    assert!(account.has_unsent());
    drop(bytes);
    assert!(budget.numbers().used_bytes > 0, "some of it is not sent");
    drop(first);
    assert_eq!(budget.numbers().used_bytes, 0);
    assert!(!account.has_unsent());
}

/// Twenty peers that hold what they got, more than their share, and finish nothing.
async fn parked(budget: &Budget, bytes: usize) -> Vec<tokio::task::JoinHandle<()>> {
    let tasks = (0..20).map(|port| {
        let account = account(budget, port);
        tokio::spawn(async move {
            let mut permit = account.permit();
            while permit.bytes() < bytes {
                permit
                    .grow_to((permit.bytes() + (64 << 10)).min(bytes))
                    .await;
                tokio::task::yield_now().await;
            }
            std::future::pending::<()>().await;
        })
    });
    let tasks = tasks.collect();
    sleep(Duration::from_secs(1)).await;
    tasks
}

#[tokio::test(start_paused = true)]
async fn a_small_request_is_served_although_others_hold_the_rest() {
    let budget = Budget::new(192 * MIB);
    let holders = parked(&budget, 40 * MIB).await;
    let numbers = budget.numbers();
    assert!(numbers.waiting > 10, "{numbers:?}");
    let mut small = account(&budget, 99).permit();
    timeout(Duration::from_secs(1), small.grow_to(64 << 10))
        .await
        .expect("served");
    for holder in holders {
        holder.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_stands_in_nobodys_way() {
    let budget = Budget::new(3 * MIB);
    let mut hog = account(&budget, 1).permit();
    hog.set(MIB);
    let mut never = account(&budget, 2).permit();
    assert!(waits(&mut never, 4 * MIB).await);
    let mut modest = account(&budget, 3).permit();
    assert!(!waits(&mut modest, 100 << 10).await, "its share is there");
    let mut large = account(&budget, 4).permit();
    assert!(
        !waits(&mut large, 900 << 10).await,
        "what is spared is there"
    );
}

#[tokio::test(start_paused = true)]
async fn who_keeps_more_than_its_share_goes_although_it_waits() {
    let budget = Budget::new(96 * MIB);
    let names = ["keeps much and waits", "keeps much", "keeps little"];
    let accounts: Vec<Account> = (0..3).map(|port| account(&budget, port)).collect();
    let mut permits: Vec<Permit> = accounts.iter().map(Account::permit).collect();
    for (permit, bytes) in permits.iter_mut().zip([30 * MIB, 24 * MIB, MIB / 2]) {
        permit.set(bytes);
    }
    let _parked: Vec<Owed> = accounts.iter().map(Account::parked).collect();
    let mut spare = account(&budget, 9).permit();
    spare.grow_to(31 * MIB).await;
    let mut first = permits.remove(0);
    let waiting = tokio::spawn(async move { first.grow_to(60 * MIB).await });
    sleep(Duration::from_secs(20)).await;
    for (name, account, expected) in [
        (names[0], &accounts[0], true),
        (names[1], &accounts[1], true),
        (names[2], &accounts[2], false),
    ] {
        let evicted = timeout(Duration::from_millis(1), account.evicted()).await;
        assert_eq!(evicted.is_ok(), expected, "{name}");
        assert_eq!(account.is_evicted(), expected, "{name}");
    }
    waiting.abort();
}
