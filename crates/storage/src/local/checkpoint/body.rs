//! What a part of a checkpoint says, as bytes.

use std::collections::BTreeSet;

use super::super::codec::{Input, put_counted, put_stream};
use super::super::documents::{self, Kept};
use super::super::seams::{Folder, Position};
use super::super::segment::Extent;
use super::format::{VERSION_WITHOUT_CHANGES, VERSION_WITHOUT_FOLDER};
use super::image::{Image, StreamImage};
use crate::StreamId;

/// A part, taken apart.
pub(super) struct Body {
    pub(super) image: Image,
    /// Version floor of documents.
    pub(super) floor: u64,
    pub(super) documents: Vec<(Box<str>, Kept)>,
    /// Keys of documents that are gone.
    pub(super) removed: Vec<Box<str>>,
}

/// Adds the body of a part: with these documents, of which there may be none any more, or with all there are.
pub(super) fn encode(
    out: &mut Vec<u8>,
    image: &Image,
    documents: &documents::State,
    changed: Option<&BTreeSet<Box<str>>>,
) {
    let (table, floor) = documents.image();
    let numbers = [
        image.position.sequence,
        image.position.generation,
        image.position.offset,
        image.next_segment,
        floor,
        image.streams.len() as u64,
    ];
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for stream in &image.streams {
        put_image(out, stream);
    }
    let mut gone = Vec::new();
    if let Some(changed) = changed {
        let changed = changed.iter().map(|key| &**key);
        let (there, not_there): (Vec<&str>, Vec<&str>) =
            changed.partition(|key| table.contains_key(*key));
        put_documents(out, there.iter().map(|key| (*key, &table[*key])));
        gone = not_there;
    } else {
        put_documents(out, table.iter().map(|(key, kept)| (&**key, kept)));
    }
    put_gone(out, &image.removed, &gone);
    out.extend_from_slice(&image.folder);
}

fn put_gone(out: &mut Vec<u8>, streams: &[StreamId], keys: &[&str]) {
    out.extend_from_slice(&(streams.len() as u64).to_le_bytes());
    for id in streams {
        put_stream(out, *id);
    }
    out.extend_from_slice(&(keys.len() as u64).to_le_bytes());
    for key in keys {
        put_counted(out, key.as_bytes());
    }
}

fn put_image(out: &mut Vec<u8>, stream: &StreamImage) {
    put_stream(out, stream.id);
    out.extend_from_slice(&stream.start.to_le_bytes());
    out.extend_from_slice(&stream.end.to_le_bytes());
    let count = u32::try_from(stream.extents.len()).expect("far fewer extents per stream");
    out.extend_from_slice(&count.to_le_bytes());
    for extent in &stream.extents {
        put_extent(out, extent);
    }
}

fn put_documents<'a>(
    out: &mut Vec<u8>,
    documents: impl ExactSizeIterator<Item = (&'a str, &'a Kept)>,
) {
    out.extend_from_slice(&(documents.len() as u64).to_le_bytes());
    for (key, document) in documents {
        out.extend_from_slice(&document.version.to_le_bytes());
        put_counted(out, key.as_bytes());
        put_counted(out, &document.value);
    }
}

fn put_extent(out: &mut Vec<u8>, extent: &Extent) {
    out.extend_from_slice(&extent.segment.to_le_bytes());
    out.extend_from_slice(&extent.base.to_le_bytes());
    out.extend_from_slice(&extent.end.to_le_bytes());
    out.extend_from_slice(&extent.bytes.to_le_bytes());
    out.extend_from_slice(&extent.max_timestamp.to_le_bytes());
    out.extend_from_slice(&extent.index_position.to_le_bytes());
    out.extend_from_slice(&extent.blocks.to_le_bytes());
    out.extend_from_slice(&extent.index_crc.to_le_bytes());
}

/// Takes a body of this format version apart. `None` when a field is cut short, or says what cannot be.
pub(super) fn decode(body: &[u8], version: u32) -> Option<Body> {
    let (body, folder) = if version > VERSION_WITHOUT_FOLDER {
        body.split_last_chunk()?
    } else {
        (body, &Folder::default())
    };
    let mut input = Input(body);
    let position = Position {
        sequence: input.u64()?,
        generation: input.u64()?,
        offset: input.u64()?,
    };
    let (next_segment, floor) = (input.u64()?, input.u64()?);
    // Counts are not trusted: nothing is made ready for so many.
    let streams = repeat(&mut input, stream_image)?;
    let documents = repeat(&mut input, document)?;
    let (mut removed_streams, mut removed) = (Vec::new(), Vec::new());
    if version > VERSION_WITHOUT_CHANGES {
        removed_streams = repeat(&mut input, Input::stream)?;
        removed = repeat(&mut input, key)?;
        if !input.0.is_empty() {
            return None;
        }
    }
    let image = Image {
        folder: *folder,
        position,
        reach: 0,
        next_segment,
        streams,
        removed: removed_streams,
    };
    Some(Body {
        image,
        floor,
        documents,
        removed,
    })
}

/// As many of something as the number in front of them says.
fn repeat<'a, T>(
    input: &mut Input<'a>,
    one: impl Fn(&mut Input<'a>) -> Option<T>,
) -> Option<Vec<T>> {
    let mut all = Vec::new();
    for _ in 0..input.u64()? {
        all.push(one(input)?);
    }
    Some(all)
}

fn stream_image(input: &mut Input<'_>) -> Option<StreamImage> {
    let (id, start, end) = (input.stream()?, input.u64()?, input.u64()?);
    let mut extents = Vec::new();
    for _ in 0..input.u32()? {
        extents.push(extent(input)?);
    }
    let is_sound = start <= end && extents.iter().all(|extent| extent.base < extent.end);
    is_sound.then_some(StreamImage {
        id,
        start,
        end,
        extents,
    })
}

fn extent(input: &mut Input<'_>) -> Option<Extent> {
    Some(Extent {
        segment: input.u64()?,
        base: input.u64()?,
        end: input.u64()?,
        bytes: input.u64()?,
        max_timestamp: input.i64()?,
        index_position: input.u64()?,
        blocks: input.u32()?,
        index_crc: input.u32()?,
    })
}

fn document(input: &mut Input<'_>) -> Option<(Box<str>, Kept)> {
    let version = input.u64()?;
    let key = key(input)?;
    let value = Box::from(input.counted()?);
    Some((key, Kept { version, value }))
}

fn key(input: &mut Input<'_>) -> Option<Box<str>> {
    std::str::from_utf8(input.counted()?).ok().map(Box::from)
}
