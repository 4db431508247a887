//! Emits one module per schema file: its structs, and how each is decoded and encoded.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};

use super::fields::{self, Scope};
use super::schema::{Field, Schema, Struct, Type};

pub(super) fn module(schema: &Schema) -> Result<String> {
    let mut body = String::new();
    for part in &schema.structs {
        emit_struct(&mut body, schema, part).with_context(|| part.name.clone())?;
    }
    let mut text = String::new();
    for line in schema.doc.lines() {
        writeln!(text, "//! {line}")?;
    }
    writeln!(text, "\n{}", imports(&body)?)?;
    Ok(text + &body)
}

/// Whether `word` stands alone somewhere in the code.
pub(super) fn mentions(code: &str, word: &str) -> bool {
    code.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .any(|found| found == word)
}

/// Only what the body uses, because unused imports are warned about.
fn imports(body: &str) -> Result<String> {
    let mut imports = String::new();
    if mentions(body, "Cow") {
        imports.push_str("use std::borrow::Cow;\n");
    }
    if mentions(body, "RangeInclusive") {
        imports.push_str("use std::ops::RangeInclusive;\n");
    }
    if mentions(body, "Uuid") {
        imports.push_str("\nuse uuid::Uuid;\n");
    }
    let functions: Vec<&str> = ["absent", "required", "supported"]
        .into_iter()
        .filter(|name| mentions(body, name))
        .collect();
    if !functions.is_empty() {
        write!(
            imports,
            "\nuse crate::wire::api::{{{}}};",
            functions.join(", ")
        )?;
    }
    let names: Vec<&str> = ["ApiKey", "Message", "Reader", "Records", "Result", "Writer"]
        .into_iter()
        .filter(|name| mentions(body, name))
        .collect();
    write!(imports, "\nuse crate::wire::{{{}}};\n", names.join(", "))?;
    Ok(imports)
}

fn emit_struct(out: &mut String, schema: &Schema, part: &Struct) -> Result<()> {
    let scope = Scope::of(schema, part);
    let lifetime = if schema.struct_borrows(part)? {
        "<'a>"
    } else {
        ""
    };
    let name = &part.name;
    let derivable = part.fields.iter().all(fields::default_is_derivable);
    let default = if derivable { ", Default" } else { "" };
    writeln!(out, "#[derive(Debug, Clone, PartialEq{default})]")?;
    writeln!(out, "pub struct {name}{lifetime} {{")?;
    for field in &part.fields {
        let field_type = fields::field_type(scope, field)?;
        writeln!(out, "pub {}: {field_type},", fields::ident(&field.name))?;
    }
    writeln!(out, "}}\n")?;
    if !derivable {
        emit_default(out, part, lifetime)?;
    }
    let decode = decode_body(scope, part)?;
    let encode = encode_body(scope, part)?;
    let message = schema.is_message(part);
    let visibility = match message {
        true => "",
        false if schema.key.is_none() => "pub ",
        false => "pub(super) ",
    };
    if message {
        let key = &schema.name;
        writeln!(out, "impl<'a> Message<'a> for {name}{lifetime} {{")?;
        writeln!(out, "const KEY: ApiKey = ApiKey::{key};")?;
        writeln!(out, "const NAME: &'static str = \"{name}\";")?;
        writeln!(
            out,
            "const VERSIONS: RangeInclusive<i16> = {};\n",
            schema.versions
        )?;
    } else if lifetime.is_empty() {
        writeln!(out, "impl {name} {{")?;
    } else {
        writeln!(out, "impl<'a> {name}<'a> {{")?;
    }
    let reader = match (message, lifetime.is_empty()) {
        (false, true) => "Reader<'_>",
        _ => "Reader<'a>",
    };
    let version = version_name(&decode);
    writeln!(
        out,
        "{visibility}fn decode(r: &mut {reader}, {version}: i16) -> Result<Self> {{"
    )?;
    writeln!(out, "{decode}}}\n")?;
    let version = version_name(&encode);
    writeln!(
        out,
        "{visibility}fn encode(&self, w: &mut Writer, {version}: i16) -> Result<()> {{"
    )?;
    writeln!(out, "{encode}}}\n}}\n")?;
    Ok(())
}

/// Parts that are the same in all versions ignore theirs.
fn version_name(body: &str) -> &'static str {
    if mentions(body, "version") {
        "version"
    } else {
        "_version"
    }
}

fn emit_default(out: &mut String, part: &Struct, lifetime: &str) -> Result<()> {
    let anonymous = if lifetime.is_empty() { "" } else { "<'_>" };
    writeln!(out, "impl Default for {}{anonymous} {{", part.name)?;
    writeln!(out, "fn default() -> Self {{ Self {{")?;
    for field in &part.fields {
        let value = fields::default(field)?;
        writeln!(out, "{}: {value},", fields::ident(&field.name))?;
    }
    writeln!(out, "}} }} }}\n")?;
    Ok(())
}

/// What both directions start with: the version check of whole messages, and the local `flexible` where it is used.
fn opening(scope: Scope<'_>, part: &Struct, body: &str) -> Result<String> {
    let mut text = String::new();
    let schema = scope.schema;
    if schema.is_message(part) {
        writeln!(text, "supported(Self::NAME, Self::VERSIONS, version)?;")?;
    } else if schema.key.is_none() {
        let (name, versions) = (&part.name, schema.versions);
        writeln!(text, "supported(\"{name}\", {versions}, version)?;")?;
    }
    if let Some(first) = schema.flexible_from
        && mentions(body, "flexible")
    {
        writeln!(text, "let flexible = version >= {first};")?;
    }
    Ok(text)
}

fn decode_body(scope: Scope<'_>, part: &Struct) -> Result<String> {
    let mut text = String::new();
    for field in part.fields.iter().filter(|field| field.tag.is_none()) {
        let read = fields::read_field(scope, field).with_context(|| field.name.clone())?;
        let name = fields::ident(&field.name);
        match field.versions.guard(part.versions) {
            None => writeln!(text, "let {name} = {read};")?,
            Some(guard) => {
                let default = fields::default(field)?;
                writeln!(
                    text,
                    "let {name} = if {guard} {{ {read} }} else {{ {default} }};"
                )?;
            }
        }
    }
    text.push_str(&decode_tags(scope, part)?);
    let names: Vec<String> = part.fields.iter().map(|f| fields::ident(&f.name)).collect();
    writeln!(text, "Ok(Self {{ {} }})", names.join(", "))?;
    Ok(opening(scope, part, &text)? + &text)
}

fn decode_tags(scope: Scope<'_>, part: &Struct) -> Result<String> {
    let mut text = String::new();
    let tagged: Vec<&Field> = part.fields.iter().filter(|f| f.tag.is_some()).collect();
    for field in &tagged {
        let name = fields::ident(&field.name);
        writeln!(text, "let mut {name} = {};", fields::default(field)?)?;
    }
    let Some(flexible) = scope.tags() else {
        ensure!(tagged.is_empty(), "tagged fields need flexible versions");
        return Ok(text);
    };
    let mut read = String::new();
    if tagged.is_empty() {
        read.push_str("r.skip_tags()?;\n");
    } else {
        read.push_str("r.tags(|tag, r| {\nmatch tag {\n");
        for field in tagged {
            ensure!(
                !holds_records(scope.schema, &field.kind)?,
                "records in a tagged field"
            );
            let guard = match field.versions.guard(part.versions) {
                Some(guard) if guard != format!("version >= {}", flexible_min(scope)) => {
                    format!(" if {guard}")
                }
                _ => String::new(),
            };
            let tag = field.tag.unwrap_or_default();
            let value = fields::read_field(scope, field)?;
            writeln!(
                read,
                "{tag}{guard} => {{ {} = {value}; }}",
                fields::ident(&field.name)
            )?;
        }
        read.push_str("_ => return Ok(false),\n}\nOk(true)\n})?;\n");
    }
    match flexible {
        "true" => text.push_str(&read),
        condition => writeln!(text, "if {condition} {{ {read} }}")?,
    }
    Ok(text)
}

/// First version in which this structure has tagged fields at all.
fn flexible_min(scope: Scope<'_>) -> i16 {
    scope.schema.flexible_from.unwrap_or_default()
}

/// Record batches bypass the buffer in which the size of a tagged field is measured.
fn holds_records(schema: &Schema, kind: &Type) -> Result<bool> {
    Ok(match kind {
        Type::Records => true,
        Type::Array(element) => holds_records(schema, element)?,
        Type::Struct(name) => {
            let mut any = false;
            for field in &schema.find(name)?.fields {
                any |= holds_records(schema, &field.kind)?;
            }
            any
        }
        _ => false,
    })
}

fn encode_body(scope: Scope<'_>, part: &Struct) -> Result<String> {
    let mut text = String::new();
    for field in part.fields.iter().filter(|field| field.tag.is_none()) {
        let write = fields::write_field(scope, field).with_context(|| field.name.clone())?;
        match field.versions.guard(part.versions) {
            None => writeln!(text, "{write}")?,
            Some(guard) => {
                let refuse = refusal(field)?;
                writeln!(text, "if {guard} {{ {write} }} {refuse}")?;
            }
        }
    }
    text.push_str(&encode_tags(scope, part)?);
    text.push_str("Ok(())\n");
    Ok(opening(scope, part, &text)? + &text)
}

/// What follows the writing of a field in versions that lack it.
fn refusal(field: &Field) -> Result<String> {
    if field.ignorable {
        return Ok(String::new());
    }
    let differs = fields::differs(field)?;
    Ok(format!(
        "else if {differs} {{ absent(\"{}\", version)?; }}",
        field.name
    ))
}

fn encode_tags(scope: Scope<'_>, part: &Struct) -> Result<String> {
    let tagged: Vec<&Field> = part.fields.iter().filter(|f| f.tag.is_some()).collect();
    let mut text = String::new();
    let mut present = Vec::new();
    let mut writes = String::new();
    for field in tagged {
        let differs = fields::differs(field)?;
        let guard = field.versions.guard(part.versions);
        if let (Some(guard), false) = (&guard, field.ignorable) {
            let name = &field.name;
            writeln!(
                text,
                "if !({guard}) && {differs} {{ absent(\"{name}\", version)?; }}"
            )?;
        }
        let condition = match guard {
            Some(guard) if guard != format!("version >= {}", flexible_min(scope)) => {
                format!("{guard} && {differs}")
            }
            _ => differs,
        };
        let tag = field.tag.unwrap_or_default();
        let write = fields::write_field(scope, field)?;
        let write = match write.strip_suffix("?;") {
            Some(last) => last.to_owned(),
            None => format!("{{ {write} Ok(()) }}"),
        };
        writeln!(writes, "if {condition} {{ w.tag({tag}, |w| {write})?; }}")?;
        present.push(condition);
    }
    let write = format!("w.tag_count(&[{}])?;\n{writes}", present.join(", "));
    match scope.tags() {
        None => {}
        Some("true") => text.push_str(&write),
        Some(condition) => writeln!(text, "if {condition} {{ {write} }}")?,
    }
    Ok(text)
}
