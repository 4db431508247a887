//! Members of another type than an action wants, in the words in which the service refuses them.

use std::fmt;

use serde::Deserializer;
use serde::de::{self, Unexpected, Visitor};

/// What is wanted where a whole number is.
const INTEGER: &str = "a whole number";
const LIST: &str = "Start of list found where not expected";
const STRUCTURE: &str = "Start of structure or map found where not expected.";
const NOT_JSON: &str = "The request is not valid JSON.";
/// A value where a list or a structure is wanted.
const VALUE: &str = "Unexpected field type";

/// A whole number, said as a number or as text. What stands behind a point is cut off, as the service does.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    from.deserialize_any(Number)
}

struct Number;

impl Visitor<'_> for Number {
    type Value = Option<i64>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(INTEGER)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Option<i64>, E> {
        Ok(Some(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Option<i64>, E> {
        Ok(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "it saturates, and is bounded by its action"
    )]
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Option<i64>, E> {
        Ok(Some(value as i64))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Option<i64>, E> {
        let number = value.parse().map(Some);
        number.map_err(|_| E::invalid_type(Unexpected::Str(value), &self))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Option<i64>, E> {
        Ok(None)
    }
}

/// What the service says of members that cannot be read.
pub(super) fn said(error: &serde_json::Error) -> String {
    if !error.is_data() {
        return NOT_JSON.to_owned();
    }
    let text = error.to_string();
    // Where it was is of no use to a client whose library wrote the request.
    let text = text.split(" at line ").next().unwrap_or_default();
    let parts = text.strip_prefix("invalid type: ");
    let Some((found, wanted)) = parts.and_then(|parts| parts.rsplit_once(", expected ")) else {
        return text.to_owned();
    };
    let value = match found.split([' ', '`']).next().unwrap_or_default() {
        "sequence" => return LIST.to_owned(),
        "map" => return STRUCTURE.to_owned(),
        "string" => "STRING_VALUE",
        "boolean" if found.contains("true") => "TRUE_VALUE",
        "boolean" => "FALSE_VALUE",
        "null" | "unit" => "NULL_VALUE",
        _ => "NUMBER_VALUE",
    };
    match wanted {
        INTEGER => format!("{value} can not be converted to an Integer"),
        "a string" | "a borrowed string" => format!("{value} can not be converted to a String"),
        "a boolean" => format!("{value} can not be converted to a Boolean"),
        _ => VALUE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Asked {
        #[serde(deserialize_with = "number")]
        count: Option<i64>,
        name: Option<String>,
        names: Option<Vec<String>>,
    }

    fn read(text: &str) -> Result<Asked, String> {
        serde_json::from_str(text).map_err(|error| said(&error))
    }

    #[test]
    fn whole_numbers_come_in_several_forms() {
        for (text, count) in [
            ("10", Some(10)),
            ("-1", Some(-1)),
            ("\"7\"", Some(7)),
            ("1.5", Some(1)),
            ("1e400000", None),
            ("null", None),
            ("99999999999999999999", Some(i64::MAX)),
        ] {
            let asked = read(&format!(r#"{{"count":{text}}}"#));
            assert_eq!(asked.unwrap_or_default().count, count, "{text}");
        }
        assert_eq!(read("{}"), Ok(Asked::default()));
    }

    #[test]
    fn other_types_are_refused_in_the_words_of_the_service() {
        for (text, said) in [
            (
                r#"{"count":true}"#,
                "TRUE_VALUE can not be converted to an Integer",
            ),
            (
                r#"{"count":false}"#,
                "FALSE_VALUE can not be converted to an Integer",
            ),
            (
                r#"{"count":"ten"}"#,
                "STRING_VALUE can not be converted to an Integer",
            ),
            (r#"{"count":[]}"#, LIST),
            (r#"{"count":{}}"#, STRUCTURE),
            (
                r#"{"name":5}"#,
                "NUMBER_VALUE can not be converted to a String",
            ),
            (
                r#"{"name":1.5}"#,
                "NUMBER_VALUE can not be converted to a String",
            ),
            (
                r#"{"name":true}"#,
                "TRUE_VALUE can not be converted to a String",
            ),
            (r#"{"name":["a, expected b"]}"#, LIST),
            (r#"{"names":"a"}"#, VALUE),
            (r#"{"names":{}}"#, STRUCTURE),
            (r#"{"names":"#, NOT_JSON),
            (r#"{"names":[}"#, NOT_JSON),
            (r#"{"name":"a"} b"#, NOT_JSON),
            ("{'name':'a'}", NOT_JSON),
            ("\u{0}", NOT_JSON),
            (
                r#"{"names":[5]}"#,
                "NUMBER_VALUE can not be converted to a String",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), said, "{text}");
        }
    }
}
