//! Arguments of `basic.consume` for those who read a queue's log: where they begin, and what they leave out.

use engine::queue::{Delivered, Position};

use super::age;
use crate::message;
use crate::wire::{Table, Value};

const OFFSET: &[u8] = b"x-stream-offset";
const FILTER: &[u8] = b"x-stream-filter";
const MATCH_UNFILTERED: &[u8] = b"x-stream-match-unfiltered";
/// The header whose value is filtered by.
const FILTER_VALUE: &[u8] = b"x-stream-filter-value";

/// How a consumer reads.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) from: Position,
    pub(crate) filter: Filter,
}

/// Which messages a consumer wants.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// Those with one of these values; absent: all.
    values: Option<Vec<Box<[u8]>>>,
    /// Those without a value too.
    takes_unmarked: bool,
}

impl Reading {
    /// How the arguments want the log read; none if they do not want that, and the queue is not there for it. Errors: why
    /// the position cannot be.
    pub(crate) fn of(
        arguments: &Table<'_>,
        is_stream: bool,
        now_ms: u64,
    ) -> Result<Option<Self>, &'static str> {
        let offset = arguments.find(OFFSET);
        if offset.is_none() && !is_stream {
            return Ok(None);
        }
        Ok(Some(Self {
            from: offset.map_or(Ok(Position::Next), |value| position(&value, now_ms))?,
            filter: Filter::of(arguments),
        }))
    }
}

fn position(value: &Value<'_>, now_ms: u64) -> Result<Position, &'static str> {
    match *value {
        Value::Timestamp(seconds) => Ok(Position::Time(seconds.saturating_mul(1000))),
        Value::Long(b"first") => Ok(Position::First),
        Value::Long(b"last") => Ok(Position::Last),
        Value::Long(b"next") => Ok(Position::Next),
        Value::Long(text) => {
            let age = age::ms(text).ok_or("invalid_max_age")?;
            Ok(Position::Time(now_ms.saturating_sub(age)))
        }
        ref other => {
            let number = other.integer().and_then(|n| u64::try_from(n).ok());
            number.map(Position::Offset).ok_or("invalid_offset_arg")
        }
    }
}

impl Filter {
    fn of(arguments: &Table<'_>) -> Self {
        let kept = |bytes: &[u8]| Box::from(bytes);
        let values = match arguments.find(FILTER) {
            Some(Value::Array(values)) => {
                let texts = values.iter().filter_map(|v| v.string().map(kept));
                Some(texts.collect())
            }
            Some(value) => value.string().map(|text| vec![kept(text)]),
            None => None,
        };
        Self {
            values,
            takes_unmarked: arguments.find(MATCH_UNFILTERED) == Some(Value::Bool(true)),
        }
    }

    /// Whether a message is wanted.
    pub(crate) fn takes(&self, message: &Delivered) -> bool {
        let mark = || message::header(message, FILTER_VALUE).map(AsRef::as_ref);
        self.values.is_none() || self.takes_mark(mark())
    }

    fn takes_mark(&self, mark: Option<&[u8]>) -> bool {
        let Some(values) = &self.values else {
            return true;
        };
        match mark {
            Some(mark) => values.iter().any(|value| **value == *mark),
            None => self.takes_unmarked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ArrayBuilder, TableBuilder};

    const NOW_MS: u64 = 10_000_000;

    fn table(values: &[(&[u8], Value<'_>)]) -> TableBuilder {
        let mut table = TableBuilder::new();
        for (name, value) in values {
            table.push(name, *value).unwrap();
        }
        table
    }

    fn begin(value: Value<'_>) -> Result<Position, &'static str> {
        let arguments = table(&[(OFFSET, value)]);
        let reading = Reading::of(&arguments.as_table(), false, NOW_MS)?;
        Ok(reading.unwrap().from)
    }

    #[test]
    fn a_position_has_many_forms() {
        for (value, expected) in [
            (Value::Long(b"first"), Ok(Position::First)),
            (Value::Long(b"last"), Ok(Position::Last)),
            (Value::Long(b"next"), Ok(Position::Next)),
            (Value::I32(7), Ok(Position::Offset(7))),
            (Value::I64(0), Ok(Position::Offset(0))),
            (Value::Timestamp(8), Ok(Position::Time(8000))),
            (Value::Long(b"1h"), Ok(Position::Time(NOW_MS - 3_600_000))),
            (Value::Long(b"1Y"), Ok(Position::Time(0))),
            (Value::Long(b"later"), Err("invalid_max_age")),
            (Value::I32(-1), Err("invalid_offset_arg")),
            (Value::Void, Err("invalid_offset_arg")),
        ] {
            assert_eq!(begin(value), expected, "{value:?}");
        }
    }

    #[test]
    fn streams_are_read_and_other_queues_when_asked_to() {
        let none = Table::EMPTY;
        assert!(Reading::of(&none, false, NOW_MS).unwrap().is_none());
        let reading = Reading::of(&none, true, NOW_MS).unwrap().unwrap();
        assert_eq!(reading.from, Position::Next);
    }

    #[test]
    fn messages_are_left_out_by_their_mark() {
        let mut both = ArrayBuilder::new();
        both.push(Value::Long(b"a")).unwrap();
        both.push(Value::Long(b"b")).unwrap();
        let both = Value::Array(both.as_array());
        let marks = [Some(&b"a"[..]), Some(b"b"), Some(b"c"), None];
        for (arguments, expected) in [
            (table(&[]), [true, true, true, true]),
            (
                table(&[(FILTER, Value::Long(b"a"))]),
                [true, false, false, false],
            ),
            (table(&[(FILTER, both)]), [true, true, false, false]),
            (
                table(&[(FILTER, both), (MATCH_UNFILTERED, Value::Bool(true))]),
                [true, true, false, true],
            ),
        ] {
            let filter = Filter::of(&arguments.as_table());
            assert_eq!(marks.map(|mark| filter.takes_mark(mark)), expected);
        }
    }
}
