//! What all batches have in common: how many entries, how they are distinguished, how each is answered.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::error::{
    EMPTY_BATCH, Fault, IDS_NOT_DISTINCT, INVALID_ENTRY_ID, Outcome, TOO_MANY_ENTRIES,
};

const ENTRIES_MAX: usize = 10;
const ID_MAX: usize = 80;

/// Checks the ids of a batch's entries.
pub(super) fn check(entry: &str, ids: &[Option<&str>]) -> Outcome<()> {
    if ids.is_empty() {
        let message = format!("There should be at least one {entry} in the request.");
        return Err(Fault::new(&EMPTY_BATCH, message));
    }
    if ids.len() > ENTRIES_MAX {
        let message = format!(
            "Maximum number of entries per request are {ENTRIES_MAX}. You have sent {}.",
            ids.len()
        );
        return Err(Fault::new(&TOO_MANY_ENTRIES, message));
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let mut seen = HashSet::new();
    for id in ids {
        let id = id.ok_or_else(|| Fault::missing("Id"))?;
        if id.is_empty() || id.len() > ID_MAX || !id.bytes().all(legal) {
            return Err(Fault::new(
                &INVALID_ENTRY_ID,
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.",
            ));
        }
        if !seen.insert(id) {
            return Err(Fault::new(&IDS_NOT_DISTINCT, format!("Id {id} repeated.")));
        }
    }
    Ok(())
}

/// The answer: what went well, and what did not. The service leaves empty lists out.
pub(super) fn answer(outcomes: Vec<(String, Outcome<Value>)>) -> Value {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (id, outcome) in outcomes {
        match outcome {
            Ok(mut value) => {
                value["Id"] = Value::String(id);
                good.push(value);
            }
            Err(fault) => bad.push(json!({
                "Id": id,
                "SenderFault": !fault.shape.ours,
                "Code": fault.shape.code,
                "Message": fault.message,
            })),
        }
    }
    let mut answer = Map::new();
    for (name, list) in [("Successful", good), ("Failed", bad)] {
        if !list.is_empty() {
            answer.insert(name.to_owned(), Value::Array(list));
        }
    }
    Value::Object(answer)
}
