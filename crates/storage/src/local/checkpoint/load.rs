//! Reading a checkpoint: the whole, then the changes behind it in their order, up to the end or to changes that were
//! never finished.

use std::collections::BTreeMap;

use super::super::codec::Input;
use super::super::documents::{self, Kept};
use super::super::seams::Documents;
use super::body::{self, Body};
use super::format::{FORMAT_VERSION, MAGIC, NAME, OLD_FORMAT_VERSION, VERSION_WITHOUT_CHANGES};
use super::frame::{Frame, PAGE};
use super::image::{Image, Stored, StreamImage};
use super::part::Part;
use crate::{Error, Result, StreamId};

/// The checkpoint there is; `None` when there never was one.
pub(in super::super) fn load(kept: &mut dyn Documents) -> Result<Option<Stored>> {
    let failed = |error| Error::io("read the checkpoint", error);
    let bytes = kept.load().map_err(failed)?;
    bytes.map(|bytes| decode(&bytes)).transpose()
}

fn decode(bytes: &[u8]) -> Result<Stored> {
    let mut header = Input(bytes);
    if header.u32() != Some(MAGIC) {
        return Err(wrong("not a checkpoint"));
    }
    match header.u32().unwrap_or(0) {
        version @ OLD_FORMAT_VERSION..=VERSION_WITHOUT_CHANGES => decode_single(bytes, version),
        FORMAT_VERSION => decode_parts(bytes),
        version => Err(Error::format(NAME, version)),
    }
}

fn wrong(why: &str) -> Error {
    Error::lost(NAME, why)
}

const CHECKSUM: &str = "the checksum does not match";
const FIELD: &str = "a field is cut short";

/// A checkpoint of a version that had no changes: one header and one body.
fn decode_single(bytes: &[u8], version: u32) -> Result<Stored> {
    let mut input = Input(bytes);
    let _magic_and_version = input.u64();
    let (length, crc) = (input.u64(), input.u32());
    if crc != Some(crc32c::crc32c(input.0)) {
        return Err(wrong(CHECKSUM));
    }
    let is_old = version == OLD_FORMAT_VERSION;
    let reach = if is_old { Some(0) } else { input.u64() };
    if length != Some(input.0.len() as u64) {
        return Err(wrong("its length is not the one it had"));
    }
    let whole = body::decode(input.0, version);
    let (whole, digest) = whole.zip(bytes.first_chunk()).ok_or_else(|| wrong(FIELD))?;
    let mut draft = Draft::of(whole);
    draft.image.reach = reach.unwrap_or(0);
    Ok(Stored {
        is_old,
        digest: *digest,
        ..draft.stored()
    })
}

fn decode_parts(bytes: &[u8]) -> Result<Stored> {
    let first = Frame::at(bytes, 0).filter(|frame| frame.serial == 0);
    let whole = first.and_then(|frame| Some((frame, frame.body(bytes, 0)?)));
    let (frame, whole) = whole.ok_or_else(|| wrong(CHECKSUM))?;
    let whole = body::decode(whole, FORMAT_VERSION).ok_or_else(|| wrong(FIELD))?;
    let mut draft = Draft::of(whole);
    draft.image.reach = frame.reach;
    let (mut last, mut at) = (0, frame.end(0));
    let mut serial = 1;
    while let Some((frame, changes)) = changes(bytes, at, &frame, serial)? {
        draft.apply(changes);
        draft.image.reach = frame.reach;
        (last, at) = (at, frame.end(at));
        serial += 1;
    }
    let digest = bytes[last..].first_chunk();
    Ok(Stored {
        digest: *digest.expect("a part has a header"),
        is_cut: at < bytes.len(),
        ..draft.stored()
    })
}

/// The changes with this serial at this position. `None` at the end of the checkpoint, which is where nothing more was
/// finished. What is damaged and has anything of the same checkpoint behind it was finished.
fn changes(bytes: &[u8], at: usize, whole: &Frame, serial: u64) -> Result<Option<(Frame, Body)>> {
    let own = |at| Frame::at(bytes, at).filter(|frame| frame.identity == whole.identity);
    let frame = own(at);
    if let Some(frame) = frame.filter(|frame| frame.serial != serial) {
        let why = format!(
            "changes {} are where changes {serial} should be",
            frame.serial
        );
        return Err(wrong(&why));
    }
    if let Some((frame, body)) = frame.and_then(|frame| Some((frame, frame.body(bytes, at)?))) {
        let body = body::decode(body, FORMAT_VERSION).ok_or_else(|| wrong(FIELD))?;
        return Ok(Some((frame, body)));
    }
    let mut behind = (at..bytes.len()).step_by(PAGE).skip(1);
    if let Some(frame) = behind.find_map(own) {
        let why = format!(
            "changes {serial} are missing or damaged, but changes {} stand behind them",
            frame.serial
        );
        return Err(wrong(&why));
    }
    Ok(None)
}

/// A checkpoint while it is put together.
struct Draft {
    /// Without its streams.
    image: Image,
    streams: BTreeMap<StreamId, StreamImage>,
    documents: BTreeMap<Box<str>, Kept>,
    floor: u64,
}

impl Draft {
    fn of(whole: Body) -> Self {
        let mut image = whole.image;
        let streams = std::mem::take(&mut image.streams);
        Self {
            streams: streams.into_iter().map(|s| (s.id, s)).collect(),
            // Made of all at once, the table has no half-empty nodes.
            documents: whole.documents.into_iter().collect(),
            floor: whole.floor,
            image,
        }
    }

    /// What is gone first: a stream may have been made again under the same name.
    fn apply(&mut self, changes: Body) {
        for id in &changes.image.removed {
            self.streams.remove(id);
        }
        for key in &changes.removed {
            self.documents.remove(key);
        }
        let streams = changes.image.streams.into_iter();
        self.streams.extend(streams.map(|s| (s.id, s)));
        self.documents.extend(changes.documents);
        self.floor = changes.floor;
        self.image.position = changes.image.position;
        self.image.next_segment = changes.image.next_segment;
    }

    fn stored(mut self) -> Stored {
        self.image.streams = self.streams.into_values().collect();
        Stored {
            image: self.image,
            documents: documents::State::restored(self.documents, self.floor),
            is_old: false,
            digest: [0; 28],
            is_cut: false,
        }
    }
}

impl Stored {
    /// All of it, to be written again.
    pub(in super::super) fn whole(&self) -> Part {
        Part::new(|out| body::encode(out, &self.image, &self.documents, None))
    }
}
