//! What is encoded decodes to the same, in every version, including those no other codec at hand knows.

use super::{bytes_of, decode_request, decode_response, for_each_version, requests, responses};

#[test]
fn requests_survive() {
    for_each_version(|key, version| {
        for sample in requests(key, version) {
            let bytes = bytes_of(|w| sample.encode(w, version));
            let decoded = decode_request(key, &bytes, version);
            assert_eq!(decoded.as_ref(), Ok(&sample), "{key:?} v{version}");
        }
    });
}

#[test]
fn responses_survive() {
    for_each_version(|key, version| {
        for sample in responses(key, version) {
            let bytes = bytes_of(|w| sample.encode(w, version));
            let decoded = decode_response(key, &bytes, version);
            assert_eq!(decoded.as_ref(), Ok(&sample), "{key:?} v{version}");
        }
    });
}
