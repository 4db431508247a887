//! A message between the service's form and the engine's: attributes become headers, and their checksums are made.
//!
//! An attribute is a header of its name with the plain value, so that clients of other protocols can read it. Types
//! other than `String` stand in a reserved header beside it. A header from elsewhere becomes a `String` if it is text
//! the service allows, else `Binary`. A body that is no such text is delivered in base 64, and an attribute
//! `Forebay.Encoding` says so.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use engine::queue::{Delivered, RESERVED};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

use crate::error::{Fault, INVALID_PARAMETER, Outcome};
use crate::sigv4::hex;

/// Attributes of one message.
const ATTRIBUTES_MAX: usize = 10;
/// Longest name and longest type of an attribute.
const NAME_MAX: usize = 256;
const TYPE_PREFIX: &[u8] = b"forebay.type.";
const SENDER: &[u8] = b"forebay.sender";
const TRACE: &[u8] = b"forebay.trace";
const ENCODING: &str = "Forebay.Encoding";
/// Attribute that gives a message's priority, where its queue has priorities.
pub(crate) const PRIORITY: &str = "Forebay.Priority";

/// What is said about a text that [`is_allowed`] refuses.
pub(crate) const NOT_ALLOWED: &str = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | [#x20 to #xD7FF] | [#xE000 to #xFFFD] | [#x10000 to #x10FFFF]";

/// Twenty digits that rise with the engine's sequence.
pub(crate) fn sequence_number(sequence: u64) -> String {
    const FIRST: u128 = 18_850_000_000_000_000_000;
    (FIRST + u128::from(sequence) * 256).to_string()
}

/// An attribute's value as clients send and get it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AttributeValue {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) string_value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) binary_value: Option<String>,
    #[serde(default)]
    pub(crate) data_type: Option<String>,
}

impl AttributeValue {
    /// Bytes that count for the size of a message, whether or not the value can be read.
    pub(crate) fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        // Four digits stand for three bytes.
        let padding = |digits: &String| digits.bytes().rev().take_while(|b| *b == b'=').count();
        let binary = self.binary_value.as_ref();
        let binary = binary.map_or(0, |digits| (digits.len() - padding(digits)) * 3 / 4);
        text(&self.data_type) + text(&self.string_value) + binary
    }
}

/// Attributes by name.
pub(crate) type Attributes = BTreeMap<String, AttributeValue>;

fn invalid(message: String) -> Fault {
    Fault::new(&INVALID_PARAMETER, message)
}

/// A checked attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attribute {
    name: String,
    data_type: String,
    value: Bytes,
}

impl Attribute {
    fn is_binary(&self) -> bool {
        self.data_type.starts_with("Binary")
    }

    /// Bytes that count for the size of a message.
    pub(crate) fn bytes(&self) -> usize {
        self.name.len() + self.data_type.len() + self.value.len()
    }

    /// The name it was given.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The plain value.
    pub(crate) fn value(&self) -> &[u8] {
        &self.value
    }

    fn shown(&self) -> AttributeValue {
        let text = || String::from_utf8_lossy(&self.value).into_owned();
        let binary = self.is_binary();
        AttributeValue {
            string_value: (!binary).then(text),
            binary_value: binary.then(|| STANDARD.encode(&self.value)),
            data_type: Some(self.data_type.clone()),
        }
    }
}

/// Checks the attributes of a message to send.
pub(crate) fn check_attributes(attributes: Attributes) -> Outcome<Vec<Attribute>> {
    if attributes.len() > ATTRIBUTES_MAX {
        let count = attributes.len();
        return Err(invalid(format!(
            "Number of message attributes [{count}] exceeds the allowed maximum [{ATTRIBUTES_MAX}]."
        )));
    }
    attributes.into_iter().map(check_attribute).collect()
}

/// Checks system attributes, whose names are the service's own.
pub(crate) fn check_system_attributes(attributes: Attributes) -> Outcome<Vec<Attribute>> {
    attributes.into_iter().map(check_value).collect()
}

fn check_attribute((name, given): (String, AttributeValue)) -> Outcome<Attribute> {
    check_attribute_name(&name)?;
    check_value((name, given))
}

fn check_value((name, given): (String, AttributeValue)) -> Outcome<Attribute> {
    let data_type = given.data_type.filter(|t| !t.is_empty()).ok_or_else(|| {
        invalid(format!(
            "The message attribute '{name}' must contain non-empty message attribute type."
        ))
    })?;
    let base = data_type.split('.').next().unwrap_or_default();
    if !matches!(base, "String" | "Number" | "Binary") || data_type.len() > NAME_MAX {
        return Err(invalid(format!(
            "The type of message (user) attribute '{name}' is invalid. You must use only the following supported type prefixes: Binary, Number, String."
        )));
    }
    let value = if base == "Binary" {
        let text = given.binary_value.unwrap_or_default();
        STANDARD.decode(text).map_err(|_| {
            invalid(format!(
                "The value of message attribute '{name}' is not base64."
            ))
        })?
    } else {
        given.string_value.unwrap_or_default().into_bytes()
    };
    if value.is_empty() {
        return Err(invalid(format!(
            "Message (user) attribute '{name}' must contain a non-empty value of type '{base}'."
        )));
    }
    // Not the code that a body with such characters is refused with.
    if base != "Binary" && !std::str::from_utf8(&value).is_ok_and(is_allowed) {
        return Err(invalid(NOT_ALLOWED.to_owned()));
    }
    if base == "Number" && !is_number(&value) {
        return Err(invalid(format!(
            "Can't cast the value of message (user) attribute '{name}' to a number."
        )));
    }
    Ok(Attribute {
        name,
        data_type,
        value: Bytes::from(value),
    })
}

fn is_number(value: &[u8]) -> bool {
    let text = std::str::from_utf8(value).unwrap_or_default();
    text.parse::<f64>().is_ok_and(f64::is_finite)
}

fn check_attribute_name(name: &str) -> Outcome<()> {
    if name.len() > NAME_MAX {
        return Err(invalid(format!(
            "Message (user) attribute name can not be longer than {NAME_MAX} characters"
        )));
    }
    if !is_attribute_name(name) {
        return Err(invalid(format!(
            "Message (user) attribute name '{name}' contains characters, a prefix or dots that are not allowed: it can contain A-Z, a-z, 0-9, underscore (_), hyphen (-), and period (.), and must not begin with AWS., Amazon. or {RESERVED}"
        )));
    }
    Ok(())
}

fn is_attribute_name(name: &str) -> bool {
    // Letters of Latin alphabets with their marks, too, as the service takes them.
    let letter = |c: char| c.is_ascii_alphanumeric() || ('\u{c0}'..='\u{17f}').contains(&c);
    let legal = |c: char| letter(c) || matches!(c, '_' | '-' | '.');
    let lower = name.to_ascii_lowercase();
    (1..=NAME_MAX).contains(&name.len())
        && name.chars().all(legal)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        // Headers whose names begin like that are the broker's own.
        && !name.starts_with(RESERVED)
        && !lower.starts_with("aws.")
        && !lower.starts_with("amazon.")
}

/// The first byte of U+FFFE and U+FFFF in UTF-8.
const FIRST_OF_FFFE: u8 = 0xef;

/// Whether a text has only characters that can travel as XML 1.0.
pub(crate) fn is_allowed(text: &str) -> bool {
    let is_control = |b: u8| b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r');
    // Bodies are long, and most have nothing that needs a second look. Without a way out, the loops look at many bytes at
    // once.
    let ends = |(least, most): (u8, u8), b: u8| (least.min(b), most.max(b));
    let (least, most) = text.bytes().fold((u8::MAX, 0), ends);
    let has_control = least < 0x20 && text.bytes().fold(false, |any, b| any | is_control(b));
    let has_noncharacter = || text.contains('\u{FFFE}') || text.contains('\u{FFFF}');
    !has_control && (most < FIRST_OF_FFFE || !has_noncharacter())
}

/// The headers of a message to send.
pub(crate) fn headers(
    attributes: &[Attribute],
    sender: Option<&str>,
    trace: Option<&str>,
) -> Vec<(Bytes, Bytes)> {
    let mut headers = Vec::with_capacity(attributes.len() + 2);
    for attribute in attributes {
        let name = Bytes::copy_from_slice(attribute.name.as_bytes());
        headers.push((name, attribute.value.clone()));
        if attribute.data_type != "String" {
            let name = [TYPE_PREFIX, attribute.name.as_bytes()].concat();
            let data_type = Bytes::copy_from_slice(attribute.data_type.as_bytes());
            headers.push((Bytes::from(name), data_type));
        }
    }
    let own = [(SENDER, sender), (TRACE, trace)];
    headers.extend(own.into_iter().filter_map(|(name, value)| {
        let value = Bytes::copy_from_slice(value?.as_bytes());
        Some((Bytes::from_static(name), value))
    }));
    headers
}

/// What a delivered message looks like to clients.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) body: String,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) sender: Option<String>,
    pub(crate) trace: Option<String>,
}

/// Reads a delivered message.
pub(crate) fn show(delivered: &Delivered) -> Shown {
    let find = |name: &[u8]| {
        let found = delivered.headers.iter().find(|(n, _)| n == name);
        found.and_then(|(_, value)| value.as_ref())
    };
    let text = |name| find(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let mut attributes: Vec<Attribute> = Vec::new();
    for (name, value) in &delivered.headers {
        let Ok(name) = std::str::from_utf8(name) else {
            continue;
        };
        let (Some(value), false) = (value, name.starts_with(RESERVED)) else {
            continue;
        };
        let known = attributes.iter().any(|a| a.name == name);
        if known || value.is_empty() || !is_attribute_name(name) {
            continue;
        }
        let typed = find(&[TYPE_PREFIX, name.as_bytes()].concat());
        let typed = typed.and_then(|t| std::str::from_utf8(t).ok());
        let is_text = std::str::from_utf8(value).is_ok_and(is_allowed);
        let guess = if is_text { "String" } else { "Binary" };
        attributes.push(Attribute {
            name: name.to_owned(),
            data_type: typed.unwrap_or(guess).to_owned(),
            value: value.clone(),
        });
    }
    let plain = std::str::from_utf8(&delivered.body)
        .ok()
        .filter(|t| is_allowed(t));
    let body = plain.map_or_else(|| STANDARD.encode(&delivered.body), str::to_owned);
    if plain.is_none() {
        attributes.push(Attribute {
            name: ENCODING.to_owned(),
            data_type: "String".to_owned(),
            value: Bytes::from_static(b"base64"),
        });
    }
    attributes.sort_by(|a, b| a.name.cmp(&b.name));
    Shown {
        body,
        attributes,
        sender: text(SENDER),
        trace: text(TRACE),
    }
}

/// The attributes a receiver asked for: `All`, `*`, `.*`, `prefix.*`, or by name.
pub(crate) fn filter(attributes: Vec<Attribute>, wanted: &[String]) -> Vec<Attribute> {
    let is_wanted = |name: &str| {
        wanted.iter().any(|wanted| match wanted.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => wanted == "All" || wanted == "*" || wanted == name,
        })
    };
    attributes
        .into_iter()
        .filter(|a| is_wanted(&a.name))
        .collect()
}

/// Attributes as clients get them.
pub(crate) fn shown(attributes: &[Attribute]) -> Attributes {
    attributes
        .iter()
        .map(|a| (a.name.clone(), a.shown()))
        .collect()
}

/// Checksum of a body.
pub(crate) fn md5_of_body(body: &[u8]) -> String {
    hex(&Md5::digest(body))
}

/// Checksum of attributes, in order of their names: name, type and value, each behind its length, and a byte that says
/// text from bytes before the value. `None` when there are none.
pub(crate) fn md5_of_attributes(attributes: &[Attribute]) -> Option<String> {
    if attributes.is_empty() {
        return None;
    }
    let mut sorted: Vec<&Attribute> = attributes.iter().collect();
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut digest = Md5::new();
    for attribute in sorted {
        update(&mut digest, attribute.name.as_bytes());
        update(&mut digest, attribute.data_type.as_bytes());
        digest.update([if attribute.is_binary() { 2 } else { 1 }]);
        update(&mut digest, &attribute.value);
    }
    Some(hex(&digest.finalize()))
}

fn update(digest: &mut Md5, part: &[u8]) {
    digest.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    digest.update(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(name: &str, data_type: &str, value: &str) -> (String, AttributeValue) {
        let binary = data_type.starts_with("Binary");
        let value = value.to_owned();
        let given = AttributeValue {
            string_value: (!binary).then(|| value.clone()),
            binary_value: binary.then(|| STANDARD.encode(&value)),
            data_type: Some(data_type.to_owned()),
        };
        (name.to_owned(), given)
    }

    fn checked(given: &[(&str, &str, &str)]) -> Outcome<Vec<Attribute>> {
        check_attributes(given.iter().map(|(n, t, v)| attribute(n, t, v)).collect())
    }

    #[test]
    fn checksums_are_those_the_service_gives() {
        assert_eq!(md5_of_body(b""), "d41d8cd98f00b204e9800998ecf8427e");
        let timestamp = checked(&[("timestamp", "Number", "1493147359900")]).unwrap();
        assert_eq!(
            md5_of_attributes(&timestamp).unwrap(),
            "235c5c510d26fb653d073faed50ae77c"
        );
        assert_eq!(md5_of_attributes(&[]), None);
    }

    #[test]
    fn texts_have_only_what_xml_can_bear() {
        let long = "x".repeat(100);
        for (middle, allowed) in [
            ("", true),
            ("\t\n\r ", true),
            ("\u{7f}\u{80}\u{d7ff}\u{e000}", true),
            ("\u{feff}\u{ff01}\u{fffd}\u{10000}\u{10ffff}", true),
            ("\0", false),
            ("\u{8}", false),
            ("\u{b}", false),
            ("\u{1f}", false),
            ("\n\u{1f}", false),
            ("\u{fffe}", false),
            ("\u{ffff}", false),
            ("\u{10000}\u{ffff}", false),
        ] {
            for text in [middle.to_owned(), format!("{long}{middle}{long}")] {
                assert_eq!(is_allowed(&text), allowed, "{middle:?}");
            }
        }
    }

    #[test]
    fn values_count_as_they_are_and_not_as_they_travel() {
        for value in ["x", "xy", "xyz", "wxyz"] {
            for kind in ["String", "Binary"] {
                let (name, given) = attribute("name", kind, value);
                let bytes = name.len() + given.bytes();
                assert_eq!(checked(&[(&name, kind, value)]).unwrap()[0].bytes(), bytes);
            }
        }
    }

    #[test]
    fn attributes_have_rules() {
        for (name, data_type, value) in [
            ("a", "String", "x"),
            ("A-b_c.d", "String.custom", "x"),
            ("größe", "String", "x"),
            ("n", "Number", "-1.5e3"),
            ("n", "Number.int", "1"),
            ("b", "Binary.gif", "x"),
        ] {
            checked(&[(name, data_type, value)]).unwrap();
        }
        for (name, data_type, value) in [
            ("", "String", "x"),
            (".a", "String", "x"),
            ("a.", "String", "x"),
            ("a..b", "String", "x"),
            ("AWS.x", "String", "x"),
            ("amazon.x", "String", "x"),
            ("forebay.x", "String", "x"),
            ("a b", "String", "x"),
            ("日付", "String", "x"),
            ("a", "Text", "x"),
            ("a", "", "x"),
            ("a", "String", ""),
            ("a", "Number", "one"),
            ("a", "String", "\u{1}"),
        ] {
            checked(&[(name, data_type, value)]).expect_err(name);
        }
        let control = checked(&[("a", "String", "\u{1}")]).unwrap_err();
        assert_eq!(
            (control.shape.name, &*control.message),
            ("InvalidParameterValueException", NOT_ALLOWED)
        );
        let eleven: Vec<String> = (0..11).map(|i| format!("a{i}")).collect();
        let eleven: Vec<_> = eleven.iter().map(|n| (n.as_str(), "String", "x")).collect();
        checked(&eleven).expect_err("too many");
        checked(&eleven[..10]).unwrap();
    }

    #[test]
    fn filters_select_by_name_and_prefix() {
        let all = checked(&[
            ("a.x", "String", "1"),
            ("a.y", "String", "2"),
            ("b", "String", "3"),
        ])
        .unwrap();
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|w| (*w).to_owned()).collect();
            let kept = filter(all.clone(), &wanted);
            kept.iter().map(|a| a.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&["All"]).len(), 3);
        assert_eq!(names(&[".*"]).len(), 3);
        assert_eq!(names(&["*"]).len(), 3);
        assert_eq!(names(&["a.*"]), ["a.x", "a.y"]);
        assert_eq!(names(&["b", "c"]), ["b"]);
        assert_eq!(names(&[]).len(), 0);
    }
}
