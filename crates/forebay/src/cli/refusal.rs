//! A refusal of the broker, in the words of the command line.

use std::fmt;

use serde_json::{Value, json};

use super::output::leaf;

/// A refusal of the broker.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The problem document.
    problem: Value,
    /// What it is about was given in the names of the API, not by flags.
    is_plain: bool,
}

impl Refusal {
    /// What an answer says, if it is a refusal of the API.
    pub(super) fn of(problem: Value) -> Option<Self> {
        let is_plain = false;
        problem["detail"]
            .is_string()
            .then_some(Self { problem, is_plain })
    }

    /// An error that, if it is a refusal, keeps the names of the API.
    pub(super) fn plain(mut error: anyhow::Error) -> anyhow::Error {
        if let Some(refusal) = error.downcast_mut::<Self>() {
            refusal.is_plain = true;
        }
        error
    }

    /// The document, with its reason in the words of the command line.
    pub(super) fn document(&self) -> Value {
        let mut document = self.problem.clone();
        document["detail"] = json!(self.to_string());
        document
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    /// Names are those of flags, and numbers have the units they are given in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = &self.problem;
        if self.is_plain {
            return f.write_str(problem["detail"].as_str().unwrap_or_default());
        }
        let name = problem["parameter"].as_str();
        if let Some((name, flag)) = name.and_then(|name| Some((name, flag(name)?))) {
            let shown = ["value", "min", "max"].map(|member| leaf(name, &problem[member]));
            let [value, min, max] = shown;
            return write!(f, "{flag} {value}: expected {min} to {max}");
        }
        f.write_str(&in_flags(problem["detail"].as_str().unwrap_or_default()))
    }
}

/// A text of the API with the names of flags in place of its own.
pub(super) fn in_flags(text: &str) -> String {
    let text = PHRASES.iter().fold(text.to_owned(), |text, (said, meant)| {
        text.replace(said, meant)
    });
    FLAGS.iter().fold(text, |text, (name, flag)| {
        text.replace(&format!("`{name}`"), &format!("`{flag}`"))
    })
}

/// What is one member of a member there, and a flag of its own here.
const PHRASES: &[(&str, &str)] = &[
    (
        "`dead_letter` needs `queue`",
        "`--attempts` needs `--dead-letter`",
    ),
    (
        "`dead_letter` needs `attempts_max`",
        "`--dead-letter` needs `--attempts`",
    ),
];

/// The API's names and the flags that set them; each flag means the same in every command.
const FLAGS: &[(&str, &str)] = &[
    ("lease_ms", "--lease"),
    ("delay_ms", "--delay"),
    ("retention_ms", "--retention"),
    ("retention_bytes", "--retention-bytes"),
    ("message_bytes_max", "--max-bytes"),
    ("in_flight_max", "--in-flight"),
    ("dedup_window_ms", "--dedup-window"),
    ("replay_ms", "--replay"),
    ("attempts_max", "--attempts"),
    ("backoff.base_ms", "--backoff base"),
    ("backoff.max_ms", "--backoff max"),
    ("priorities", "--priorities"),
    ("dead_letter", "--dead-letter"),
    ("wait_ms", "--wait"),
    ("rate_max", "--rate"),
    ("destination", "--to"),
    ("max", "--max"),
    ("dedup", "--dedup"),
    ("key", "--key"),
    ("from", "--from"),
    ("offset", "--to"),
    ("partition", "--partition"),
    ("force", "--force"),
    ("listener", "--listener"),
    ("type", "--type"),
    ("stream", "--stream"),
];

fn flag(name: &str) -> Option<&'static str> {
    let known = FLAGS.iter().find(|(known, _)| *known == name)?;
    Some(known.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(problem: Value, said: &str) {
        assert_eq!(Refusal::of(problem).unwrap().to_string(), said);
    }

    #[test]
    fn a_refusal_is_told_in_flags_and_units() {
        check(
            json!({ "detail": "there is no queue 'q'" }),
            "there is no queue 'q'",
        );
        check(
            json!({
                "detail": "`lease_ms` is 46800000: expected 0 to 43200000",
                "parameter": "lease_ms", "value": 46_800_000, "min": 0, "max": 43_200_000,
            }),
            "--lease 13h: expected 0ms to 12h",
        );
        check(
            json!({
                "detail": "", "parameter": "message_bytes_max",
                "value": 134_217_728, "min": 1, "max": 67_108_864,
            }),
            "--max-bytes 128MiB: expected 1 to 64MiB",
        );
        check(
            json!({ "detail": "in use: try `force`" }),
            "in use: try `--force`",
        );
        check(
            json!({ "detail": "`dead_letter` needs `queue`" }),
            "`--attempts` needs `--dead-letter`",
        );
        assert!(Refusal::of(json!({ "error": "x" })).is_none());
    }

    #[test]
    fn rules_have_the_names_of_the_api() {
        let problem = json!({ "detail": "expected `retention_ms` or `replay_ms`" });
        let refusal = Refusal::of(problem.clone()).unwrap();
        assert_eq!(refusal.to_string(), "expected `--retention` or `--replay`");
        let plain = Refusal::plain(refusal.into());
        assert_eq!(plain.to_string(), problem["detail"]);
    }
}
