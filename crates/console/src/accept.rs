//! What a client wants to read: the `Accept` header of a request.

use axum::http::{HeaderMap, header};

/// Media ranges of a request that are looked at.
const RANGES_MAX: usize = 32;

/// The media ranges a client accepts, each with its quality in thousandths. None at all accepts everything.
#[derive(Debug, Default)]
pub(crate) struct Accept {
    ranges: Vec<(String, u16)>,
}

impl Accept {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        let ranges = texts.flat_map(|text| text.split(','));
        Self {
            ranges: ranges.take(RANGES_MAX).filter_map(range).collect(),
        }
    }

    /// How much a media type is wanted, in thousandths: the most specific range decides.
    pub(crate) fn quality(&self, media: &str) -> u16 {
        if self.ranges.is_empty() {
            return 1000;
        }
        let (kind, _) = media.split_once('/').unwrap_or((media, ""));
        let any_of_kind = format!("{kind}/*");
        let of = |wanted: &str| self.ranges.iter().find(|(range, _)| range == wanted);
        let best = of(media).or_else(|| of(&any_of_kind)).or_else(|| of("*/*"));
        best.map_or(0, |(_, quality)| *quality)
    }

    /// The most wanted of several media types; of those wanted equally the first.
    pub(crate) fn choose<'m>(&self, offered: &[&'m str]) -> Option<&'m str> {
        let wanted = offered
            .iter()
            .rev()
            .map(|media| (self.quality(media), *media));
        let best = wanted.filter(|(quality, _)| *quality > 0);
        best.max_by_key(|(quality, _)| *quality)
            .map(|(_, media)| media)
    }
}

fn range(text: &str) -> Option<(String, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().filter(|media| !media.is_empty())?;
    let quality = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("q")
            .then(|| thousandths(value))
    });
    Some((media.to_ascii_lowercase(), quality.unwrap_or(1000)))
}

/// `0.75` is 750; what cannot be read counts as nothing.
fn thousandths(text: &str) -> u16 {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{fraction:0<3}");
    let fraction = digits
        .get(..3)
        .and_then(|digits| digits.parse::<u16>().ok());
    match (whole, fraction) {
        ("1", _) => 1000,
        ("0", Some(fraction)) => fraction,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accept(text: &str) -> Accept {
        let mut headers = HeaderMap::new();
        if !text.is_empty() {
            headers.insert(header::ACCEPT, HeaderValue::from_str(text).unwrap());
        }
        Accept::of(&headers)
    }

    #[test]
    fn the_most_specific_range_decides() {
        let accept =
            accept("text/*;q=0.3, text/html;level=1;q=0.7, */*;q=0.5, a/b;q=0, c/d; Q=1.0");
        for (media, quality) in [
            ("text/html", 700),
            ("text/plain", 300),
            ("image/png", 500),
            ("a/b", 0),
            ("c/d", 1000),
        ] {
            assert_eq!(accept.quality(media), quality, "{media}");
        }
    }

    #[test]
    fn the_first_of_equals_is_chosen() {
        let offered = ["text/plain", "application/json", "text/html"];
        for (header, chosen) in [
            ("", Some("text/plain")),
            ("*/*", Some("text/plain")),
            ("application/json", Some("application/json")),
            (
                "text/html,application/xhtml+xml,*/*;q=0.8",
                Some("text/html"),
            ),
            ("image/png", None),
            (
                "text/plain;q=nonsense, text/html;q=0.001",
                Some("text/html"),
            ),
        ] {
            assert_eq!(accept(header).choose(&offered), chosen, "{header}");
        }
    }
}
