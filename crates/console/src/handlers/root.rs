//! `/`: what this is, and what can be asked here, for people, for scripts and for browsers.

use std::fmt::Write;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};

use crate::accept::Accept;
use crate::metrics::BuildInfo;
use crate::state::{Overview, State};

/// Path, and what is there.
const PLACES: [(&str, &str); 4] = [
    (
        "/api/v1",
        "JSON API: queues, topics, groups, vhosts, exchanges, connections, policies",
    ),
    ("/metrics", "metrics for Prometheus"),
    ("/readyz", "whether clients may come, and why not"),
    ("/livez", "whether the process works"),
];

const PLAIN: &str = "text/plain";
const JSON: &str = "application/json";
const HTML: &str = "text/html";

pub(crate) async fn show(Shared(state): Shared<State>, headers: HeaderMap) -> Response {
    let overview = &state.overview;
    let mut answer = match Accept::of(&headers).choose(&[PLAIN, JSON, HTML]) {
        Some(HTML) => Html(overview.html()).into_response(),
        Some(JSON) => Json(overview.json()).into_response(),
        _ => overview.text().into_response(),
    };
    let varies = header::HeaderValue::from_static("accept");
    answer.headers_mut().insert(header::VARY, varies);
    answer
}

/// A path that leads nowhere.
pub(crate) async fn nowhere(uri: Uri) -> (StatusCode, String) {
    let path = uri.path();
    let text = format!("there is nothing at {path}; `GET /` lists what there is\n");
    (StatusCode::NOT_FOUND, text)
}

impl Overview {
    fn text(&self) -> String {
        let BuildInfo {
            version,
            commit,
            profile,
        } = self.build;
        let mut text = format!("Forebay {version}, commit {commit}, profile {profile}\n\n");
        // A string takes all that is written into it.
        for (name, address) in &self.addresses {
            let _ = writeln!(text, "{name:8} {address}");
        }
        text.push('\n');
        for (path, what) in PLACES {
            let _ = writeln!(text, "{path:8} {what}");
        }
        text
    }

    fn json(&self) -> Value {
        let listeners = self.addresses.iter();
        let listeners = listeners.map(|(name, address)| ((*name).to_owned(), json!(address)));
        let places = PLACES.iter();
        let places = places.map(|(path, what)| ((*path).to_owned(), json!(what)));
        json!({
            "name": "forebay",
            "version": self.build.version,
            "commit": self.build.commit,
            "profile": self.build.profile,
            "listeners": listeners.collect::<serde_json::Map<_, _>>(),
            "paths": places.collect::<serde_json::Map<_, _>>(),
        })
    }

    /// Every text in it is ours: nothing needs to be escaped.
    fn html(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Forebay</title>\n\
             <h1>Forebay {}</h1>\n<p>Commit {}, profile {}.</p>\n<h2>Listeners</h2>\n<ul>\n",
            self.build.version, self.build.commit, self.build.profile
        );
        for (name, address) in &self.addresses {
            let _ = writeln!(page, "<li>{name}: {address}</li>");
        }
        page.push_str("</ul>\n<h2>Here</h2>\n<ul>\n");
        for (path, what) in PLACES {
            let _ = writeln!(page, "<li><a href=\"{path}\">{path}</a>: {what}</li>");
        }
        page.push_str("</ul>\n</html>\n");
        page
    }
}
