//! The Query protocol's requests: a form whose names spell out a tree.
//!
//! `Attribute.1.Name=DelaySeconds&Attribute.1.Value=5` becomes `{"Attributes": {"DelaySeconds": "5"}}`. Every value is
//! text; handlers accept numbers as text.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Members, Request, Unreadable};

/// Parameters in one request; the largest legal one, a batch of ten messages with ten attributes each, has about 400.
const PARAMETERS_MAX: usize = 4000;
/// Parts of one name.
const DEPTH_MAX: usize = 8;

/// How the parts of a list are put together.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A list of texts.
    List,
    /// A list of structures.
    Structures,
    /// A map, from what these two members say.
    Map(&'static str, &'static str),
}

/// Lists by their name in a form: what they are called elsewhere, and what they are.
const LISTS: &[(&str, &str, Kind)] = &[
    ("Attribute", "Attributes", Kind::Map("Name", "Value")),
    ("AttributeName", "AttributeNames", Kind::List),
    (
        "MessageAttribute",
        "MessageAttributes",
        Kind::Map("Name", "Value"),
    ),
    (
        "MessageSystemAttribute",
        "MessageSystemAttributes",
        Kind::Map("Name", "Value"),
    ),
    ("MessageAttributeName", "MessageAttributeNames", Kind::List),
    (
        "MessageSystemAttributeName",
        "MessageSystemAttributeNames",
        Kind::List,
    ),
    ("SendMessageBatchRequestEntry", "Entries", Kind::Structures),
    (
        "DeleteMessageBatchRequestEntry",
        "Entries",
        Kind::Structures,
    ),
    (
        "ChangeMessageVisibilityBatchRequestEntry",
        "Entries",
        Kind::Structures,
    ),
    ("AWSAccountId", "AWSAccountIds", Kind::List),
    ("ActionName", "Actions", Kind::List),
    ("Tag", "Tags", Kind::Map("Key", "Value")),
    ("TagKey", "TagKeys", Kind::List),
];

/// A tree of names.
#[derive(Debug, Default)]
struct Node {
    text: Option<String>,
    children: BTreeMap<String, Self>,
}

/// Reads a request out of forms: the query string's and the body's.
pub(crate) fn decode(forms: &[&[u8]]) -> Result<Request, Unreadable> {
    let mut root = Node::default();
    let mut count = 0;
    for pair in forms.iter().flat_map(|form| form.split(|b| *b == b'&')) {
        if pair.is_empty() {
            continue;
        }
        count += 1;
        if count > PARAMETERS_MAX {
            return Err(Unreadable::Malformed("too many parameters".into()));
        }
        let split = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(split);
        let name = unescape(name)?;
        let value = unescape(value.get(1..).unwrap_or_default())?;
        insert(&mut root, &name, value)?;
    }
    let action = root.children.remove("Action").and_then(|node| node.text);
    let action = action.ok_or(Unreadable::NoAction)?;
    root.children.remove("Version");
    Ok(Request {
        action,
        members: Members::Tree(members(root)?),
    })
}

fn insert(root: &mut Node, name: &str, value: String) -> Result<(), Unreadable> {
    let mut node = root;
    for (depth, part) in name.split('.').enumerate() {
        if depth >= DEPTH_MAX {
            return Err(Unreadable::Malformed(
                "a parameter's name is too deep".into(),
            ));
        }
        // Numbers keep their order as text of equal length.
        let part = match part.parse::<u32>() {
            Ok(number) => format!("{number:010}"),
            Err(_) => part.to_owned(),
        };
        node = node.children.entry(part).or_default();
    }
    node.text = Some(value);
    Ok(())
}

fn members(node: Node) -> Result<Map<String, Value>, Unreadable> {
    let mut members = Map::new();
    for (name, child) in node.children {
        let of_form = LISTS.iter().find(|(form, _, _)| *form == name);
        match of_form {
            // Clients write a list without items as its name and nothing.
            _ if is_empty_list(&name, &child) => {}
            Some((_, member, kind)) => {
                let items = list(&name, child, *kind)?;
                members.insert((*member).to_owned(), items);
            }
            None if LISTS.iter().any(|(_, member, _)| *member == name) => {
                return Err(not_a_list(&name));
            }
            None => {
                members.insert(name, value(child)?);
            }
        }
    }
    Ok(members)
}

fn not_a_list(name: &str) -> Unreadable {
    Unreadable::Malformed(format!(
        "the parameter {name} is not written as its list is"
    ))
}

fn is_empty_list(name: &str, node: &Node) -> bool {
    let is_list = |(form, member, _): &(&str, &str, Kind)| *form == name || *member == name;
    LISTS.iter().any(is_list) && node.children.is_empty() && node.text.as_deref() == Some("")
}

fn value(node: Node) -> Result<Value, Unreadable> {
    match node.text {
        Some(text) => Ok(Value::String(text)),
        None => members(node).map(Value::Object),
    }
}

/// The items of a list: `X.1`, `X.2` and so on, or `X.member.1`; an only item may stand without a number.
fn items(node: Node) -> Vec<Node> {
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let mut items = Vec::new();
    let mut only = Node {
        text: node.text,
        children: BTreeMap::new(),
    };
    let mut numbered = Vec::new();
    for (part, child) in node.children {
        if is_number(&part) {
            numbered.push(child);
        } else if part == "member" {
            numbered.extend(self::items(child));
        } else {
            only.children.insert(part, child);
        }
    }
    if only.text.is_some() || !only.children.is_empty() {
        items.push(only);
    }
    items.extend(numbered);
    items
}

fn list(name: &str, node: Node, kind: Kind) -> Result<Value, Unreadable> {
    let items = items(node).into_iter();
    match kind {
        Kind::List => {
            let texts =
                items.map(|item| item.text.map(Value::String).ok_or_else(|| not_a_list(name)));
            texts.collect()
        }
        Kind::Structures => {
            let structures = items.map(|item| match item.text {
                Some(_) => Err(not_a_list(name)),
                None => members(item).map(Value::Object),
            });
            structures.collect()
        }
        Kind::Map(key, of) => {
            let mut map = Map::new();
            for mut item in items {
                let key = item.children.remove(key).and_then(|key| key.text);
                let key = key.ok_or_else(|| not_a_list(name))?;
                let of = item.children.remove(of).map_or(Ok(Value::Null), value)?;
                if !item.children.is_empty() || item.text.is_some() {
                    return Err(not_a_list(name));
                }
                map.insert(key, of);
            }
            Ok(Value::Object(map))
        }
    }
}

fn unescape(bytes: &[u8]) -> Result<String, Unreadable> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = after.split_at_checked(2).and_then(|(digits, after)| {
                    rest = after;
                    let digits = std::str::from_utf8(digits).ok()?;
                    u8::from_str_radix(digits, 16).ok()
                });
                let byte = digits.ok_or_else(|| Unreadable::Malformed("a bad escape".into()))?;
                out.push(byte);
            }
            byte => out.push(*byte),
        }
    }
    String::from_utf8(out).map_err(|_| Unreadable::Malformed("not UTF-8".into()))
}
