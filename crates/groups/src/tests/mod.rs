//! Tests of groups. Scenarios are transcripts: commands, and below them what they brought about.
//!
//! ```text
//! join a                        a new client `a` joins; ids are made as `a-1`, `b-2`, ...
//! wait 3s                       time passes, every deadline on the way is met
//! > a: joined g1 leader=a-1 as a-1 members=a-1
//! ```

mod codec;
mod generations;
mod members;
mod offsets;
mod random;
mod restarts;
mod stage;
mod statics;

use stage::Stage;

/// Plays the commands of a transcript and compares what happens with what it says.
#[track_caller]
fn check(transcript: &str) {
    let lines: Vec<&str> = transcript
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let mut stage = Stage::default();
    let mut actual = Vec::new();
    for line in lines.iter().filter(|line| !line.starts_with('>')) {
        actual.push((*line).to_owned());
        if !line.starts_with('#') {
            actual.extend(
                stage
                    .play(line)
                    .into_iter()
                    .map(|reply| format!("> {reply}")),
            );
        }
    }
    assert!(
        actual == lines,
        "expected:\n{}\n\nhappened:\n{}\n",
        lines.join("\n"),
        actual.join("\n")
    );
}
