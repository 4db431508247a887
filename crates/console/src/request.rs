//! A request of `/api/v1` before a handler sees it: may it come from a browser, and can it be read?
//!
//! Under the `dev` profile every client that reaches the listener may do everything, and the pages that a browser shows
//! on the same machine reach it too. Two rules keep them out, beside the absence of any header that would let them in:
//! a request that changes something says that it brings JSON, which a page of another origin cannot say without asking
//! first; and the host it was sent to is an address or a name without a dot (`localhost`, a container's name), which a
//! page that has made its own name point here cannot arrange: such names are not to be had in public.

use std::task::{Context, Poll};

use axum::body::{self, Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use engine::{Room, vhost};
use net::{Account, HeldBytes, Permit, SharedPermit, Uncollected};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::error::{MALFORMED, NOT_JSON, Problem, TOO_LARGE, WRONG_HOST};

/// Largest request, bytes. A message that comes in base 64 needs a third more than it has.
pub(crate) const REQUEST_BYTES_MAX: usize = 16 << 20;
/// Copies of a request that are made on its way …
const COPIES: usize = 3;
/// … and of a message on its way into an answer, where it may take more bytes than it has.
const ANSWER_COPIES: usize = 4;
/// Bytes of messages, or of records, in one answer at most.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Members and elements of one request: a thousand messages with twenty headers each fit.
const MEMBERS_MAX: usize = 100_000;

/// Refuses what a browser may have been tricked into sending; keeps answers out of caches. Request and answer have room
/// in memory while they are here.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let account = net::account_of(request.extensions());
    let mut permit = account.permit();
    let room = AnswerRoom::new(&account);
    let request = match check(&request) {
        Ok(()) => read(request, &mut permit).await,
        Err(problem) => Err(problem),
    };
    let mut response = match request {
        Ok(mut request) => {
            request.extensions_mut().insert(room.clone());
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    drop(permit);
    if room.permit.bytes() > 0 {
        response = hold(response, room.permit.take()).await;
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A request whose body is there, with room for what becomes of it.
async fn read(request: Request, permit: &mut Permit) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let fits = permit.account().budget().request_bytes_max();
    let most = REQUEST_BYTES_MAX.min(fits / COPIES);
    let body = net::collect(body, permit, most).await;
    let body = body.map_err(|why| match why {
        Uncollected::TooLarge => {
            Problem::new(&TOO_LARGE, format!("a request has at most {most} bytes"))
        }
        Uncollected::Broken => Problem::new(&MALFORMED, "the body did not arrive"),
    })?;
    let members = net::json_members(&body);
    if members > MEMBERS_MAX {
        let why = format!("a request has at most {MEMBERS_MAX} members and elements");
        return Err(Problem::invalid(why));
    }
    let takes = body.len() * COPIES + members * net::MEMBER_BYTES;
    permit.grow_to(takes.min(fits).max(permit.bytes())).await;
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// Has an answer hold its room until it is sent.
async fn hold(response: Response, permit: Permit) -> Response {
    let (parts, body) = response.into_parts();
    // Made here, and in one piece.
    let body = body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let takes = body.len();
    let held = HeldBytes::of(body, takes, permit);
    Response::from_parts(parts, Body::from(held))
}

/// Room for messages in an answer, out of the connection's account.
#[derive(Clone, Debug)]
pub(crate) struct AnswerRoom {
    permit: SharedPermit,
    /// Bytes of messages, or of records, in one answer at most; the first one may exceed it.
    bytes_max: usize,
}

impl AnswerRoom {
    fn new(account: &Account) -> Self {
        let fits = account.budget().request_bytes_max() / ANSWER_COPIES;
        Self {
            permit: SharedPermit::new(account),
            bytes_max: ANSWER_BYTES_MAX.min(fits),
        }
    }

    /// Bytes of messages, or of records, in one answer at most.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

impl Room for AnswerRoom {
    fn try_take(&self, bytes: usize) -> bool {
        let taken = self.permit.bytes() / ANSWER_COPIES;
        // However large the first is, it is the only way to get on.
        let fits = taken == 0 || taken + bytes <= self.bytes_max;
        fits && self.permit.try_take(bytes * ANSWER_COPIES)
    }

    fn poll_take(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        self.permit.poll_take(cx, bytes * ANSWER_COPIES)
    }

    fn give_back(&self, bytes: usize) {
        self.permit.give_back(bytes * ANSWER_COPIES);
    }

    fn bytes_max(&self) -> usize {
        self.permit.bytes_max() / ANSWER_COPIES
    }
}

fn check(request: &Request) -> Result<(), Problem> {
    let host = request.headers().get(HOST);
    if host.is_some_and(|host| !host.to_str().is_ok_and(is_here)) {
        let detail =
            "the host of a request must be an IP address, `localhost` or a name without a dot";
        return Err(Problem::new(&WRONG_HOST, detail));
    }
    // A form cannot delete.
    let brings_nothing = [Method::GET, Method::HEAD, Method::DELETE];
    if !brings_nothing.contains(request.method()) && !is_json(request.headers()) {
        let detail = "a request that changes something needs `content-type: application/json`";
        return Err(Problem::new(&NOT_JSON, detail));
    }
    Ok(())
}

/// Whether a name in `Host` cannot be one that an attacker has made point here.
fn is_here(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(ipv6) => ipv6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_local = !name.is_empty() && !name.contains('.');
    is_local && !host.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// The JSON body of a request; nothing at all is an empty object.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|rejection| {
            let kind = match rejection.status() {
                StatusCode::PAYLOAD_TOO_LARGE => &TOO_LARGE,
                _ => &MALFORMED,
            };
            Problem::new(kind, rejection.body_text())
        })?;
        parse(&body).map(Self)
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => Problem::invalid(in_words(&error.to_string())),
        Category::Io | Category::Syntax | Category::Eof => {
            Problem::new(&MALFORMED, format!("the body is not JSON: {error}"))
        }
    })
}

/// How the reader of queries begins every refusal.
const QUERY_PREFIX: &str = "Failed to deserialize query string: ";
/// What the reader of requests calls kinds of values, and what they are called in JSON.
const KINDS: &[(&str, &str)] = &[
    ("expected u64", COUNT),
    ("expected u32", COUNT),
    ("expected u16", COUNT),
    ("expected u8", COUNT),
    ("expected usize", COUNT),
    ("expected i64", "expected a whole number"),
    ("expected i32", "expected a whole number"),
    ("expected a map", "expected an object"),
    ("expected a sequence", "expected a list"),
    ("expected a boolean", "expected `true` or `false`"),
    ("expected struct ", "expected an object for "),
    ("invalid digit found in string", COUNT),
    (
        "provided string was not `true` or `false`",
        "expected `true` or `false`",
    ),
];
const COUNT: &str = "expected a whole number that is not negative";

/// A refusal of the reader's without the words of its language.
fn in_words(text: &str) -> String {
    let text = text.strip_prefix(QUERY_PREFIX).unwrap_or(text);
    let known = KINDS.iter();
    known.fold(text.to_owned(), |text, (theirs, ours)| {
        text.replace(theirs, ours)
    })
}

/// Why what stands behind the `?` cannot be read.
fn unreadable(text: &str) -> Problem {
    let why = format!("the query of the request: {}", in_words(text));
    Problem::new(&MALFORMED, why)
}

/// What stands behind the `?`.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(unreadable(&rejection.body_text())),
        }
    }
}

/// The queue a path names, in the vhost that stands behind the `?`: the name by which the broker knows it.
#[derive(Debug)]
pub(crate) struct QueueName(pub(crate) String);

/// Which vhost, whatever else stands behind the `?`.
#[derive(Debug, Deserialize)]
struct InVhost {
    vhost: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for QueueName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let malformed = |text: String| Problem::new(&MALFORMED, text);
        let asked = Query::<InVhost>::try_from_uri(&parts.uri);
        let Query(asked) = asked.map_err(|rejection| unreadable(&rejection.body_text()))?;
        // A path may name more than the queue.
        let named = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
        let Path(named) = named.map_err(|rejection| malformed(rejection.body_text()))?;
        let name = named.into_iter().find(|(key, _)| key == "name");
        let (_, name) = name.ok_or_else(|| malformed("the path names no queue".to_owned()))?;
        let vhost = asked.vhost.as_deref().unwrap_or(vhost::DEFAULT);
        Ok(Self(vhost::qualify(vhost, &name)))
    }
}

/// What stands behind the `?` of a queue's path, beside its vhost.
#[derive(Debug)]
pub(crate) struct QueueParams<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueueParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let pairs = parts.uri.query().unwrap_or_default().split('&');
        let others: Vec<&str> = pairs.filter(|pair| !pair.starts_with("vhost=")).collect();
        // What was behind one `?` can stand behind another.
        let uri = format!("/?{}", others.join("&"))
            .parse()
            .unwrap_or_default();
        match Query::try_from_uri(&uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(rejection) => Err(unreadable(&rejection.body_text())),
        }
    }
}

/// What the path names.
#[derive(Debug)]
pub(crate) struct Place<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Place<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(place)) => Ok(Self(place)),
            Err(rejection) => Err(Problem::new(&MALFORMED, rejection.body_text())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        #[serde(default)]
        max: u32,
    }

    #[test]
    fn a_body_is_read_or_refused_by_name() {
        assert_eq!(parse::<Example>(b"").unwrap(), Example { max: 0 });
        assert_eq!(parse::<Example>(b"{\"max\":3}").unwrap().max, 3);
        let unknown = parse::<Example>(b"{\"maximum\":3}").unwrap_err();
        assert_eq!(unknown.kind.status.as_u16(), 422);
        assert!(unknown.detail.contains("`maximum`"), "{unknown:?}");
        for broken in ["{", "nonsense", "{\"max\":"] {
            let problem = parse::<Example>(broken.as_bytes()).unwrap_err();
            assert_eq!(problem.kind, &MALFORMED, "{broken}");
        }
    }

    #[test]
    fn refusals_have_no_words_of_a_programming_language() {
        let wrong = parse::<Example>(b"{\"max\":\"three\"}").unwrap_err();
        let said = "expected a whole number that is not negative";
        assert!(wrong.detail.contains(said), "{wrong:?}");
        let query = |uri: &str| {
            let read = Query::<Example>::try_from_uri(&uri.parse().unwrap());
            unreadable(&read.unwrap_err().body_text()).detail
        };
        let begins = "the query of the request: ";
        assert_eq!(query("/?max=three"), format!("{begins}max: {said}"));
        let unknown = query("/?most=3");
        let expected = format!("{begins}most: unknown field `most`, expected `max`");
        assert_eq!(unknown, expected);
    }

    #[test]
    fn only_addresses_and_names_without_a_dot_are_here() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]:8080",
            "10.0.0.1:1",
            "forebay:8080",
        ] {
            assert!(is_here(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8080",
            "evil.",
            ":8080",
            "[evil.example]:8080",
        ] {
            assert!(!is_here(host), "{host}");
        }
    }

    #[test]
    fn forms_bring_no_json() {
        let with = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
            is_json(&headers)
        };
        assert!(with("application/json"));
        assert!(with("Application/JSON; charset=utf-8"));
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "text/plain; application/json",
            "application/jsonp",
        ] {
            assert!(!with(kind), "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
