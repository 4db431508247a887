//! A whole broker: the real engine over the real store, on a temporary directory, with a fake clock.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine::{Broker, Parts, Settings};
use security::AllowAll;
use storage::local::{LocalStore, Options, OsDisk};
use tempfile::TempDir;

use crate::{FakeClock, SeededRandom};

/// Identities in every test broker come from this seed.
const SEED: u64 = 42;

/// A broker with everything it stands on. Dropping it ends the store's threads and removes the directory.
pub struct TestBroker {
    broker: Broker,
    clock: FakeClock,
    settings: Settings,
    store: LocalStore,
    // Last: the store must be gone before its directory is.
    directory: TempDir,
}

impl TestBroker {
    /// A broker with settings that suit tests: no delay before a group's first round.
    pub async fn start() -> Self {
        let mut settings = Settings {
            ..Settings::default()
        };
        settings.group.initial_rebalance_delay_ms = 0;
        Self::with(settings).await
    }

    /// A broker with these settings.
    pub async fn with(settings: Settings) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let clock = FakeClock::new();
        Self::open(directory, clock, settings, SEED).await
    }

    /// Stops the broker in good order and starts it again on the same directory.
    pub async fn restart(self) -> Self {
        let Self {
            broker,
            clock,
            settings,
            store,
            directory,
        } = self;
        broker.stop().await.expect("the owners finish");
        drop(broker);
        // Identities must differ from those before the restart.
        let seed = SEED + clock_seed(&clock);
        tokio::task::spawn_blocking(move || store.close())
            .await
            .expect("closing does not panic")
            .expect("the store closes");
        Self::open(directory, clock, settings, seed).await
    }

    /// The broker's public door.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// What time the broker thinks it is.
    pub fn clock(&self) -> &FakeClock {
        &self.clock
    }

    /// The store under it.
    pub fn store(&self) -> &LocalStore {
        &self.store
    }

    async fn open(directory: TempDir, clock: FakeClock, settings: Settings, seed: u64) -> Self {
        let disk = Arc::new(free(directory.path()).await);
        let store = LocalStore::open(disk, small()).expect("the store opens");
        let parts = Parts {
            log: Arc::new(store.clone()),
            catalog: Arc::new(store.clone()),
            clock: Arc::new(clock.clone()),
            random: Arc::new(SeededRandom::new(seed)),
            authorizer: Arc::new(AllowAll),
            supervisor: storage::Supervisor::new(),
        };
        let broker = Broker::start(parts, settings.clone())
            .await
            .expect("the broker starts");
        Self {
            broker,
            clock,
            settings,
            store,
            directory,
        }
    }
}

/// Looks at a directory that a task which is about to end may still hold, at most.
const LOOKS_MAX: usize = 200_000;

/// The directory, once no connection of the life before holds it any more.
async fn free(directory: &Path) -> OsDisk {
    for _ in 0..LOOKS_MAX {
        match OsDisk::open(directory) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => tokio::task::yield_now().await,
            other => return other.expect("the directory opens"),
        }
    }
    panic!("something of the life before never ends")
}

fn clock_seed(clock: &FakeClock) -> u64 {
    engine::Clock::now_ms(clock)
}

/// A store that writes little ahead, so that tests start fast and many may run at once.
fn small() -> Options {
    const MIB: u64 = 1 << 20;
    Options {
        flush_interval: Duration::from_millis(20),
        journal_file_bytes_first: MIB,
        journal_file_bytes: 16 * MIB,
        min_free_bytes: 0,
        ..Options::default()
    }
}
