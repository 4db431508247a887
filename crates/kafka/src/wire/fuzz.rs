//! Bodies of the fuzz targets, here so that ordinary tests run them too. Whatever the bytes are, decoding must not
//! panic; and what decodes must encode, to bytes that mean the same.

use bytes::Bytes;

use super::{AnyRequest, AnyResponse, ApiKey, Reader, Result, Writer, frame};

/// Takes `data` as a request: header and body, without the length prefix.
pub fn request(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let mut r = Reader::new(&data);
    let Ok(header) = frame::decode_request_header(&mut r) else {
        return;
    };
    let Ok(key) = ApiKey::try_from(header.request_api_key) else {
        return;
    };
    let version = header.request_api_version;
    let Ok(body) = AnyRequest::decode(key, &mut r, version) else {
        return;
    };
    let first = encoded(|w| body.encode(w, version));
    let mut r = Reader::new(&first);
    let again = AnyRequest::decode(key, &mut r, version).expect("just encoded");
    r.finish().expect("nothing follows what was encoded");
    let second = encoded(|w| again.encode(w, version));
    assert_eq!(first, second, "{key:?} v{version} changes on its way");
}

/// Takes `data` as an API key, a version, and a response to such a request: header and body.
pub fn response(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let mut r = Reader::new(&data);
    let (Ok(number), Ok(version)) = (r.i16(), r.i16()) else {
        return;
    };
    let Ok(key) = ApiKey::try_from(number) else {
        return;
    };
    if frame::decode_response_header(&mut r, key, version).is_err() {
        return;
    }
    let Ok(body) = AnyResponse::decode(key, &mut r, version) else {
        return;
    };
    let first = encoded(|w| body.encode(w, version));
    let mut r = Reader::new(&first);
    let again = AnyResponse::decode(key, &mut r, version).expect("just encoded");
    r.finish().expect("nothing follows what was encoded");
    let second = encoded(|w| again.encode(w, version));
    assert_eq!(first, second, "{key:?} v{version} changes on its way");
}

fn encoded(encode: impl FnOnce(&mut Writer) -> Result<()>) -> Bytes {
    let mut w = Writer::bare();
    encode(&mut w).expect("what was decoded can be encoded");
    w.finish().expect("no larger than the input").into_bytes()
}
