//! What a file says of other files: the modules it declares, the names it imports, the paths in its code.

use std::collections::BTreeSet;

/// Segments of a path.
pub(super) type Path = Vec<String>;

/// A name that `use` brings in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Import {
    pub(super) path: Path,
    /// What it is called here; `*` for all that is there.
    pub(super) name: String,
    /// It is passed on to others.
    pub(super) is_public: bool,
}

/// One file.
#[derive(Debug, Default)]
pub(super) struct Outline {
    /// Modules with files of their own.
    pub(super) declared: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
    /// Paths of two segments or more, outside of `use`.
    pub(super) paths: Vec<Path>,
    /// Names that the code mentions, outside of `use`.
    pub(super) mentioned: BTreeSet<String>,
    /// Items that are defined here.
    pub(super) defined: BTreeSet<String>,
}

const DEFINES: &[&str] = &[
    "fn", "struct", "enum", "trait", "type", "const", "static", "union", "mod", "!",
];

impl Outline {
    pub(super) fn of(tokens: &[String]) -> Self {
        let mut reader = Reader {
            tokens,
            at: 0,
            depth: 0,
            inline: Vec::new(),
            outline: Self::default(),
        };
        while reader.at < tokens.len() {
            reader.step();
        }
        reader.outline
    }
}

struct Reader<'t> {
    tokens: &'t [String],
    at: usize,
    depth: usize,
    /// Depths at which modules without a file of their own begin.
    inline: Vec<usize>,
    outline: Outline,
}

impl Reader<'_> {
    fn token(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", String::as_str)
    }

    fn before(&self) -> &str {
        self.at
            .checked_sub(1)
            .map_or("", |before| self.token(before))
    }

    fn step(&mut self) {
        match self.token(self.at) {
            // Not the `use<'a>` of a type.
            "use" if self.token(self.at + 1) != "<" => self.import(),
            "mod" => self.module(),
            "{" => self.depth += 1,
            "}" => {
                self.depth = self.depth.saturating_sub(1);
                if self.inline.last() == Some(&self.depth) {
                    self.inline.pop();
                }
            }
            token if is_name(token) && self.before() != "::" => self.name(),
            _ => {}
        }
        self.at += 1;
    }

    fn import(&mut self) {
        let is_public = matches!(self.before(), "pub" | ")");
        self.at += 1;
        self.tree(&Path::new(), is_public);
    }

    /// One branch of a `use`; ends before the comma, brace or semicolon behind it.
    fn tree(&mut self, prefix: &Path, is_public: bool) {
        let mut path = prefix.clone();
        loop {
            match self.token(self.at) {
                "{" => {
                    self.at += 1;
                    while !matches!(self.token(self.at), "}" | "") {
                        self.tree(&path, is_public);
                        self.at += usize::from(self.token(self.at) == ",");
                    }
                    self.at += 1;
                    return;
                }
                "::" => self.at += 1,
                "as" => {
                    self.at += 2;
                    let name = self.token(self.at - 1).to_owned();
                    return self.imported(path, name, is_public);
                }
                "self" if !path.is_empty() => self.at += 1,
                token if is_name(token) || token == "*" => {
                    path.push(token.to_owned());
                    self.at += 1;
                }
                _ => {
                    let name = path.last().cloned().unwrap_or_default();
                    return self.imported(path, name, is_public);
                }
            }
        }
    }

    fn imported(&mut self, mut path: Path, name: String, is_public: bool) {
        path.retain(|segment| segment != "*");
        let path = self.seen_from_file(path);
        self.outline.imports.push(Import {
            path,
            name,
            is_public,
        });
    }

    fn module(&mut self) {
        self.at += 1;
        let name = self.token(self.at).to_owned();
        match self.token(self.at + 1) {
            ";" => {
                self.outline.declared.insert(name);
            }
            "{" => {
                self.outline.defined.insert(name);
                self.inline.push(self.depth);
            }
            _ => {}
        }
    }

    /// A name in the code, with what follows it of a path.
    fn name(&mut self) {
        let before = self.before().to_owned();
        let mut path = vec![self.token(self.at).to_owned()];
        while self.token(self.at + 1) == "::" && is_name(self.token(self.at + 2)) {
            self.at += 2;
            path.push(self.token(self.at).to_owned());
        }
        if DEFINES.contains(&before.as_str()) {
            self.outline.defined.insert(path[0].clone());
        } else if before != "." {
            self.outline.mentioned.insert(path[0].clone());
        }
        if path.len() > 1 {
            let path = self.seen_from_file(path);
            self.outline.paths.push(path);
        }
    }

    /// A path as the file's own module would write it, where it stands in a module inside of the file.
    fn seen_from_file(&self, mut path: Path) -> Path {
        let up = path
            .iter()
            .take_while(|segment| *segment == "super")
            .count();
        let inside = up.min(self.inline.len());
        path.drain(..inside);
        if inside > 0 && up == inside {
            path.insert(0, "self".to_owned());
        }
        path
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;
    use super::Outline;

    fn outline(text: &str) -> Outline {
        Outline::of(&tokens(text))
    }

    fn imports(text: &str) -> Vec<String> {
        let imports = outline(text).imports.into_iter().map(|import| {
            let how = if import.is_public { "pub " } else { "" };
            format!("{how}{} as {}", import.path.join("::"), import.name)
        });
        imports.collect()
    }

    #[test]
    fn imports_are_told_one_by_one() {
        assert_eq!(
            imports("use a::{self, b::C, d::{E as F, *}}; pub(crate) use super::g;"),
            [
                "a as a",
                "a::b::C as C",
                "a::d::E as F",
                "a::d as *",
                "pub super::g as g"
            ]
        );
        assert_eq!(
            imports("fn f() -> impl A + use<'a> { use b::c; }"),
            ["b::c as c"]
        );
    }

    #[test]
    fn a_module_inside_of_a_file_is_part_of_it() {
        let inner = "mod a { use super::B; use super::super::C; } use super::D;";
        assert_eq!(
            imports(inner),
            ["self::B as B", "super::C as C", "super::D as D"]
        );
        let outline = outline("mod a; pub mod b; mod c { }");
        assert_eq!(outline.declared.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn code_mentions_names_and_paths() {
        let outline = outline("fn a(b: c::D) { b.e(); super::f::<G>(); }");
        assert_eq!(outline.paths, [["c", "D"], ["super", "f"]]);
        assert!(outline.defined.contains("a") && !outline.mentioned.contains("a"));
        assert!(!outline.mentioned.contains("e") && outline.mentioned.contains("G"));
    }
}
