//! Signature Version 4: who sent a request, and is it unchanged?
//!
//! Follows "Signing AWS requests with Signature Version 4": a canonical form of the request is rebuilt from the headers
//! that were signed, and its signature compared with the one that came. Both places a signature can stand in are
//! read: the `Authorization` header, and the query string of a presigned address.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, Method};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::{
    EXPIRED, Fault, INCOMPLETE_SIGNATURE, INVALID_TOKEN, NO_SIGNATURE, Outcome, WRONG_SIGNATURE,
};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far a request's time may be from ours, ms.
const SKEW_MS: u64 = 15 * 60_000;
/// Longest life of a presigned address, s.
const LIFETIME_MAX: u64 = 7 * 24 * 3600;
/// Derived keys that are kept; one per access key, day, region and service.
const KEYS_MAX: usize = 1024;
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// Names this service signs as, with that of the token service's one action.
const SERVICES: &[&str] = &["sqs", "sts"];
const TARGET: &str = "x-amz-target";
/// What the canonical form of a common request takes.
const CANONICAL_BYTES: usize = 512;

/// A request as far as its signature is concerned.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// What a request says about its signature.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) access_key: String,
    date: String,
    pub(crate) region: String,
    service: String,
    /// Names of headers, with semicolons between them.
    signed_headers: String,
    signature: String,
    time: String,
    /// Life of a presigned address, s.
    expires: Option<u64>,
}

/// Reads the claim; `None` when the request is not signed.
pub(crate) fn claim(request: &Signed<'_>) -> Outcome<Option<Claim>> {
    if let Some(header) = request.headers.get("authorization") {
        let header = header
            .to_str()
            .map_err(|_| incomplete("Authorization header"))?;
        return from_header(header, request.headers).map(Some);
    }
    let query = pairs(request.query);
    if query.iter().any(|(name, _)| name == "X-Amz-Algorithm") {
        return from_query(&query).map(Some);
    }
    Ok(None)
}

fn incomplete(what: &str) -> Fault {
    Fault::new(
        &INCOMPLETE_SIGNATURE,
        format!("{what} is incomplete or malformed."),
    )
}

fn from_header(header: &str, headers: &HeaderMap) -> Outcome<Claim> {
    let fields = header
        .strip_prefix(ALGORITHM)
        .ok_or_else(|| incomplete("Authorization header"))?;
    let field = |name: &str| {
        let mut fields = fields.split(',').map(str::trim);
        fields
            .find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| incomplete(name))
    };
    let time = headers
        .get("x-amz-date")
        .and_then(|time| time.to_str().ok());
    build(
        field("Credential")?,
        field("SignedHeaders")?,
        field("Signature")?,
        time.ok_or_else(|| incomplete("X-Amz-Date"))?,
        None,
    )
}

fn from_query(query: &[(String, String)]) -> Outcome<Claim> {
    let field = |name: &str| {
        let found = query.iter().find(|(n, _)| n == name);
        found
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| incomplete(name))
    };
    if field("X-Amz-Algorithm")? != ALGORITHM {
        return Err(incomplete("X-Amz-Algorithm"));
    }
    let expires = field("X-Amz-Expires")?.parse().ok();
    let expires = expires.filter(|lifetime| *lifetime <= LIFETIME_MAX);
    build(
        field("X-Amz-Credential")?,
        field("X-Amz-SignedHeaders")?,
        field("X-Amz-Signature")?,
        field("X-Amz-Date")?,
        Some(expires.ok_or_else(|| incomplete("X-Amz-Expires"))?),
    )
}

fn build(
    credential: &str,
    signed_headers: &str,
    signature: &str,
    time: &str,
    expires: Option<u64>,
) -> Outcome<Claim> {
    let parts: Vec<&str> = credential.split('/').collect();
    let [access_key, date, region, service, "aws4_request"] = parts[..] else {
        return Err(incomplete("Credential"));
    };
    Ok(Claim {
        access_key: access_key.to_owned(),
        date: date.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        signed_headers: signed_headers.to_owned(),
        signature: signature.to_owned(),
        time: time.to_owned(),
        expires,
    })
}

/// Checks signatures; remembers the keys it derived.
#[derive(Debug, Default)]
pub(crate) struct Verifier {
    keys: Mutex<BTreeMap<String, [u8; 32]>>,
}

impl Verifier {
    /// Whether the request was signed with `secret`, by its claim, at about `now` (ms).
    pub(crate) fn verify(
        &self,
        request: &Signed<'_>,
        claim: &Claim,
        secret: Option<&str>,
        now: u64,
    ) -> Outcome<()> {
        let secret = secret.ok_or_else(|| {
            Fault::new(
                &INVALID_TOKEN,
                "The security token included in the request is invalid.",
            )
        })?;
        check_time(claim, now)?;
        if !claim.signed_headers.split(';').any(|name| name == "host") {
            return Err(incomplete("SignedHeaders"));
        }
        let canonical = canonical_request(request, claim)?;
        let scope = format!(
            "{}/{}/{}/aws4_request",
            claim.date, claim.region, claim.service
        );
        let digest = hex(&Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{digest}", claim.time);
        let key = self.key(claim, secret, &scope);
        let expected = hex(&mac(&key, to_sign.as_bytes()));
        if bool::from(expected.as_bytes().ct_eq(claim.signature.as_bytes())) {
            return Ok(());
        }
        Err(Fault::new(
            &WRONG_SIGNATURE,
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.",
        ))
    }

    fn key(&self, claim: &Claim, secret: &str, scope: &str) -> [u8; 32] {
        let name = format!("{}/{scope}/{secret}", claim.access_key);
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = keys.get(&name) {
            return *key;
        }
        let mut key = mac(format!("AWS4{secret}").as_bytes(), claim.date.as_bytes());
        for part in [&*claim.region, &claim.service, "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        if keys.len() >= KEYS_MAX {
            keys.clear();
        }
        keys.insert(name, key);
        key
    }
}

/// Whether the signature is meant for this service, and covers what the request asks for: an action named in a header
/// that is not signed could be exchanged on the way.
pub(crate) fn check_scope(request: &Signed<'_>, claim: &Claim) -> Outcome<()> {
    if !SERVICES.contains(&&*claim.service) {
        return Err(Fault::new(
            &WRONG_SIGNATURE,
            "Credential should be scoped to correct service: 'sqs'.",
        ));
    }
    let covered = claim.signed_headers.split(';').any(|name| name == TARGET);
    if request.headers.contains_key(TARGET) && !covered {
        return Err(incomplete("SignedHeaders"));
    }
    Ok(())
}

/// The refusal of a request that should have been signed.
pub(crate) fn unsigned() -> Fault {
    Fault::new(&NO_SIGNATURE, "Request is missing Authentication Token.")
}

fn check_time(claim: &Claim, now: u64) -> Outcome<()> {
    let sent = parse_time(&claim.time).ok_or_else(|| incomplete("X-Amz-Date"))?;
    if !claim.time.starts_with(&claim.date) {
        return Err(incomplete("Credential"));
    }
    let expired = match claim.expires {
        Some(lifetime) => now + SKEW_MS / 3 < sent || now > sent + lifetime * 1000,
        None => now.abs_diff(sent) > SKEW_MS,
    };
    if expired {
        let message = format!("Signature expired or not yet valid: {}", claim.time);
        return Err(Fault::new(&EXPIRED, message));
    }
    Ok(())
}

/// `20150830T123600Z` as ms since 1970.
fn parse_time(text: &str) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
    let form = text.len() == 16 && text.get(8..9) == Some("T") && text.ends_with('Z');
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    let (hour, minute, second) = (number(9..11)?, number(11..13)?, number(13..15)?);
    if !form || year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 by counting years from March, so that leap days come last.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000)
}

fn canonical_request(request: &Signed<'_>, claim: &Claim) -> Outcome<String> {
    let mut query: Vec<(String, String)> = pairs(request.query)
        .into_iter()
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| (escape(&name, false), escape(&value, false)))
        .collect();
    query.sort_unstable();
    let query: Vec<String> = query.into_iter().map(|(n, v)| format!("{n}={v}")).collect();
    let mut text = String::with_capacity(CANONICAL_BYTES);
    text.extend([request.method.as_str(), "\n"]);
    text.push_str(&escape(&unescape(request.path), true));
    text.extend(["\n", &query.join("&"), "\n"]);
    for name in claim.signed_headers.split(';') {
        text.extend([name, ":"]);
        let values = request.headers.get_all(name).iter();
        let values = values.filter_map(|value| value.to_str().ok());
        let mut count = 0;
        for value in values {
            text.push_str(if count > 0 { "," } else { "" });
            squeeze(&mut text, value);
            count += 1;
        }
        if count == 0 {
            return Err(incomplete("SignedHeaders"));
        }
        text.push('\n');
    }
    let hash = payload_hash(request)?;
    text.extend(["\n", &claim.signed_headers, "\n", &hash]);
    Ok(text)
}

/// The hash that was signed: the one the client names, if it is right, or that of the body.
fn payload_hash(request: &Signed<'_>) -> Outcome<String> {
    let named = request.headers.get("x-amz-content-sha256");
    let named = named.and_then(|hash| hash.to_str().ok());
    if named == Some(UNSIGNED) {
        return Ok(UNSIGNED.to_owned());
    }
    let hash = hex(&Sha256::digest(request.body));
    if named.is_some_and(|named| named != hash) {
        return Err(Fault::new(
            &WRONG_SIGNATURE,
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        ));
    }
    Ok(hash)
}

/// Adds a header's value; inner runs of blanks count as one.
fn squeeze(out: &mut String, value: &str) {
    for (place, word) in value.split_ascii_whitespace().enumerate() {
        let blank = if place > 0 { " " } else { "" };
        out.extend([blank, word]);
    }
}

/// A query string as decoded pairs. Plus signs are kept: signers escape blanks.
fn pairs(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(name), unescape(value))
        })
        .collect()
}

fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let escaped = (*first == b'%')
            .then(|| after.split_at_checked(2))
            .flatten();
        let byte = escaped.and_then(|(digits, after)| {
            let byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            rest = after;
            Some(byte)
        });
        out.push(byte.unwrap_or(*first));
    }
    String::from_utf8_lossy(&out).into_owned()
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn escape(text: &str, keep_slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

fn mac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys may have any length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(DIGITS[usize::from(digit)]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    //! The examples of the published test suite.

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const NOW: u64 = 1_440_938_160_000;

    fn headers(signature: &str, names: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("host", "example.amazonaws.com".parse().unwrap());
        headers.insert("x-amz-date", "20150830T123600Z".parse().unwrap());
        let authorization = format!(
            "{ALGORITHM} Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders={names}, Signature={signature}"
        );
        headers.insert("authorization", authorization.parse().unwrap());
        headers
    }

    fn check(query: &str, headers: &HeaderMap, body: &[u8], secret: &str, now: u64) -> Outcome<()> {
        let request = Signed {
            method: &Method::GET,
            path: "/",
            query,
            headers,
            body,
        };
        let claim = claim(&request)?.expect("it is signed");
        Verifier::default().verify(&request, &claim, Some(secret), now)
    }

    #[test]
    fn the_published_examples_are_accepted() {
        let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let headers_of = |signature| headers(signature, "host;x-amz-date");
        check("", &headers_of(vanilla), b"", SECRET, NOW).unwrap();
        let by_key = "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500";
        let query = "Param2=value2&Param1=value1";
        check(query, &headers_of(by_key), b"", SECRET, NOW).unwrap();
    }

    #[test]
    fn what_was_changed_is_refused() {
        let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        let good = headers(vanilla, "host;x-amz-date");
        let refused = |outcome: Outcome<()>| outcome.unwrap_err().shape.code;
        assert_eq!(
            refused(check("", &good, b"x", SECRET, NOW)),
            "SignatureDoesNotMatch"
        );
        assert_eq!(
            refused(check("a=b", &good, b"", SECRET, NOW)),
            "SignatureDoesNotMatch"
        );
        assert_eq!(
            refused(check("", &good, b"", "secret", NOW)),
            "SignatureDoesNotMatch"
        );
        let late = NOW + SKEW_MS + 1;
        assert_eq!(
            refused(check("", &good, b"", SECRET, late)),
            "RequestExpired"
        );
        let hostless = headers(vanilla, "x-amz-date");
        assert_eq!(
            refused(check("", &hostless, b"", SECRET, NOW)),
            "IncompleteSignature"
        );
    }

    #[test]
    fn a_signature_covers_the_action_and_is_for_this_service() {
        let scope = |service: &str, names: &str| {
            let mut headers = headers("x", names);
            headers.insert(TARGET, "AmazonSQS.ListQueues".parse().unwrap());
            let text = headers["authorization"].to_str().unwrap();
            let text = text.replace("/service/", &format!("/{service}/"));
            headers.insert("authorization", text.parse().unwrap());
            let request = Signed {
                method: &Method::POST,
                path: "/",
                query: "",
                headers: &headers,
                body: b"",
            };
            let claim = claim(&request).unwrap().unwrap();
            check_scope(&request, &claim).map_err(|fault| fault.shape.code)
        };
        assert_eq!(scope("sqs", "host;x-amz-target"), Ok(()));
        assert_eq!(
            scope("s3", "host;x-amz-target"),
            Err("SignatureDoesNotMatch")
        );
        assert_eq!(scope("sqs", "host;x-amz-date"), Err("IncompleteSignature"));
    }

    #[test]
    fn times_are_read() {
        assert_eq!(parse_time("20150830T123600Z"), Some(NOW));
        assert_eq!(parse_time("19700101T000000Z"), Some(0));
        assert_eq!(parse_time("20240229T000000Z"), Some(1_709_164_800_000));
        for bad in [
            "",
            "20150830",
            "2015083xT123600Z",
            "20151330T123600Z",
            "20150830T123600",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }
}
