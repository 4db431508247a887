//! Emits the test-only module that makes random messages: every field its version has, within its rules.

use std::fmt::Write as _;

use anyhow::Result;

use super::emit::mentions;
use super::fields;
use super::schema::{Field, Schema, Struct, Type};

pub(super) fn module(schemas: &[Schema]) -> Result<String> {
    let modules: Vec<String> = schemas.iter().map(Schema::module).collect();
    let mut text = "//! Random messages for tests.

use std::borrow::Cow;

use uuid::Uuid;

use crate::wire::tests::random::RandomSource;
use crate::wire::ApiKey;

use super::{AnyRequest, AnyResponse, MODULES};

/// A structure that can be made up.
pub(crate) trait Sample {
    /// Every field that `version` has takes a random value, every other one its default.
    fn sample(random: &mut RandomSource, version: i16) -> Self;
}
"
    .replace("MODULES", &modules.join(", "));
    for schema in schemas {
        for part in &schema.structs {
            emit(&mut text, schema, part)?;
        }
    }
    for side in ["Request", "Response"] {
        let mut arms = String::new();
        for schema in schemas.iter().filter(|schema| schema.key.is_some()) {
            let name = &schema.name;
            writeln!(
                arms,
                "ApiKey::{name} => Any{side}::{name}(Sample::sample(random, version)),"
            )?;
        }
        let lower = side.to_lowercase();
        writeln!(
            text,
            "/// A random {lower}.
pub(crate) fn {lower}(key: ApiKey, random: &mut RandomSource, version: i16) -> Any{side}<'static> {{
    match key {{ {arms} }}
}}"
        )?;
    }
    Ok(text)
}

fn emit(out: &mut String, schema: &Schema, part: &Struct) -> Result<()> {
    let lifetime = if schema.struct_borrows(part)? {
        "<'_>"
    } else {
        ""
    };
    let (module, name) = (schema.module(), &part.name);
    let mut fields = String::new();
    for field in &part.fields {
        let value = value(&module, field);
        let default = default(&module, field)?;
        let name = fields::ident(&field.name);
        match field.versions.guard(part.versions) {
            None => writeln!(fields, "{name}: {value},")?,
            Some(guard) => {
                writeln!(
                    fields,
                    "{name}: if {guard} {{ {value} }} else {{ {default} }},"
                )?;
            }
        }
    }
    let random = if mentions(&fields, "random") {
        "random"
    } else {
        "_random"
    };
    let version = if mentions(&fields, "version") {
        "version"
    } else {
        "_version"
    };
    writeln!(
        out,
        "
impl Sample for {module}::{name}{lifetime} {{
    fn sample({random}: &mut RandomSource, {version}: i16) -> Self {{ Self {{ {fields} }} }}
}}
"
    )?;
    Ok(())
}

fn default(module: &str, field: &Field) -> Result<String> {
    let default = fields::default(field)?;
    Ok(match field.kind {
        Type::Struct(_) if default != "None" => format!("{module}::{default}"),
        _ => default,
    })
}

fn plain(module: &str, kind: &Type) -> String {
    match kind {
        Type::Scalar(name, _) => format!("random.{name}()"),
        Type::String => "Cow::Owned(random.string())".to_owned(),
        Type::Bytes => "Cow::Owned(random.bytes())".to_owned(),
        Type::Records => "random.records()".to_owned(),
        Type::Array(element) => match &**element {
            Type::Scalar(name, _) => format!("random.array(RandomSource::{name})"),
            element => format!("random.array(|random| {})", plain(module, element)),
        },
        Type::Struct(name) => format!("{module}::{name}::sample(random, version)"),
    }
}

fn value(module: &str, field: &Field) -> String {
    let plain = plain(module, &field.kind);
    let (Some(null), false) = (field.nullable, field.kind == Type::Records) else {
        return plain;
    };
    match null.guard(field.versions) {
        None => format!("random.option(|random| {plain})"),
        Some(guard) => {
            format!("if {guard} {{ random.option(|random| {plain}) }} else {{ Some({plain}) }}")
        }
    }
}
