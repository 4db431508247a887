//! Bodies of the fuzz targets, here so that ordinary tests run them too. Whatever the bytes are, decoding must not
//! panic; and what decodes must encode, to bytes that mean the same.

use bytes::BytesMut;

use super::{
    Array, ArrayBuilder, ContentHeader, FRAME_OVERHEAD_BYTES, Frame, FrameKind, Greeting, Method,
    Properties, Splitter, Table, TableBuilder, Value, Writer,
};

/// Small, so that noise reaches the limit.
const FRAME_MAX: u32 = 4096;

/// Takes `data` as what a peer sends: a greeting, perhaps, and frames.
pub fn frames(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    if Greeting::decode(data) == Ok(Greeting::Spoken) {
        drop(buffer.split_to(8));
    }
    let splitter = Splitter::new(FRAME_MAX);
    let before = buffer.len();
    let Ok(frames) = splitter.split(&mut buffer) else {
        assert_eq!(buffer.len(), before, "a refusal takes nothing");
        return;
    };
    let mut left = before;
    for found in &frames {
        left = left
            .saturating_sub(found.payload.len())
            .saturating_sub(FRAME_OVERHEAD_BYTES);
        assert_eq!(frames.share(found.payload), found.payload);
        frame(&found);
    }
    assert_eq!(left, buffer.len(), "no byte is lost");
}

fn frame(frame: &Frame<'_>) {
    match frame.kind {
        FrameKind::Method => method(frame.payload),
        FrameKind::Header => header(frame.payload),
        FrameKind::Body | FrameKind::Heartbeat => {}
    }
}

/// Takes `data` as the payload of a method frame.
pub fn method(data: &[u8]) {
    let Ok(method) = Method::decode(data) else {
        return;
    };
    let mut w = Writer::new(u32::MAX);
    method
        .write(1, &mut w)
        .expect("what was decoded can be encoded");
    let mut buffer = BytesMut::from(&w.take_bytes()[..]);
    let splitter = Splitter::new(u32::MAX);
    let frames = splitter.split(&mut buffer).expect("a frame");
    let frame = frames.iter().next().expect("whole");
    let again = Method::decode(frame.payload).expect("just encoded");
    assert_eq!(method, again, "{} changes on its way", method.name());
}

/// Takes `data` as the payload of a header frame.
pub fn header(data: &[u8]) {
    let Ok(header) = ContentHeader::decode(data) else {
        return;
    };
    let Ok(properties) = Properties::decode(header.properties) else {
        return;
    };
    if let Some(headers) = properties.headers {
        walk(headers);
    }
    let encoded = properties
        .encode()
        .expect("what was decoded can be encoded");
    assert_eq!(encoded, header.properties, "properties change on their way");
}

/// Takes `data` as a field table, the length in front of it left out.
pub fn table(data: &[u8]) {
    if let Ok(table) = Table::decode(data) {
        walk(table);
    }
}

/// Builds the same table again, which must mean the same and reach the end of the bytes.
fn walk(table: Table<'_>) {
    let again = rebuilt(table);
    assert!(table.is_equivalent(&again.as_table()), "changes on its way");
    let bytes = again.as_table().as_bytes();
    assert_eq!(bytes.len(), table.as_bytes().len(), "a value was skipped");
    Table::decode(bytes).expect("just built");
}

fn rebuilt(table: Table<'_>) -> TableBuilder {
    let mut builder = TableBuilder::new();
    for (name, value) in table {
        let push = |value: Value<'_>| {
            builder.push(name, value).expect("it was short enough");
        };
        rebuild(value, push);
    }
    builder
}

fn rebuilt_array(array: Array<'_>) -> ArrayBuilder {
    let mut builder = ArrayBuilder::new();
    for value in array {
        let push = |value: Value<'_>| {
            builder.push(value).expect("it was short enough");
        };
        rebuild(value, push);
    }
    builder
}

fn rebuild(value: Value<'_>, push: impl FnOnce(Value<'_>)) {
    match value {
        Value::Table(inner) => push(Value::Table(rebuilt(inner).as_table())),
        Value::Array(inner) => push(Value::Array(rebuilt_array(inner).as_array())),
        value => push(value),
    }
}
