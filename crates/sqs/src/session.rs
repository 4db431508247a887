//! One request: which protocol it speaks, who sends it, what it asks, and how the answer is said.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, DATE, HOST, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use net::{HeldBytes, MEMBER_BYTES, Permit, SharedPermit, Uncollected};
use security::Principal;
use serde_json::{Value, json};
use tracing::field::display;

use crate::arn::{self, Namespace, UrlStyle};
use crate::context::{Context, Signatures};
use crate::error::{Fault, INVALID_PARAMETER, MALFORMED, Outcome, TOO_LARGE, UNKNOWN_OPERATION};
use crate::handlers::{self, Call, developer};
use crate::presence;
use crate::sigv4::{self, Signed};
use crate::wire::{self, Protocol, Request, Unreadable};

/// The last moment that a date of HTTP can say, ms since 1970.
const HTTP_DATE_MAX_MS: u64 = 253_402_300_799_000;
const JSON: &str = "application/x-amz-json-1.0";
const XML: &str = "text/xml";
const PLAIN_JSON: &str = "application/json";
/// Says that the client wants older codes and statuses beside the new names.
const QUERY_MODE: &str = "x-amzn-query-mode";

/// How the answer has to look.
struct Manner {
    protocol: Protocol,
    /// Of the Query protocol: the answer is to be JSON all the same.
    wants_json: bool,
    query_mode: bool,
    request_id: String,
    now_ms: u64,
}

/// The service: every path and method is its.
pub fn router(context: Arc<Context>) -> Router {
    Router::new().fallback(serve).with_state(context)
}

async fn serve(State(context): State<Arc<Context>>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    if let Some(answer) = presence::answer(&parts) {
        return answer;
    }
    let protocol = protocol(&parts);
    let manner = Manner {
        protocol,
        wants_json: protocol == Protocol::Query && wants_json(&parts),
        query_mode: parts.headers.contains_key(QUERY_MODE),
        request_id: context.broker.fresh_id().to_string(),
        now_ms: context.broker.wall_ms(),
    };
    let account = net::account_of(&parts.extensions);
    let mut permit = account.permit();
    let body = read(body, &mut permit, context.settings.request_bytes_max).await;
    if let Ok(body) = &body
        && developer::is_path(parts.uri.path())
    {
        let room = SharedPermit::new(&account);
        return peek((&context, &manner), &parts, body, room).await;
    }
    let request = body.and_then(|body| Ok((manner.read(&parts, &body)?, body)));
    let (request, body) = match request {
        Ok(read) => read,
        Err(fault) => {
            context.metrics.refused();
            log_refusal(&context, &parts, "", &fault);
            return manner.refuse(fault);
        }
    };
    let action = request.action.clone();
    let room = SharedPermit::new(&account);
    let outcome = match authenticate(&context, &parts, &body) {
        Ok(identity) => match call(&context, &parts, (identity, room.clone()), protocol) {
            Ok(call) => handlers::dispatch(&call, request).await,
            Err(fault) => Err(fault),
        },
        Err(fault) => {
            log_refusal(&context, &parts, &action, &fault);
            Err(fault)
        }
    };
    drop((body, permit));
    context.metrics.answered(&action, outcome.is_err());
    match outcome {
        Ok(result) => manner.answer(&action, &result, room.take()),
        Err(fault) => manner.refuse(fault),
    }
}

/// Answers who looks at messages without receiving them.
async fn peek(
    (context, manner): (&Context, &Manner),
    parts: &Parts,
    body: &Bytes,
    room: SharedPermit,
) -> Response {
    let ask = match developer::read(parts, body, manner.protocol == Protocol::Json) {
        Ok(ask) => ask,
        Err(fault) => return manner.refuse(fault),
    };
    let identity = authenticate(context, parts, body);
    let call = identity
        .and_then(|identity| call(context, parts, (identity, room.clone()), manner.protocol));
    let outcome = match call {
        Ok(call) => developer::messages(&call, ask).await,
        Err(fault) => Err(fault),
    };
    match outcome {
        Ok(result) => manner.answer("ReceiveMessage", &result, room.take()),
        Err(fault) => manner.refuse(fault),
    }
}

/// Requests from this size on are looked at for how much more they take once they are read.
const LARGE_BYTES: usize = 4 << 10;
/// Copies of a large request that are made on its way.
const COPIES: usize = 3;
/// Members and elements of one request; the largest legal one, a batch of ten messages with ten attributes each, has
/// about 500.
const MEMBERS_MAX: usize = 20_000;

/// The body, unless it is larger than allowed, with room for what becomes of it; one that says so is not waited for.
async fn read(body: Body, permit: &mut Permit, most: usize) -> Outcome<Bytes> {
    let fits = permit.account().budget().request_bytes_max();
    let most = most.min(fits / COPIES);
    let body = net::collect(body, permit, most).await;
    let body = body.map_err(|why| match why {
        Uncollected::TooLarge => {
            Fault::new(&TOO_LARGE, format!("A request has at most {most} bytes."))
        }
        Uncollected::Broken => Fault::new(&MALFORMED, "The body of the request did not arrive."),
    })?;
    if body.len() > LARGE_BYTES {
        let members = net::json_members(&body);
        if members > MEMBERS_MAX && body.trim_ascii_start().first() == Some(&b'{') {
            return Err(Fault::new(&MALFORMED, "too many members"));
        }
        let takes = body.len() * COPIES + members.min(MEMBERS_MAX) * MEMBER_BYTES;
        permit.grow_to(takes.min(fits).max(permit.bytes())).await;
    }
    Ok(body)
}

fn is_empty(result: &Value) -> bool {
    result.as_object().is_some_and(serde_json::Map::is_empty)
}

fn protocol(parts: &Parts) -> Protocol {
    let json = parts.headers.contains_key("x-amz-target")
        || header(&parts.headers, CONTENT_TYPE).is_some_and(|t| t.starts_with(JSON));
    if json {
        Protocol::Json
    } else {
        Protocol::Query
    }
}

/// Whether the client would rather have JSON than XML.
fn wants_json(parts: &Parts) -> bool {
    header(&parts.headers, ACCEPT).is_some_and(|accepted| {
        let kind = |one: &str| one.split(';').next().unwrap_or_default().trim().to_owned();
        let first = accepted.split(',').map(kind);
        let mut first =
            first.filter(|kind| matches!(&**kind, "application/json" | XML | "application/xml"));
        first.next().as_deref() == Some("application/json")
    })
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Logs that a request was not let in; its signature and its body stay out of the log.
fn log_refusal(context: &Context, parts: &Parts, action: &str, fault: &Fault) {
    let Some(suppressed) = context.refused_signatures.admit(context.broker.now_ms()) else {
        return;
    };
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|ConnectInfo(peer)| display(peer));
    let request = Signed {
        method: &parts.method,
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body: &[],
    };
    let claim = sigv4::claim(&request).ok().flatten();
    let access_key = claim
        .as_ref()
        .map(|claim| display(claim.access_key.escape_debug()));
    let action = Some(action).filter(|action| !action.is_empty());
    let action = action.map(|action| display(action.escape_debug()));
    tracing::warn!(
        peer,
        user = access_key,
        action,
        reason = %fault.shape.code,
        suppressed = NonZeroU64::new(suppressed),
        "request refused"
    );
}

/// Who sends a request.
struct Identity {
    principal: Principal,
    access_key: Option<String>,
    region: Option<String>,
}

fn authenticate(context: &Context, parts: &Parts, body: &[u8]) -> Outcome<Identity> {
    let request = Signed {
        method: &parts.method,
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body,
    };
    let verify = context.settings.signatures == Signatures::Verify;
    let claim = match sigv4::claim(&request) {
        Ok(claim) => claim,
        Err(fault) if verify => return Err(fault),
        Err(_) => None,
    };
    let Some(claim) = claim else {
        if verify {
            return Err(sigv4::unsigned());
        }
        return Ok(Identity {
            principal: Principal::anonymous(),
            access_key: None,
            region: None,
        });
    };
    let credentials = &context.settings.credentials;
    let known = credentials
        .iter()
        .find(|c| c.access_key == claim.access_key);
    if verify {
        sigv4::check_scope(&request, &claim)?;
        let secret = known.map(|credential| credential.secret_key.as_str());
        context
            .verifier
            .verify(&request, &claim, secret, context.broker.wall_ms())?;
    }
    let principal = known.map(|credential| credential.principal.clone());
    Ok(Identity {
        principal: principal.unwrap_or_else(Principal::anonymous),
        access_key: Some(claim.access_key),
        region: Some(claim.region).filter(|region| !region.is_empty()),
    })
}

fn call<'a>(
    context: &'a Context,
    parts: &'a Parts,
    (identity, room): (Identity, SharedPermit),
    protocol: Protocol,
) -> Outcome<Call<'a>> {
    let settings = &context.settings;
    let host = header(&parts.headers, HOST).unwrap_or("localhost");
    let base = settings.public_url.clone();
    let base = base.unwrap_or_else(|| format!("http://{host}"));
    let path = parts.uri.path();
    let trace = parts.headers.get("x-amzn-trace-id");
    Ok(Call {
        context,
        base_url: base.trim_end_matches('/').to_owned(),
        url_style: url_style(settings.url_style, host, path),
        path_queue: arn::in_path(path),
        is_query: protocol == Protocol::Query,
        trace: trace.and_then(|trace| trace.to_str().ok()),
        namespace: caller(context, &identity, host)?,
        principal: identity.principal,
        access_key: identity.access_key,
        room,
    })
}

/// Whose queues a request is about that does not say it. The account is that of the key, if it is one: emulators have
/// clients tell their accounts so.
fn caller(context: &Context, identity: &Identity, host: &str) -> Outcome<Namespace> {
    let home = &context.home.0;
    let key = identity.access_key.as_ref();
    let account = key.filter(|key| arn::is_account(key));
    let of_host = || arn::region_in_host(host).map(|(_, region, _)| region.to_owned());
    let region = identity.region.clone().or_else(of_host);
    if let Some(region) = region.as_ref().filter(|region| !arn::is_region(region)) {
        let message = format!("There is no region '{region}'.");
        return Err(Fault::new(&INVALID_PARAMETER, message));
    }
    Ok(Namespace {
        account: account.unwrap_or(&home.account).clone(),
        region: region.unwrap_or_else(|| home.region.clone()),
    })
}

/// How the addresses in an answer say their region.
fn url_style(set: UrlStyle, host: &str, path: &str) -> UrlStyle {
    if set != UrlStyle::Dynamic {
        return set;
    }
    let by_path = arn::in_path(path).is_some_and(|queue| queue.region.is_some());
    let by_host = arn::region_in_host(host).map(|(style, _, _)| style);
    by_host.unwrap_or(if by_path {
        UrlStyle::Path
    } else {
        UrlStyle::Host
    })
}

impl Manner {
    fn read(&self, parts: &Parts, body: &Bytes) -> Outcome<Request> {
        let request = match self.protocol {
            Protocol::Json => {
                let target = parts.headers.get("x-amz-target");
                let target = target.and_then(|t| t.to_str().ok()).unwrap_or_default();
                wire::decode_json(target, body)
            }
            Protocol::Query => {
                let query = parts.uri.query().unwrap_or_default().as_bytes();
                let form = header(&parts.headers, CONTENT_TYPE)
                    .is_none_or(|t| t.starts_with("application/x-www-form-urlencoded"));
                if form && parts.method != Method::GET {
                    wire::decode_query(&[query, body])
                } else {
                    wire::decode_query(&[query])
                }
            }
        };
        request.map_err(|unreadable| match unreadable {
            Unreadable::NoAction => {
                Fault::new(&UNKNOWN_OPERATION, "The request names no operation.")
            }
            Unreadable::Malformed(why) => Fault::new(&MALFORMED, why),
        })
    }

    /// `room` is what was taken for the answer.
    fn answer(&self, action: &str, result: &Value, room: Permit) -> Response {
        let (kind, body) = match self.protocol {
            // Clients parse what an action with a result answers, and nothing is no JSON.
            Protocol::Json if is_empty(result) && !wire::has_result(action) => {
                (JSON, String::new())
            }
            Protocol::Json => (JSON, result.to_string()),
            Protocol::Query if self.wants_json => {
                let said = wire::encode_query_json(action, result, &self.request_id);
                (PLAIN_JSON, said.to_string())
            }
            Protocol::Query => (XML, wire::encode_xml(action, result, &self.request_id)),
        };
        if body.len() <= LARGE_BYTES {
            return self.response(StatusCode::OK, kind, body);
        }
        let takes = body.capacity();
        let body = HeldBytes::of(body.into_bytes(), takes, room);
        self.response(StatusCode::OK, kind, body)
    }

    fn refuse(&self, fault: Fault) -> Response {
        let Fault { shape, message } = fault;
        let json = self.protocol == Protocol::Json;
        // A client that does not know of the older codes sees one status for all its mistakes.
        let collapses = json && !self.query_mode && !shape.ours && shape.status != 413;
        let status = if collapses { 400 } else { shape.status };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        if !json {
            let message = if *shape == crate::error::QUEUE_DOES_NOT_EXIST {
                "The specified queue does not exist for this wsdl version.".to_owned()
            } else {
                message
            };
            if self.wants_json {
                let error = (shape.code, &*message, shape.ours);
                let said = wire::encode_query_json_error(error, &self.request_id);
                return self.response(status, PLAIN_JSON, said.to_string());
            }
            let body = if *shape == UNKNOWN_OPERATION {
                "<UnknownOperationException/>\n".to_owned()
            } else {
                wire::encode_xml_error(shape.code, &message, shape.ours, &self.request_id)
            };
            return self.response(status, XML, body);
        }
        let space = if shape.modelled {
            "com.amazonaws.sqs"
        } else {
            "com.amazon.coral.service"
        };
        let body = json!({ "__type": format!("{space}#{}", shape.name), "message": message });
        let mut response = self.response(status, JSON, body.to_string());
        let side = if shape.ours { "Receiver" } else { "Sender" };
        if let Ok(code) = HeaderValue::from_str(&format!("{};{side}", shape.code)) {
            response.headers_mut().insert("x-amzn-query-error", code);
        }
        response
    }

    fn response(&self, status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            headers.insert("x-amzn-requestid", id);
        }
        if let Ok(date) = HeaderValue::from_str(&http_date(self.now_ms)) {
            headers.insert(DATE, date);
        }
        response
    }
}

/// A time as HTTP says it.
fn http_date(now_ms: u64) -> String {
    let now = UNIX_EPOCH + Duration::from_millis(now_ms.min(HTTP_DATE_MAX_MS));
    httpdate::fmt_http_date(now)
}

#[cfg(test)]
mod tests {
    use axum::body::HttpBody;
    use axum::http::Extensions;

    use super::*;

    fn permit() -> Permit {
        net::account_of(&Extensions::new()).permit()
    }

    #[test]
    fn what_clients_parse_is_never_nothing() {
        let manner = Manner {
            protocol: Protocol::Json,
            wants_json: false,
            query_mode: true,
            request_id: "id".into(),
            now_ms: 0,
        };
        for (action, bytes) in [("ReceiveMessage", 2), ("ListQueues", 2), ("TagQueue", 0)] {
            let answer = manner.answer(action, &json!({}), permit());
            let size = HttpBody::size_hint(answer.body()).exact();
            assert_eq!(size, Some(bytes), "{action}");
        }
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_not_waited_for() {
        let body = || Body::from("0123456789");
        let mut room = permit();
        let whole = read(body(), &mut room, 10).await.unwrap();
        assert_eq!(&whole[..], b"0123456789");
        let fault = read(body(), &mut room, 9).await.unwrap_err();
        assert_eq!(*fault.shape, TOO_LARGE);
    }

    #[test]
    fn dates_are_said_as_http_says_them() {
        assert_eq!(http_date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(
            http_date(1_709_208_000_000),
            "Thu, 29 Feb 2024 12:00:00 GMT"
        );
        // A clock that is far off is no reason to fall.
        assert_eq!(http_date(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
