//! The modules of a crate, and which file a path leads to.

use std::collections::{BTreeMap, BTreeSet};

use super::outline::{Outline, Path};
use super::tokens::tokens;
use crate::tidy::TextFile;

/// Imports that are followed from one path.
const FOLLOWED_MAX: usize = 16;

/// The names that one file uses of another one.
pub(super) type Uses = BTreeMap<(String, String), BTreeSet<String>>;

struct Module {
    /// Path from the repository's root.
    file: String,
    outline: Outline,
}

impl Module {
    /// What an import of this name brings in.
    fn import(&self, name: &str) -> Option<&Path> {
        let mut imports = self.outline.imports.iter();
        Some(&imports.find(|import| import.name == name)?.path)
    }
}

/// What a path leads to.
enum Found<'m> {
    Module(Path),
    Item { file: &'m str, name: String },
}

/// A crate's modules by their paths.
pub(super) struct Modules(BTreeMap<Path, Module>);

impl Modules {
    /// `source` is the path of the crate's folder `src`, with a slash.
    pub(super) fn of(source: &str, files: &[&TextFile]) -> Self {
        let modules = files.iter().map(|file| {
            let module = Module {
                file: file.path.clone(),
                outline: Outline::of(&tokens(&file.text)),
            };
            (module_path(&file.path[source.len()..]), module)
        });
        Self(modules.collect())
    }

    /// Which file uses what of which other one. A file that only re-exports a name does not use it.
    pub(super) fn uses(&self) -> Uses {
        let mut uses = Uses::new();
        for (at, module) in &self.0 {
            let outline = &module.outline;
            let is_used = |name: &String| outline.mentioned.contains(name);
            let imports = outline.imports.iter();
            let imports = imports.filter(|import| !import.is_public || is_used(&import.name));
            let paths = imports.map(|import| &import.path).chain(&outline.paths);
            for path in paths {
                if let Some(Found::Item { file, name }) = self.resolve(at, path, FOLLOWED_MAX)
                    && file != module.file
                {
                    let edge = (module.file.clone(), file.to_owned());
                    uses.entry(edge).or_default().insert(name);
                }
            }
        }
        uses
    }

    /// What a path leads to that is written in the module `at`; nothing where that is in another crate.
    fn resolve(&self, at: &[String], path: &[String], left: usize) -> Option<Found<'_>> {
        let left = left.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.descend(&[], rest, left),
            "self" => self.descend(at, rest, left),
            "super" => {
                let up = path
                    .iter()
                    .take_while(|segment| *segment == "super")
                    .count();
                let parent = at.len().checked_sub(up)?;
                self.descend(&at[..parent], &path[up..], left)
            }
            _ => {
                let module = self.0.get(at)?;
                let is_known = module.outline.declared.contains(first)
                    || module
                        .import(first)
                        .is_some_and(|to| to.first() != Some(first));
                is_known.then(|| self.descend(at, path, left))?
            }
        }
    }

    /// Follows a path downwards from a module.
    fn descend(&self, at: &[String], path: &[String], left: usize) -> Option<Found<'_>> {
        let Some((first, rest)) = path.split_first() else {
            return Some(Found::Module(at.to_vec()));
        };
        let child = [at, std::slice::from_ref(first)].concat();
        if self.0.contains_key(&child) {
            return self.descend(&child, rest, left);
        }
        let module = self.0.get(at)?;
        if module.outline.defined.contains(first) {
            return Some(item(module, first));
        }
        if let Some(to) = module.import(first) {
            return self.resolve(at, &[to, rest].concat(), left);
        }
        let found = self.imported_with_others(at, module, first, left);
        Some(found.unwrap_or_else(|| item(module, first)))
    }

    /// Looks for a name in what is imported with `*`.
    fn imported_with_others(
        &self,
        at: &[String],
        module: &Module,
        name: &String,
        left: usize,
    ) -> Option<Found<'_>> {
        let all = module
            .outline
            .imports
            .iter()
            .filter(|import| import.name == "*");
        let mut modules = all.filter_map(|import| match self.resolve(at, &import.path, left)? {
            Found::Module(path) => self.0.get(&path),
            Found::Item { .. } => None,
        });
        let module = modules.find(|module| module.outline.defined.contains(name))?;
        Some(item(module, name))
    }
}

fn item<'m>(module: &'m Module, name: &str) -> Found<'m> {
    Found::Item {
        file: &module.file,
        name: name.to_owned(),
    }
}

/// The path of the module in a file below `src`.
fn module_path(file: &str) -> Path {
    let path = file.trim_end_matches(".rs");
    let path = path.split('/').map(str::to_owned);
    let mut path: Path = path.collect();
    if path
        .last()
        .is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main"))
    {
        path.pop();
    }
    path
}

#[cfg(test)]
mod tests {
    use super::Modules;
    use crate::tidy::TextFile;

    /// Checks who uses what, as `from > to: names`.
    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let files = files.iter().map(|(path, text)| TextFile {
            path: format!("src/{path}.rs"),
            text: (*text).to_owned(),
        });
        let files: Vec<TextFile> = files.collect();
        let uses = Modules::of("src/", &files.iter().collect::<Vec<_>>()).uses();
        let plain = |path: &String| path["src/".len()..path.len() - ".rs".len()].to_owned();
        let uses = uses.iter().map(|((from, to), names)| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("{} > {}: {}", plain(from), plain(to), names.join(" "))
        });
        assert_eq!(uses.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_re_export_leads_to_where_the_name_is_defined() {
        let lib = "mod a; mod b; mod c; pub use a::{A, make}; pub use c::*;";
        check(
            &[
                ("lib", lib),
                ("a/mod", "mod inner; pub use inner::A; pub fn make() {}"),
                ("a/inner", "pub struct A;"),
                ("b", "use crate::{A, C, make};"),
                ("c", "pub struct C;"),
            ],
            &["b > a/inner: A", "b > a/mod: make", "b > c: C"],
        );
    }

    #[test]
    fn a_parent_uses_what_its_code_mentions() {
        let child = ("a", "pub struct A; use super::B;");
        check(
            &[("lib", "mod a; pub use a::A; pub struct B;"), child],
            &["a > lib: B"],
        );
        let lib = "mod a; pub use a::A; pub struct B(A);";
        check(&[("lib", lib), child], &["a > lib: B", "lib > a: A"]);
        let lib = "mod a; pub struct B; fn f() { a::g(); }";
        check(&[("lib", lib), child], &["a > lib: B", "lib > a: g"]);
    }

    #[test]
    fn paths_go_through_modules_that_were_imported() {
        check(
            &[
                ("lib", "mod a; mod b; mod c;"),
                ("a", "use super::b; fn f() { b::g(); }"),
                (
                    "b/mod",
                    "use crate::c::{self, X as Y}; fn g() { c::h(); Y::new(); }",
                ),
                (
                    "c",
                    "use std::fmt; use other::b::Z; fn h() { fmt::k(); b::l(); }",
                ),
            ],
            &["a > b/mod: g", "b/mod > c: X h"],
        );
    }
}
