//! Chores, in Rust: `cargo xtask <ci|tidy|codegen|conformance>`.

mod ci;
mod codegen;
mod conformance;
mod shell;
mod tidy;

use clap::Parser;

/// The chores of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Chore {
    /// Everything a change must pass, except the tests themselves.
    Ci,
    /// The house rules that no compiler knows.
    Tidy,
    /// Regenerate the Kafka codec from its schemas.
    Codegen {
        /// Change nothing; fail when the committed code is stale.
        #[arg(long)]
        check: bool,
    },
    /// Someone else's clients against the release binary.
    Conformance(conformance::Options),
}

fn main() -> anyhow::Result<()> {
    match Chore::parse() {
        Chore::Ci => ci::run(),
        Chore::Tidy => tidy::run(),
        Chore::Codegen { check } => codegen::run(check),
        Chore::Conformance(options) => conformance::run_suite(&options),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Chore::command().debug_assert();
    }
}
