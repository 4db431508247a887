//! The model of a schema file: what the parser produces and the emitters read.

use std::fmt;

use anyhow::{Context as _, Result};

/// An inclusive range of versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions {
    pub(super) min: i16,
    pub(super) max: i16,
}

impl Versions {
    pub(super) fn contains(self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    pub(super) fn covers(self, other: Self) -> bool {
        self.min <= other.min && other.max <= self.max
    }

    /// A condition on `version` that holds exactly for the versions of `outer` that are in `self`; `None` when all are.
    pub(super) fn guard(self, outer: Self) -> Option<String> {
        match (self.min > outer.min, self.max < outer.max) {
            (false, false) => None,
            (true, false) => Some(format!("version >= {}", self.min)),
            (false, true) => Some(format!("version <= {}", self.max)),
            (true, true) => Some(format!("({}..={}).contains(&version)", self.min, self.max)),
        }
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.min, self.max)
    }
}

/// The type of a field, nullability apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// A fixed-size scalar by its name in schemas and in `Reader` and `Writer`, with its size in bytes.
    Scalar(&'static str, usize),
    String,
    Bytes,
    Records,
    Array(Box<Self>),
    Struct(String),
}

/// One field of a structure.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: Type,
    pub(super) versions: Versions,
    /// Versions in which it may be null; `None` when it never may.
    pub(super) nullable: Option<Versions>,
    /// As written; `None` is zero, false or empty.
    pub(super) default: Option<String>,
    pub(super) tag: Option<u32>,
    pub(super) ignorable: bool,
    pub(super) classic: bool,
}

/// A structure: a message or a part of one.
#[derive(Debug, Clone)]
pub(super) struct Struct {
    pub(super) name: String,
    /// Versions in which it can occur.
    pub(super) versions: Versions,
    pub(super) fields: Vec<Field>,
}

/// One schema file.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    pub(super) doc: String,
    pub(super) name: String,
    pub(super) key: Option<i16>,
    pub(super) versions: Versions,
    pub(super) advertised: Versions,
    pub(super) flexible_from: Option<i16>,
    /// Messages first, each followed by its parts; shared parts last.
    pub(super) structs: Vec<Struct>,
}

impl Schema {
    /// Name of the generated module, and of the schema file.
    pub(super) fn module(&self) -> String {
        snake(&self.name)
    }

    pub(super) fn find(&self, name: &str) -> Result<&Struct> {
        let found = self.structs.iter().find(|part| part.name == name);
        found.with_context(|| format!("struct {name} is not declared"))
    }

    pub(super) fn is_flexible(&self, version: i16) -> bool {
        self.flexible_from.is_some_and(|first| version >= first)
    }

    /// Whether a structure is a message of an API, as opposed to a part or a header.
    pub(super) fn is_message(&self, part: &Struct) -> bool {
        self.key.is_some()
            && (part.name == format!("{}Request", self.name)
                || part.name == format!("{}Response", self.name))
    }

    /// Whether the type borrows from the frame.
    pub(super) fn borrows(&self, kind: &Type) -> Result<bool> {
        Ok(match kind {
            Type::Scalar(..) | Type::Records => false,
            Type::String | Type::Bytes => true,
            Type::Array(element) => self.borrows(element)?,
            Type::Struct(name) => self.struct_borrows(self.find(name)?)?,
        })
    }

    pub(super) fn struct_borrows(&self, part: &Struct) -> Result<bool> {
        for field in &part.fields {
            if self.borrows(&field.kind)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Fewest bytes the type can take in `version`.
    fn bytes_min(&self, kind: &Type, version: i16, classic: bool) -> Result<usize> {
        let flexible = self.is_flexible(version) && !classic;
        Ok(match kind {
            Type::Scalar(_, size) => *size,
            _ if flexible && !matches!(kind, Type::Struct(_)) => 1,
            Type::String => 2,
            Type::Bytes | Type::Records | Type::Array(_) => 4,
            Type::Struct(name) => {
                let mut sum = usize::from(flexible);
                for field in &self.find(name)?.fields {
                    let present = field.tag.is_none() && field.versions.contains(version);
                    if present {
                        sum += self.field_bytes_min(field, version)?;
                    }
                }
                sum
            }
        })
    }

    fn field_bytes_min(&self, field: &Field, version: i16) -> Result<usize> {
        let null = field.nullable.is_some_and(|null| null.contains(version));
        if null && matches!(field.kind, Type::Struct(_)) {
            return Ok(1);
        }
        self.bytes_min(&field.kind, version, field.classic)
    }

    /// Fewest bytes an array element can take in any of `versions`.
    pub(super) fn element_min(&self, element: &Type, versions: Versions) -> Result<usize> {
        let mut least = usize::MAX;
        for version in versions.min..=versions.max {
            least = least.min(self.bytes_min(element, version, false)?);
        }
        // An empty element would let a short frame announce a long array.
        anyhow::ensure!(least > 0, "an array element may be empty");
        Ok(least)
    }
}

/// `FooBar` as `foo_bar`.
pub(super) fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
