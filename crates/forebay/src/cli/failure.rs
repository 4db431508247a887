//! Why a command failed, in the form its output was asked for.

use serde_json::{Value, json};

use super::output::Output;
use super::remote::Refusal;
use super::yaml;

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

    /// What stderr is told, with a line end.
    pub(crate) fn text(&self) -> String {
        match self.output {
            Output::Table => format!("forebay: {:#}\n", self.error),
            Output::Json => format!("{}\n", json!({ "error": self.document() })),
            Output::Yaml => yaml::write(&json!({ "error": self.document() })),
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
        assert_eq!(text(Output::Table), "forebay: cannot: no\n");
        assert_eq!(
            text(Output::Json),
            "{\"error\":{\"detail\":\"cannot: no\"}}\n"
        );
        assert_eq!(text(Output::Yaml), "error:\n  detail: \"cannot: no\"\n");
    }

    #[test]
    fn a_refusal_keeps_its_members() {
        let problem = json!({ "status": 409, "type": "urn:forebay:problem:exists", "detail": "x" });
        let failure = Failure {
            error: Refusal::of(problem.clone()).unwrap().into(),
            output: Output::Json,
        };
        assert_eq!(failure.text(), format!("{}\n", json!({ "error": problem })));
    }
}
