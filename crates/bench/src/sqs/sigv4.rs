//! Signature Version 4 from the client's side: signs a request that has a body and no query string.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Bytes of the day in front of a time.
const DAY_BYTES: usize = 8;

/// A key to sign with.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) region: &'static str,
    pub(super) service: &'static str,
    /// The key derived for a day.
    derived: Option<(String, [u8; 32])>,
}

/// What is signed.
#[derive(Debug)]
pub(super) struct Unsigned<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// Names in lower case, in order.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
    /// The value of `x-amz-date`.
    pub(super) time: &'a str,
}

impl Signer {
    /// Signs with this key.
    pub(super) fn new(
        (access_key, secret_key): (&str, &str),
        region: &'static str,
        service: &'static str,
    ) -> Self {
        Self {
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
            region,
            service,
            derived: None,
        }
    }

    /// The value of the `Authorization` header.
    pub(super) fn authorization(&mut self, request: &Unsigned<'_>) -> String {
        let day = &request.time[..DAY_BYTES];
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let mut canonical = format!("{}\n{}\n\n", request.method, request.path);
        for (name, value) in request.headers {
            canonical.extend([name, ":", value, "\n"]);
        }
        canonical.extend(["\n", &names, "\n", &hex(&Sha256::digest(request.body))]);
        let digest = hex(&Sha256::digest(canonical));
        let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{digest}", request.time);
        let signature = hex(&mac(&self.key(day), to_sign.as_bytes()));
        let access_key = &self.access_key;
        format!(
            "{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
    }

    fn key(&mut self, day: &str) -> [u8; 32] {
        if let Some((known, key)) = &self.derived
            && known == day
        {
            return *key;
        }
        let mut key = mac(
            format!("AWS4{}", self.secret_key).as_bytes(),
            day.as_bytes(),
        );
        for part in [self.region, self.service, "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        self.derived = Some((day.to_owned(), key));
        key
    }
}

/// A time as `x-amz-date` says it: `20150830T123600Z`.
pub(super) fn timestamp(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    // Counted in years that begin in March, and eras of 400 of them.
    let z = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

fn mac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys may have any length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    let digits = bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]);
    digits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example `get-vanilla` of the published test suite.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let key = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let mut signer = Signer::new(key, "us-east-1", "service");
        let time = timestamp(1_440_938_160_000);
        let request = Unsigned {
            method: "GET",
            path: "/",
            headers: &[("host", "example.amazonaws.com"), ("x-amz-date", &time)],
            body: b"",
            time: &time,
        };
        let expected = "AWS4-HMAC-SHA256 \
            Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
            SignedHeaders=host;x-amz-date, \
            Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        for _ in 0..2 {
            assert_eq!(signer.authorization(&request), expected);
        }
    }

    #[test]
    fn times_are_said_as_signers_say_them() {
        for (unix_ms, text) in [
            (0, "19700101T000000Z"),
            (1_440_938_160_000, "20150830T123600Z"),
            (1_709_208_000_999, "20240229T120000Z"),
            (1_735_689_599_000, "20241231T235959Z"),
        ] {
            assert_eq!(timestamp(unix_ms), text);
        }
    }
}
