//! A disk in memory that loses power, tears writes, fails, fills up and rots.
//!
//! It keeps two states: what the running system sees, and what would be left after a power failure. Content
//! becomes safe by syncing the file, names by syncing the folder. [`SimDisk::crash`] keeps what is safe and an
//! arbitrary part of the rest: of every unsynced write any subset of its 512-byte sectors, of unsynced creations,
//! renames and removals any subset. Handles from before a crash are dead, like the process that held them.
//!
//! All choices come from the seed given to `crash`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use storage::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// Something that goes wrong once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The n-th write from now fails (0: the next one); nothing of it arrives.
    Write(u64),
    /// The n-th write from now stops half way and fails.
    ShortWrite(u64),
    /// The n-th sync from now fails; what it should have made safe never becomes safe.
    Sync(u64),
}

#[derive(Debug, Clone)]
enum NameChange {
    Create(String, u64),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    fn folder(&self) -> &str {
        match self {
            Self::Create(name, _) | Self::Remove(name) | Self::Rename(_, name) => folder_of(name),
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Create(name, id) => {
                names.insert(name.clone(), *id);
            }
            Self::Rename(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Unsynced {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

#[derive(Debug, Clone, Default)]
struct Content {
    seen: Vec<u8>,
    safe: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

impl Content {
    fn apply(bytes: &mut Vec<u8>, change: &Unsynced) {
        match change {
            Unsynced::Write(at, data) => {
                let end = at + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(data);
            }
            Unsynced::SetLen(len) => bytes.resize(*len, 0),
        }
    }

    fn change(&mut self, change: Unsynced) {
        Self::apply(&mut self.seen, &change);
        self.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            Self::apply(&mut self.safe, &change);
        }
    }

    /// Loses power: every unsynced sector arrives or not.
    fn lose(&mut self, chances: &mut Chances) {
        let fate = Fate::draw(chances);
        for change in std::mem::take(&mut self.unsynced) {
            match &change {
                Unsynced::SetLen(_) if chances.coin() => Self::apply(&mut self.safe, &change),
                Unsynced::SetLen(_) => {}
                Unsynced::Write(at, data) => {
                    for (from, sector) in sectors(*at, data).filter(|_| fate.arrives(chances)) {
                        let part = Unsynced::Write(from, sector.to_vec());
                        Self::apply(&mut self.safe, &part);
                    }
                }
            }
        }
        self.seen.clone_from(&self.safe);
    }
}

/// How much of a file's unsynced sectors a power failure leaves.
#[derive(Clone, Copy)]
enum Fate {
    Nothing,
    Everything,
    Half,
    Most,
}

impl Fate {
    fn draw(chances: &mut Chances) -> Self {
        match chances.below(4) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 => Self::Half,
            _ => Self::Most,
        }
    }

    fn arrives(self, chances: &mut Chances) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Half => chances.coin(),
            Self::Most => chances.below(16) > 0,
        }
    }
}

/// Cuts a write where the disk's sectors end.
fn sectors(at: usize, data: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut from = at;
    let mut rest = data;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let count = (SECTOR - from % SECTOR).min(rest.len());
        let (sector, after) = rest.split_at(count);
        let found = (from, sector);
        from += count;
        rest = after;
        Some(found)
    })
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<u64, Content>,
    names: BTreeMap<String, u64>,
    safe_names: BTreeMap<String, u64>,
    unsynced_names: Vec<NameChange>,
    next_id: u64,
    /// Counts crashes; handles of an earlier incarnation are dead.
    incarnation: u64,
    capacity: Option<u64>,
    holds_creation: bool,
    faults: Vec<Fault>,
    lying: bool,
    /// Where the next identity comes from.
    random_seed: u64,
    writes: u64,
    syncs: u64,
}

/// A disk in memory, as one incarnation of the process sees it; clones are the same disk in the same incarnation.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    creation_goes_on: Arc<Condvar>,
    incarnation: u64,
}

impl SimDisk {
    /// An empty disk without limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty disk whose [`Disk::random`] begins at `seed`; that of others begins at 0.
    pub fn seeded(seed: u64) -> Self {
        let disk = Self::default();
        disk.lock().random_seed = seed;
        disk
    }

    /// Another disk with the same content and names, all of it safe: what this one came to is tried twice.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.lock();
        let mut files = state.files.clone();
        for content in files.values_mut() {
            content.safe.clone_from(&content.seen);
            content.unsynced.clear();
        }
        let copy = State {
            files,
            names: state.names.clone(),
            safe_names: state.names.clone(),
            next_id: state.next_id,
            capacity: state.capacity,
            random_seed: state.random_seed,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(copy)),
            creation_goes_on: Arc::default(),
            incarnation: 0,
        }
    }

    /// Loses power. What was not synced arrives in an arbitrary part, chosen by `seed`.
    pub fn crash(&self, seed: u64) {
        let mut state = self.lock();
        let mut chances = Chances(seed);
        state.incarnation += 1;
        state.faults.clear();
        for content in state.files.values_mut() {
            content.lose(&mut chances);
        }
        let mut names = std::mem::take(&mut state.safe_names);
        for change in std::mem::take(&mut state.unsynced_names) {
            if chances.coin() {
                change.apply(&mut names);
            }
        }
        state.names.clone_from(&names);
        state.safe_names = names;
        state.forget_unnamed();
    }

    /// Kills the process: everything it wrote stays, its handles do not.
    pub fn kill(&self) {
        let mut state = self.lock();
        state.incarnation += 1;
        state.faults.clear();
    }

    /// The same disk for the process that starts after a crash or a kill. Handles from before keep failing; the
    /// controls of this type work on any of them.
    #[must_use]
    pub fn next_life(&self) -> Self {
        let incarnation = self.lock().incarnation;
        Self {
            state: Arc::clone(&self.state),
            creation_goes_on: Arc::clone(&self.creation_goes_on),
            incarnation,
        }
    }

    /// Lets something go wrong.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Sum of all files' lengths.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Limits the sum of all files' lengths; `None` removes the limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Lets the creation of files wait until it is told to go on: a disk as slow as a test wants.
    pub fn hold_creation(&self, held: bool) {
        self.lock().holds_creation = held;
        self.creation_goes_on.notify_all();
    }

    /// Makes syncs return without doing anything: a disk that lies, for checking the checkers.
    pub fn lie_about_syncs(&self, lying: bool) {
        self.lock().lying = lying;
    }

    /// Inverts one bit for good. Panics when there is no such byte.
    pub fn flip(&self, name: &str, position: u64, bit: u8) {
        let mut state = self.lock();
        let id = *state.names.get(name).expect("the file exists");
        let content = state.files.get_mut(&id).expect("named files have content");
        let at = usize::try_from(position).expect("files are small");
        content.seen[at] ^= 1 << bit;
        if let Some(byte) = content.safe.get_mut(at) {
            *byte ^= 1 << bit;
        }
    }

    /// What a reader sees of a file.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        let id = state.names.get(name)?;
        state.files.get(id).map(|content| content.seen.clone())
    }

    /// All file names.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    /// Writes and syncs of files so far.
    pub fn counts(&self) -> (u64, u64) {
        let state = self.lock();
        (state.writes, state.syncs)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, for the process: only while it lives.
    fn living(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.lock();
        if state.incarnation == self.incarnation {
            Ok(state)
        } else {
            Err(io::Error::other("the process that held this disk is gone"))
        }
    }

    fn handle(&self, id: u64) -> Arc<dyn DiskFile> {
        Arc::new(SimFile {
            disk: self.clone(),
            id,
        })
    }
}

impl State {
    fn used(&self) -> u64 {
        self.files.values().map(|file| file.seen.len() as u64).sum()
    }

    fn free(&self) -> u64 {
        self.capacity.map_or(u64::MAX / 2, |capacity| {
            capacity.saturating_sub(self.used())
        })
    }

    fn rename_now(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    /// Drops content that no name leads to, now or after a crash.
    fn forget_unnamed(&mut self) {
        let pending = self
            .unsynced_names
            .iter()
            .filter_map(|change| match change {
                NameChange::Create(_, id) => Some(id),
                NameChange::Rename(..) | NameChange::Remove(_) => None,
            });
        let named = self.names.values().chain(self.safe_names.values());
        let kept: BTreeSet<u64> = named.chain(pending).copied().collect();
        self.files.retain(|id, _| kept.contains(id));
    }

    /// Counts down the faults of one kind; returns the one that strikes now.
    fn strikes(&mut self, is_sync: bool) -> Option<Fault> {
        let mut struck = None;
        self.faults.retain_mut(|fault| {
            let left = match fault {
                Fault::Sync(left) if is_sync => left,
                Fault::Write(left) | Fault::ShortWrite(left) if !is_sync => left,
                _ => return true,
            };
            if *left == 0 {
                struck = Some(*fault);
                return false;
            }
            *left -= 1;
            true
        });
        struck
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.living()?;
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(id))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let held = self
            .creation_goes_on
            .wait_while(self.lock(), |state| state.holds_creation);
        drop(held.unwrap_or_else(PoisonError::into_inner));
        let mut state = self.living()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.next_id;
        state.next_id += 1;
        state.files.insert(id, Content::default());
        state.rename_now(NameChange::Create(name.to_owned(), id));
        Ok(self.handle(id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.living()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename_now(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.living()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename_now(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let state = self.living()?;
        let inside = state.names.keys().filter(|name| folder_of(name) == folder);
        Ok(inside
            .map(|name| name.rsplit('/').next().unwrap_or(name).to_owned())
            .collect())
    }

    fn sync_names(&self, folder: &str) -> io::Result<()> {
        let mut state = self.living()?;
        if state.lying {
            return Ok(());
        }
        let changes = std::mem::take(&mut state.unsynced_names);
        let (synced, rest): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .partition(|change| change.folder() == folder);
        state.unsynced_names = rest;
        for change in synced {
            change.apply(&mut state.safe_names);
        }
        state.forget_unnamed();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.living()?.free())
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        let mut state = self.living()?;
        let mut chances = Chances(state.random_seed);
        let (low, high) = (chances.next(), chances.next());
        state.random_seed = chances.0;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&low.to_le_bytes());
        bytes[8..].copy_from_slice(&high.to_le_bytes());
        Ok(bytes)
    }
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

struct SimFile {
    disk: SimDisk,
    id: u64,
}

impl SimFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        self.disk.living()
    }
}

fn content(state: &mut State, id: u64) -> io::Result<&mut Content> {
    state
        .files
        .get_mut(&id)
        .ok_or_else(|| io::Error::other("the file was removed for good"))
}

impl DiskFile for SimFile {
    fn write_at(&self, pieces: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.writes += 1;
        let mut data: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| piece.iter().copied())
            .collect();
        let at = usize::try_from(position).map_err(io::Error::other)?;
        let fault = state.strikes(false);
        match fault {
            Some(Fault::Write(_)) => return Err(injected()),
            Some(_) => data.truncate(data.len() / 2),
            None => {}
        }
        let free = state.free();
        let file = content(&mut state, self.id)?;
        let growth = (at + data.len()).saturating_sub(file.seen.len()) as u64;
        if growth > free {
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.change(Unsynced::Write(at, data));
        if fault.is_some() {
            return Err(injected());
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let file = content(&mut state, self.id)?;
        let at = usize::try_from(position).map_err(io::Error::other)?;
        let end = at.saturating_add(buffer.len());
        let bytes = file.seen.get(at..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.syncs += 1;
        if state.strikes(true).is_some() {
            // As on a real disk: the pages count as clean afterwards, a second sync would claim success.
            content(&mut state, self.id)?.unsynced.clear();
            return Err(injected());
        }
        if !state.lying {
            content(&mut state, self.id)?.sync();
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.state()?;
        Ok(content(&mut state, self.id)?.seen.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        content(&mut state, self.id)?.change(Unsynced::SetLen(len));
        Ok(())
    }
}

fn injected() -> io::Error {
    io::Error::other("injected failure")
}

/// A small seeded generator (splitmix64).
struct Chances(u64);

impl Chances {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}
