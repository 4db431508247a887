//! What the codec promises, tested over every message and version.

mod captured;
mod hostile;
mod mutated;
mod oracle;
pub(crate) mod random;
mod round_trip;
mod versions;
mod zero_copy;

use bytes::Bytes;

use super::generated::sample;
use super::{AnyRequest, AnyResponse, ApiKey, Reader, Result, Writer};
use random::RandomSource;

/// Random messages per API, version and direction.
const SAMPLES: u64 = 20;

/// A body without a frame around it.
fn bytes_of(encode: impl FnOnce(&mut Writer) -> Result<()>) -> Bytes {
    let mut w = Writer::bare();
    encode(&mut w).expect("a sample fits its version");
    w.finish().expect("a sample is small").into_bytes()
}

/// Calls `each` with every key and version.
fn for_each_version(mut each: impl FnMut(ApiKey, i16)) {
    for &key in ApiKey::ALL {
        for version in key.versions() {
            each(key, version);
        }
    }
}

/// A seed per API, so that adding one does not change the samples of the others.
fn random_for(key: ApiKey) -> RandomSource {
    RandomSource::new(u64::from(i16::from(key).cast_unsigned()) << 8)
}

/// Random requests of one version.
fn requests(key: ApiKey, version: i16) -> impl Iterator<Item = AnyRequest<'static>> {
    let mut random = random_for(key);
    (0..SAMPLES).map(move |_| sample::request(key, &mut random, version))
}

/// Random responses of one version.
fn responses(key: ApiKey, version: i16) -> impl Iterator<Item = AnyResponse<'static>> {
    let mut random = random_for(key);
    (0..SAMPLES).map(move |_| sample::response(key, &mut random, version))
}

fn decode_request(key: ApiKey, bytes: &Bytes, version: i16) -> Result<AnyRequest<'_>> {
    let mut r = Reader::new(bytes);
    let body = AnyRequest::decode(key, &mut r, version)?;
    r.finish().map(|()| body)
}

fn decode_response(key: ApiKey, bytes: &Bytes, version: i16) -> Result<AnyResponse<'_>> {
    let mut r = Reader::new(bytes);
    let body = AnyResponse::decode(key, &mut r, version)?;
    r.finish().map(|()| body)
}
