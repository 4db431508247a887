//! Arguments of `queue.declare`: which there are, what each may be, and when two declarations mean the same queue.
//!
//! Every argument is taken whatever the type of the queue says, and one that is not known is kept and not looked at.
//! Refusals are worded as clients' tests expect them.

mod age;
mod check;
mod queue_type;
mod reading;
mod settings;

use queue_type::CLASSIC;

pub(crate) use check::{LIFETIME_MS_MAX, check, wrong_type};
pub(crate) use queue_type::{QUEUE_TYPE, QUORUM, STREAM};
pub(crate) use reading::{Filter, Reading};
pub(crate) use settings::{apply, declared, is_quorum, priority_of};

use crate::error::{Fault, Outcome, queue_text};
use crate::wire::{Table, Value};

/// Whether two declarations of a queue have equivalent arguments, in the order they are compared.
pub(crate) fn check_equivalent(
    (vhost, queue): (&str, &str),
    current: Table<'_>,
    received: Table<'_>,
) -> Outcome<()> {
    for name in check::names() {
        let (ours, theirs) = (value(current, name), value(received, name));
        if ours.is_some_and(|ours| theirs.is_some_and(|theirs| ours.is_equivalent(&theirs)))
            || ours.is_none() && theirs.is_none()
        {
            continue;
        }
        let bare = ours.is_some() && theirs.is_some();
        return Err(inequivalent(
            &String::from_utf8_lossy(name),
            &queue_text(vhost, queue),
            &shown_argument(theirs, bare),
            &shown_argument(ours, bare),
        ));
    }
    Ok(())
}

/// The fault of a declaration that differs.
pub(crate) fn inequivalent(name: &str, thing: &str, received: &str, current: &str) -> Fault {
    Fault::precondition(format!(
        "inequivalent arg '{name}' for {thing}: received {received} but current is {current}"
    ))
}

/// The value of an argument; the type of a queue has one even where none is given.
fn value<'a>(table: Table<'a>, name: &[u8]) -> Option<Value<'a>> {
    let found = table.find(name);
    if name == QUEUE_TYPE {
        return Some(found.unwrap_or(Value::Long(CLASSIC)));
    }
    found
}

/// A value in a reply text: bare where both sides have one.
pub(crate) fn shown_argument(value: Option<Value<'_>>, bare: bool) -> String {
    let Some(value) = value else {
        return "none".to_owned();
    };
    if bare {
        format!("'{}'", plain(&value))
    } else {
        format!(
            "the value '{}' of type '{}'",
            plain(&value),
            value.type_name()
        )
    }
}

/// A value as text.
pub(crate) fn plain(value: &Value<'_>) -> String {
    match *value {
        Value::Bool(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::Timestamp(value) => value.to_string(),
        Value::Decimal(scale, number) => decimal(scale, number),
        Value::Long(value) | Value::Bytes(value) => String::from_utf8_lossy(value).into_owned(),
        Value::Void => "undefined".to_owned(),
        Value::Table(_) | Value::Array(_) => "[]".to_owned(),
        Value::I8(_)
        | Value::U8(_)
        | Value::I16(_)
        | Value::U16(_)
        | Value::I32(_)
        | Value::U32(_)
        | Value::I64(_) => value.integer().unwrap_or_default().to_string(),
    }
}

/// A number with `scale` digits after the point.
fn decimal(scale: u8, number: u32) -> String {
    let digits = format!("{number:0>width$}", width = usize::from(scale) + 1);
    let (whole, part) = digits.split_at(digits.len() - usize::from(scale));
    if part.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{part}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::TableBuilder;

    fn table(values: &[(&str, Value<'_>)]) -> TableBuilder {
        let mut table = TableBuilder::new();
        for (name, value) in values {
            table.push(name.as_bytes(), *value).unwrap();
        }
        table
    }

    #[track_caller]
    fn equivalent(
        current: &[(&str, Value<'_>)],
        received: &[(&str, Value<'_>)],
        expected: Option<&str>,
    ) {
        let (current, received) = (table(current), table(received));
        let outcome = check_equivalent(("/", "gq"), current.as_table(), received.as_table());
        let text = outcome.err().map(|fault| fault.explanation);
        assert_eq!(text.as_deref(), expected);
    }

    #[test]
    fn declarations_are_compared_by_meaning() {
        let ttl = |n| ("x-message-ttl", Value::I32(n));
        equivalent(&[], &[], None);
        equivalent(&[ttl(5)], &[("x-message-ttl", Value::I64(5))], None);
        equivalent(&[("x-else", Value::Void)], &[], None);
        equivalent(&[], &[("x-queue-type", Value::Long(b"classic"))], None);
        equivalent(
            &[],
            &[ttl(1000)],
            Some(
                "inequivalent arg 'x-message-ttl' for queue 'gq' in vhost '/': received the value '1000' of type 'signedint' but current is none",
            ),
        );
        equivalent(
            &[ttl(1)],
            &[ttl(2)],
            Some(
                "inequivalent arg 'x-message-ttl' for queue 'gq' in vhost '/': received '2' but current is '1'",
            ),
        );
        equivalent(
            &[("x-queue-type", Value::Long(b"quorum"))],
            &[],
            Some(
                "inequivalent arg 'x-queue-type' for queue 'gq' in vhost '/': received 'classic' but current is 'quorum'",
            ),
        );
    }

    #[test]
    fn numbers_have_their_point() {
        assert_eq!(decimal(2, 12345), "123.45");
        assert_eq!(decimal(3, 7), "0.007");
        assert_eq!(decimal(0, 7), "7");
    }
}
