//! Rust expressions for the types of the schema: what a field is called, how it is read, written and compared.

use anyhow::{Result, bail};

use super::schema::{Field, Schema, Struct, Type, Versions};

/// What the code around an expression knows.
#[derive(Clone, Copy)]
pub(super) struct Scope<'s> {
    pub(super) schema: &'s Schema,
    /// Versions the enclosing structure occurs in.
    pub(super) versions: Versions,
}

impl<'s> Scope<'s> {
    pub(super) fn of(schema: &'s Schema, part: &Struct) -> Self {
        Self {
            schema,
            versions: part.versions,
        }
    }

    /// Argument that says whether lengths are compact.
    fn flexible(self, classic: bool) -> &'static str {
        match self.schema.flexible_from {
            _ if classic => "false",
            None => "false",
            Some(first) if first <= self.versions.min => "true",
            Some(first) if first > self.versions.max => "false",
            Some(_) => "flexible",
        }
    }

    /// Whether tagged fields exist: always, never (`None`), or under a condition.
    pub(super) fn tags(self) -> Option<&'static str> {
        match self.flexible(false) {
            "false" => None,
            condition => Some(condition),
        }
    }
}

/// Field names that are Rust keywords need an escape.
pub(super) fn ident(name: &str) -> String {
    match name {
        "match" | "type" | "ref" | "where" => format!("r#{name}"),
        _ => name.to_owned(),
    }
}

fn type_name(scope: Scope<'_>, kind: &Type) -> Result<String> {
    Ok(match kind {
        Type::Scalar("uuid", _) => "Uuid".to_owned(),
        Type::Scalar(name, _) => (*name).to_owned(),
        Type::String => "Cow<'a, str>".to_owned(),
        Type::Bytes => "Cow<'a, [u8]>".to_owned(),
        Type::Records => "Records".to_owned(),
        Type::Array(element) => format!("Vec<{}>", type_name(scope, element)?),
        Type::Struct(name) => {
            let lifetime = if scope.schema.borrows(kind)? {
                "<'a>"
            } else {
                ""
            };
            format!("{name}{lifetime}")
        }
    })
}

pub(super) fn field_type(scope: Scope<'_>, field: &Field) -> Result<String> {
    let name = type_name(scope, &field.kind)?;
    Ok(match field.nullable {
        Some(_) if field.kind != Type::Records => format!("Option<{name}>"),
        _ => name,
    })
}

/// The value of a field in versions that lack it, and in `Default`.
pub(super) fn default(field: &Field) -> Result<String> {
    let null = field.default.as_deref() == Some("null");
    let value = match (&field.kind, field.default.as_deref()) {
        _ if null => return Ok("None".to_owned()),
        (Type::Scalar("bool", _), value) => value.unwrap_or("false").to_owned(),
        (Type::Scalar("uuid", _), None) => "Uuid::nil()".to_owned(),
        (Type::Scalar("f64", _), None) => "0.0".to_owned(),
        (Type::Scalar("i32", _), Some("-2147483648")) => "i32::MIN".to_owned(),
        (Type::Scalar("i32", _), Some("2147483647")) => "i32::MAX".to_owned(),
        (Type::Scalar("i64", _), Some("9223372036854775807")) => "i64::MAX".to_owned(),
        (Type::Scalar(..), value) => value.unwrap_or("0").to_owned(),
        (Type::Records, None) => return Ok("Records::Null".to_owned()),
        (Type::String, None) => "Cow::Borrowed(\"\")".to_owned(),
        (Type::Bytes, None) => "Cow::Borrowed(&[])".to_owned(),
        (Type::Array(_), None) => "Vec::new()".to_owned(),
        (Type::Struct(name), None) => format!("{name}::default()"),
        (_, Some(value)) => bail!("default `{value}` for this type"),
    };
    Ok(match field.nullable {
        Some(_) => format!("Some({value})"),
        None => value,
    })
}

/// Whether `#[derive(Default)]` would produce the same value.
pub(super) fn default_is_derivable(field: &Field) -> bool {
    match (&field.kind, field.default.as_deref()) {
        (Type::Records, _) | (_, Some("null")) => true,
        (_, None | Some("0" | "false")) => field.nullable.is_none(),
        _ => false,
    }
}

/// A condition that holds when the field differs from its default.
pub(super) fn differs(field: &Field) -> Result<String> {
    let name = ident(&field.name);
    let default = default(field)?;
    Ok(match (&field.kind, default.as_str()) {
        (Type::Records, _) => format!("!self.{name}.is_null()"),
        (_, "None") => format!("self.{name}.is_some()"),
        (Type::Scalar("bool", _), "false") => format!("self.{name}"),
        (Type::Scalar("bool", _), "true") => format!("!self.{name}"),
        (Type::Scalar("uuid", _), _) => format!("!self.{name}.is_nil()"),
        (Type::String | Type::Bytes | Type::Array(_), _) if field.nullable.is_some() => {
            format!("self.{name}.as_ref().is_none_or(|value| !value.is_empty())")
        }
        (Type::String | Type::Bytes | Type::Array(_), _) => format!("!self.{name}.is_empty()"),
        _ => format!("self.{name} != {default}"),
    })
}

/// An expression that reads a value which is not null.
fn read(scope: Scope<'_>, kind: &Type, classic: bool) -> Result<String> {
    let flexible = scope.flexible(classic);
    Ok(match kind {
        Type::Scalar(name, _) => format!("r.{name}()"),
        Type::String => format!("r.string({flexible})"),
        Type::Bytes => format!("r.bytes({flexible})"),
        Type::Records => format!("r.records({flexible})"),
        Type::Array(element) => format!("r.array({})", array_arguments(scope, element)?),
        Type::Struct(name) => format!("{name}::decode(r, version)"),
    })
}

fn array_arguments(scope: Scope<'_>, element: &Type) -> Result<String> {
    let least = scope.schema.element_min(element, scope.versions)?;
    let each = match element {
        Type::Scalar(name, _) => format!("Reader::{name}"),
        _ => format!("|r| {}", read(scope, element, false)?),
    };
    Ok(format!("{}, {least}, {each}", scope.flexible(false)))
}

/// A fallible expression that reads the field in a version that has it.
pub(super) fn read_field(scope: Scope<'_>, field: &Field) -> Result<String> {
    let scope = Scope {
        versions: field.versions,
        ..scope
    };
    let plain = read(scope, &field.kind, field.classic)?;
    let Some(null) = field.nullable else {
        return Ok(format!("{plain}?"));
    };
    let flexible = scope.flexible(field.classic);
    let nullable = match &field.kind {
        Type::Scalar(..) => bail!("a scalar cannot be null"),
        Type::Records => return Ok(format!("{plain}?")),
        Type::String => format!("r.nullable_string({flexible})?"),
        Type::Bytes => format!("r.nullable_bytes({flexible})?"),
        Type::Array(element) => format!("r.nullable_array({})?", array_arguments(scope, element)?),
        Type::Struct(_) => format!("r.nullable(|r| {plain})?"),
    };
    Ok(match null.guard(field.versions) {
        None => nullable,
        Some(guard) => format!("if {guard} {{ {nullable} }} else {{ Some({plain}?) }}"),
    })
}

/// A statement that writes `value`, a place expression of the plain type behind a reference.
fn write(scope: Scope<'_>, kind: &Type, value: &str, classic: bool) -> Result<String> {
    let flexible = scope.flexible(classic);
    Ok(match kind {
        Type::Scalar(..) => bail!("scalars are written by value"),
        Type::String => format!("w.string({flexible}, {value})"),
        Type::Bytes => format!("w.bytes({flexible}, {value})"),
        Type::Records => format!("w.records({flexible}, {value})"),
        Type::Array(element) => {
            let each = write_element(scope, element)?;
            format!("w.array({flexible}, {value}, {each})")
        }
        Type::Struct(_) => format!("{value}.encode(w, version)"),
    })
}

fn write_element(scope: Scope<'_>, element: &Type) -> Result<String> {
    Ok(match element {
        Type::Scalar(name, _) => format!("|w, item| {{ w.{name}(*item); Ok(()) }}"),
        _ => format!("|w, item| {}", write(scope, element, "item", false)?),
    })
}

/// Statements that write the field in a version that has it. With `value`, the last one is a result.
pub(super) fn write_field(scope: Scope<'_>, field: &Field) -> Result<String> {
    let scope = Scope {
        versions: field.versions,
        ..scope
    };
    let name = ident(&field.name);
    let flexible = scope.flexible(field.classic);
    let place = match field.kind {
        Type::Struct(_) => format!("self.{name}"),
        _ => format!("&self.{name}"),
    };
    let null = match (&field.kind, field.nullable) {
        (Type::Scalar(kind, _), _) => return Ok(format!("w.{kind}(self.{name});")),
        (Type::Records, _) | (_, None) => {
            return Ok(format!(
                "{}?;",
                write(scope, &field.kind, &place, field.classic)?
            ));
        }
        (_, Some(null)) => null,
    };
    let borrowed = match &field.kind {
        Type::Struct(_) => format!("self.{name}.as_ref()"),
        _ => format!("self.{name}.as_deref()"),
    };
    let nullable = match &field.kind {
        Type::String => format!("w.nullable_string({flexible}, {borrowed})?;"),
        Type::Bytes => format!("w.nullable_bytes({flexible}, {borrowed})?;"),
        Type::Array(element) => {
            let each = write_element(scope, element)?;
            format!("w.nullable_array({flexible}, {borrowed}, {each})?;")
        }
        _ => format!("w.nullable({borrowed}, |w, item| item.encode(w, version))?;"),
    };
    let Some(guard) = null.guard(field.versions) else {
        return Ok(nullable);
    };
    let present = format!("required({borrowed}, \"{}\", version)?", field.name);
    let plain = write(scope, &field.kind, &present, field.classic)?;
    Ok(format!("if {guard} {{ {nullable} }} else {{ {plain}?; }}"))
}
