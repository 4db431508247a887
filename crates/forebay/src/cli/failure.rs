//! Why a command failed, in the form its output was asked for.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::output::{Output, ReaderGone};
use super::refusal::Refusal;
use super::yaml;
use crate::logging;

/// What a shell shows for a process that SIGPIPE has ended.
const READER_GONE: u8 = 128 + 13;

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    error: anyhow::Error,
    output: Output,
}

impl Failure {
    /// Runs a command whose failure is shown as its output would be.
    pub(super) fn shown_as(
        output: Output,
        run: impl FnOnce() -> anyhow::Result<()>,
    ) -> Result<(), Self> {
        run().map_err(|error| Self { error, output })
    }

    /// Tells stderr, and what the process is to end with. Nothing is told when stdout has lost its reader: other tools
    /// end by SIGPIPE then.
    pub(crate) fn tell(&self) -> ExitCode {
        if self.error.is::<ReaderGone>() {
            return ExitCode::from(READER_GONE);
        }
        match self.text() {
            Some(document) => {
                let _ = io::stderr().write_all(document.as_bytes());
            }
            None => logging::fatal(&format!("{:#}", self.error)),
        }
        ExitCode::FAILURE
    }

    /// The document for scripts, if the output is for them.
    fn text(&self) -> Option<String> {
        let document = || json!({ "error": self.document() });
        match self.output {
            Output::Table => None,
            Output::Json => Some(format!("{}\n", document())),
            Output::Yaml => Some(yaml::write(&document())),
        }
    }

    /// The broker's refusal, or just the reason.
    fn document(&self) -> Value {
        match self.error.downcast_ref::<Refusal>() {
            Some(refusal) => refusal.document(),
            None => json!({ "detail": format!("{:#}", self.error) }),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let output = Output::Table;
        Self { error, output }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_failure_has_the_form_of_the_output() {
        let text = |output| {
            let error = anyhow!("no").context("cannot");
            Failure { error, output }.text()
        };
        assert_eq!(text(Output::Table), None);
        let json = "{\"error\":{\"detail\":\"cannot: no\"}}\n";
        assert_eq!(text(Output::Json).as_deref(), Some(json));
        let yaml = "error:\n  detail: \"cannot: no\"\n";
        assert_eq!(text(Output::Yaml).as_deref(), Some(yaml));
    }

    #[test]
    fn a_refusal_keeps_its_members() {
        let problem = json!({ "status": 409, "type": "urn:forebay:problem:exists", "detail": "x" });
        let failure = Failure {
            error: Refusal::of(problem.clone()).unwrap().into(),
            output: Output::Json,
        };
        let text = format!("{}\n", json!({ "error": problem }));
        assert_eq!(failure.text(), Some(text));
    }
}
