//! Emits what spans all APIs: the module list, the table of keys, and the two enums over all messages.

use std::fmt::Write as _;

use anyhow::Result;

use super::schema::Schema;

/// `generated/mod.rs`.
pub(super) fn root(schemas: &[Schema]) -> Result<String> {
    let mut modules = String::new();
    let mut uses = String::new();
    for schema in schemas {
        let (module, name) = (schema.module(), &schema.name);
        writeln!(modules, "pub mod {module};")?;
        match schema.key {
            Some(_) => writeln!(uses, "pub use {module}::{{{name}Request, {name}Response}};")?,
            None => writeln!(uses, "pub use {module}::{name};")?,
        }
    }
    Ok(format!(
        "//! All messages, as the schemas describe them.

#![allow(
    missing_docs,
    reason = \"fields carry the names of the protocol specification, which documents them\"
)]
#![allow(
    clippy::too_many_lines,
    clippy::struct_excessive_bools,
    clippy::struct_field_names,
    clippy::float_cmp,
    clippy::excessive_nesting,
    clippy::nonminimal_bool,
    clippy::large_enum_variant,
    clippy::unnecessary_wraps,
    reason = \"the shape follows the schema, not taste\"
)]

mod any;
mod api_key;
{modules}
#[cfg(test)]
pub(super) mod sample;

pub use any::{{AnyRequest, AnyResponse}};
pub use api_key::ApiKey;
{uses}"
    ))
}

/// Schemas of APIs, with their keys, in order of the key.
fn apis(schemas: &[Schema]) -> impl Iterator<Item = (i16, &Schema)> {
    schemas
        .iter()
        .filter_map(|schema| schema.key.map(|key| (key, schema)))
}

/// `generated/api_key.rs`.
pub(super) fn api_key(schemas: &[Schema]) -> Result<String> {
    let mut variants = String::new();
    let mut all = String::new();
    let mut table = [String::new(), String::new(), String::new(), String::new()];
    let mut from = String::new();
    for (key, schema) in apis(schemas) {
        let name = &schema.name;
        let [versions, advertised, flexible, names] = &mut table;
        for line in schema.doc.lines() {
            writeln!(variants, "/// {line}")?;
        }
        writeln!(variants, "{name} = {key},")?;
        writeln!(all, "Self::{name},")?;
        writeln!(from, "{key} => Self::{name},")?;
        writeln!(versions, "Self::{name} => {},", schema.versions)?;
        writeln!(names, "Self::{name} => \"{name}\",")?;
        if schema.advertised != schema.versions {
            writeln!(advertised, "Self::{name} => {},", schema.advertised)?;
        }
        if let Some(first) = schema.flexible_from {
            writeln!(flexible, "Self::{name} => Some({first}),")?;
        }
    }
    let [versions, advertised, flexible, names] = table;
    Ok(format!(
        "//! The APIs and their versions.

use std::ops::RangeInclusive;

use crate::wire::Error;

/// Number and meaning of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ApiKey {{
{variants}}}

#[allow(clippy::match_same_arms, reason = \"one line per API, in order\")]
impl ApiKey {{
    /// Every API, in order of its number.
    pub const ALL: &'static [Self] = &[{all}];

    /// The specification's name.
    pub fn name(self) -> &'static str {{ match self {{ {names} }} }}

    /// Versions that can be decoded and encoded.
    pub fn versions(self) -> RangeInclusive<i16> {{ match self {{ {versions} }} }}

    /// Versions to answer `ApiVersions` with: more than can be decoded where clients draw wrong conclusions from the
    /// real range.
    pub fn advertised(self) -> RangeInclusive<i16> {{ match self {{ {advertised} _ => self.versions() }} }}

    /// First version with compact lengths and tagged fields.
    pub fn flexible_from(self) -> Option<i16> {{ match self {{ {flexible} _ => None }} }}
}}

impl From<ApiKey> for i16 {{
    fn from(key: ApiKey) -> Self {{ key as Self }}
}}

impl TryFrom<i16> for ApiKey {{
    type Error = Error;

    fn try_from(key: i16) -> Result<Self, Error> {{
        Ok(match key {{
            {from}
            _ => return Err(Error::Unsupported {{ what: \"API key\", version: key }}),
        }})
    }}
}}
"
    ))
}

/// `generated/any.rs`.
pub(super) fn any(schemas: &[Schema]) -> Result<String> {
    let mut uses = String::new();
    for (_, schema) in apis(schemas) {
        let name = &schema.name;
        write!(uses, "{name}Request, {name}Response, ")?;
    }
    let mut text = format!(
        "//! Messages of which only the key is known.\n\n\
         use crate::wire::{{ApiKey, Message, Reader, Result, Writer}};\n\n\
         use super::{{{uses}}};\n"
    );
    any_enum(&mut text, schemas, "Request")?;
    any_enum(&mut text, schemas, "Response")?;
    Ok(text)
}

fn any_enum(out: &mut String, schemas: &[Schema], side: &str) -> Result<()> {
    let (mut variants, mut decode, mut encode, mut keys) =
        (String::new(), String::new(), String::new(), String::new());
    for (_, schema) in apis(schemas) {
        let name = &schema.name;
        let message = format!("{name}{side}");
        let borrows = schema
            .find(&message)
            .and_then(|part| schema.struct_borrows(part))
            .unwrap_or_default();
        let lifetime = if borrows { "<'a>" } else { "" };
        writeln!(variants, "{name}({message}{lifetime}),")?;
        writeln!(
            decode,
            "ApiKey::{name} => {message}::decode(r, version).map(Self::{name}),"
        )?;
        writeln!(encode, "Self::{name}(body) => body.encode(w, version),")?;
        writeln!(keys, "Self::{name}(_) => ApiKey::{name},")?;
    }
    let lower = side.to_lowercase();
    write!(
        out,
        "
/// The body of any {lower}.
#[derive(Debug, Clone, PartialEq)]
pub enum Any{side}<'a> {{
{variants}}}

impl<'a> Any{side}<'a> {{
    /// Reads the body of a {lower} of this API.
    pub fn decode(key: ApiKey, r: &mut Reader<'a>, version: i16) -> Result<Self> {{
        match key {{ {decode} }}
    }}

    /// Writes the body.
    pub fn encode(&self, w: &mut Writer, version: i16) -> Result<()> {{
        match self {{ {encode} }}
    }}

    /// The API it belongs to.
    pub fn key(&self) -> ApiKey {{
        match self {{ {keys} }}
    }}
}}
"
    )?;
    Ok(())
}
