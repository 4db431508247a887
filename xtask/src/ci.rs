//! `cargo xtask ci`: everything a change must pass besides the test command of the README.

use crate::shell::{self, cargo};
use crate::tidy;

/// Cheapest first, so that a slip is told within seconds.
pub(crate) fn run() -> anyhow::Result<()> {
    shell::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run()?;
    shell::run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    shell::run(
        cargo(&["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    // Reference pages are written from code; these tests fail when a page is stale.
    shell::run(&mut cargo(&[
        "test",
        "--quiet",
        "--package",
        "forebay",
        "--bin",
        "forebay",
        "--",
        "is_fresh",
    ]))?;
    // A test that cannot fail proves nothing: the crash rounds must find a broker that acknowledges too early.
    shell::run(&mut cargo(&[
        "test",
        "--quiet",
        "--package",
        "forebay",
        "--features",
        "failpoints",
        "--test",
        "it",
        "--",
        "an_ack_before_sync",
    ]))
}
