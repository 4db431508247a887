//! Tells the binary from which commit it is built, so that `forebay --version` can say it.

#[allow(dead_code, reason = "the tests beside it use more of it")]
#[path = "src/commit.rs"]
mod commit;

use std::path::Path;

/// Lets a packager who builds from a tarball name the commit.
const VARIABLE: &str = "SOURCE_COMMIT";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/commit.rs");
    let found = commit::find(&root);
    for file in &found.files {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    let named = std::env::var(VARIABLE).ok();
    let named = named.and_then(|text| commit::parse(&text));
    let commit = named.or(found.commit);
    let short = commit.as_deref().map_or("unknown", commit::short);
    println!("cargo:rustc-env=FOREBAY_COMMIT={short}");
}
