//! Reads a schema file. Its grammar is in `crates/kafka/schema/README.md`.

use std::iter::Peekable;

use anyhow::{Context as _, Result, bail, ensure};

use super::schema::{Field, Schema, Struct, Type, Versions};

/// A line worth reading: its indentation in steps, and its text.
struct Line<'t> {
    depth: usize,
    text: &'t str,
}

/// What stands above the fields.
#[derive(Default)]
struct Preamble {
    name: Option<String>,
    key: Option<i16>,
    versions: Option<Versions>,
    advertised: Option<Versions>,
    flexible_from: Option<i16>,
}

pub(super) fn parse(text: &str) -> Result<Schema> {
    let doc: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix('#'))
        .map(str::trim)
        .collect();
    let mut lines = text.lines().filter_map(line).peekable();
    let preamble = preamble(&mut lines)?;
    let name = preamble.name.context("no `api` or `message` line")?;
    let versions = preamble.versions.context("no `versions` line")?;
    let mut structs = Vec::new();
    while let Some(section) = lines.next() {
        ensure!(section.depth == 0, "unexpected `{}`", section.text);
        let name = match section.text.split_once(' ') {
            None if section.text == "request" => format!("{name}Request"),
            None if section.text == "response" => format!("{name}Response"),
            None if section.text == "fields" => name.clone(),
            Some(("struct", name)) => name.to_owned(),
            _ => bail!("unknown section `{}`", section.text),
        };
        let place = structs.len();
        let mut parts = Vec::new();
        let fields = fields(&mut lines, 1, versions, &mut parts)?;
        structs.push(Struct {
            name,
            versions,
            fields,
        });
        structs.append(&mut parts);
        ensure!(!structs[place].fields.is_empty() || place < 2, "no fields");
    }
    for (place, part) in structs.iter().enumerate() {
        let again = structs.iter().skip(place + 1).any(|s| s.name == part.name);
        ensure!(!again, "struct {} is declared twice", part.name);
    }
    Ok(Schema {
        doc: doc.join("\n"),
        name,
        key: preamble.key,
        versions,
        advertised: preamble.advertised.unwrap_or(versions),
        flexible_from: preamble.flexible_from,
        structs,
    })
}

fn line(text: &str) -> Option<Line<'_>> {
    let content = text.trim();
    let indent = text.len() - text.trim_start().len();
    (!content.is_empty() && !content.starts_with('#')).then_some(Line {
        depth: indent / 2,
        text: content,
    })
}

fn preamble<'t>(lines: &mut Peekable<impl Iterator<Item = Line<'t>>>) -> Result<Preamble> {
    let mut found = Preamble::default();
    let directive = |line: &Line<'t>| {
        let (word, rest) = line.text.split_once(' ')?;
        (word != "struct").then_some((word, rest))
    };
    while let Some((word, rest)) = lines.peek().and_then(directive) {
        let all = Versions {
            min: 0,
            max: i16::MAX,
        };
        match word {
            "api" | "message" => found.name = Some(rest.to_owned()),
            "key" => found.key = Some(rest.parse()?),
            "versions" => found.versions = Some(versions(rest, all)?),
            "advertise" => found.advertised = Some(versions(rest, all)?),
            "flexible" if rest == "never" => {}
            "flexible" => found.flexible_from = Some(versions(rest, all)?.min),
            _ => bail!("unknown line `{word} {rest}`"),
        }
        lines.next();
    }
    Ok(found)
}

/// Reads the fields at `depth`, and into `parts` the structs declared below them.
fn fields<'t>(
    lines: &mut Peekable<impl Iterator<Item = Line<'t>>>,
    depth: usize,
    outer: Versions,
    parts: &mut Vec<Struct>,
) -> Result<Vec<Field>> {
    let mut fields = Vec::new();
    while lines.peek().is_some_and(|line| line.depth == depth) {
        let Some(line) = lines.next() else { break };
        let field = field(line.text, outer).with_context(|| line.text.to_owned())?;
        if lines.peek().is_some_and(|next| next.depth > depth) {
            let name = struct_name(&field.kind).context("only a struct has fields")?;
            let place = parts.len();
            let mut below = Vec::new();
            let inner = self::fields(lines, depth + 1, field.versions, &mut below)?;
            parts.push(Struct {
                name: name.to_owned(),
                versions: field.versions,
                fields: inner,
            });
            parts.append(&mut below);
            ensure!(!parts[place].fields.is_empty(), "{name} has no fields");
        }
        fields.push(field);
    }
    Ok(fields)
}

fn struct_name(kind: &Type) -> Option<&str> {
    match kind {
        Type::Struct(name) => Some(name),
        Type::Array(element) => struct_name(element),
        _ => None,
    }
}

fn field(text: &str, outer: Versions) -> Result<Field> {
    let (name, rest) = text.split_once(':').context("no colon")?;
    let mut attributes = rest.split(',').map(str::trim);
    let head = attributes.next().unwrap_or_default();
    let (kind, default) = match head.split_once(" = ") {
        Some((kind, default)) => (kind, Some(default.to_owned())),
        None => (head, None),
    };
    let (kind, may_be_null) = match kind.strip_suffix('?') {
        Some(kind) => (kind, true),
        None => (kind, kind == "records"),
    };
    let kind = kind_of(kind)?;
    match default.as_deref() {
        Some("null") => ensure!(may_be_null, "null without `?`"),
        Some(value) if !matches!(kind, Type::Scalar(..)) => {
            bail!("default `{value}` for this type")
        }
        _ => {}
    }
    let mut field = Field {
        name: name.to_owned(),
        kind,
        versions: outer,
        nullable: None,
        default,
        tag: None,
        ignorable: false,
        classic: false,
    };
    let mut null = None;
    for attribute in attributes {
        match attribute.split_once(' ') {
            Some(("tag", number)) => field.tag = Some(number.parse()?),
            Some(("null", range)) => null = Some(versions(range, outer)?),
            None if attribute == "ignorable" => field.ignorable = true,
            None if attribute == "classic" => field.classic = true,
            None => field.versions = versions(attribute, outer)?,
            Some(_) => bail!("unknown attribute `{attribute}`"),
        }
    }
    ensure!(outer.covers(field.versions), "versions beyond {outer}");
    ensure!(null.is_none() || may_be_null, "`null` needs a `?`");
    if may_be_null {
        field.nullable = Some(null.unwrap_or(field.versions));
    }
    Ok(field)
}

/// `3`, `3-5` or `3+`; the latter ends where `outer` does.
fn versions(text: &str, outer: Versions) -> Result<Versions> {
    let range = match (text.strip_suffix('+'), text.split_once('-')) {
        (Some(min), _) => Versions {
            min: min.parse()?,
            max: outer.max,
        },
        (None, Some((min, max))) => Versions {
            min: min.parse()?,
            max: max.parse()?,
        },
        (None, None) => Versions {
            min: text.parse()?,
            max: text.parse()?,
        },
    };
    ensure!(range.min <= range.max, "empty range `{text}`");
    Ok(range)
}

fn kind_of(text: &str) -> Result<Type> {
    if let Some(element) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        return Ok(Type::Array(Box::new(kind_of(element)?)));
    }
    Ok(match text {
        "bool" => Type::Scalar("bool", 1),
        "i8" => Type::Scalar("i8", 1),
        "i16" => Type::Scalar("i16", 2),
        "i32" => Type::Scalar("i32", 4),
        "i64" => Type::Scalar("i64", 8),
        "u16" => Type::Scalar("u16", 2),
        "u32" => Type::Scalar("u32", 4),
        "f64" => Type::Scalar("f64", 8),
        "uuid" => Type::Scalar("uuid", 16),
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        _ if text.starts_with(|first: char| first.is_ascii_uppercase()) => {
            Type::Struct(text.to_owned())
        }
        _ => bail!("unknown type `{text}`"),
    })
}
