//! ARCHITECTURE.md is the law, this rule is the police: which crate may use which.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, TextFile};

const LAW: &str = "ARCHITECTURE.md";
/// Fakes and clients for tests; dev-dependencies may point here from anywhere.
const FOR_TESTS: [&str; 2] = ["testkit", "clients"];

/// What each crate may use.
type Layers = BTreeMap<String, BTreeSet<String>>;

pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let Some(law) = files.iter().find(|file| file.path == LAW) else {
        let missing = TextFile {
            path: LAW.to_owned(),
            text: String::new(),
        };
        return vec![Finding::new(&missing, 0, "there is no layer table")];
    };
    let layers = layer_table(&law.text);
    let manifests = files
        .iter()
        .filter_map(|file| Some((crate_name(&file.path)?, file)));
    let manifests: BTreeMap<&str, &TextFile> = manifests.collect();

    let absent = layers
        .keys()
        .filter(|name| !manifests.contains_key(name.as_str()));
    let mut findings: Vec<Finding> = absent
        .map(|name| {
            Finding::new(
                law,
                0,
                format!("`{name}` is in the layer table but is no crate"),
            )
        })
        .collect();
    for (name, manifest) in &manifests {
        match layers.get(*name) {
            None => findings.push(Finding::new(
                manifest,
                0,
                format!("`{name}` is missing from {LAW}"),
            )),
            Some(may_use) => findings.extend(arrows(name, manifest, may_use, &manifests)),
        }
    }
    findings
}

fn arrows(
    name: &str,
    manifest: &TextFile,
    may_use: &BTreeSet<String>,
    crates: &BTreeMap<&str, &TextFile>,
) -> Vec<Finding> {
    let Ok(table) = manifest.text.parse::<toml::Table>() else {
        return vec![Finding::new(manifest, 0, "is not valid TOML")];
    };
    let mut used = Vec::new();
    dependencies(&table, &mut used);
    let ours = used
        .into_iter()
        .filter(|(_, used)| crates.contains_key(used.as_str()));
    let forbidden = ours.filter(|(section, used)| {
        let in_test = section == "dev-dependencies" && FOR_TESTS.contains(&used.as_str());
        !may_use.contains(used) && !in_test
    });
    forbidden
        .map(|(_, used)| {
            Finding::new(
                manifest,
                0,
                format!("`{name}` uses `{used}`: think hard about the layering, then edit {LAW}"),
            )
        })
        .collect()
}

/// Every dependency with the section it stands in, also below `target`.
fn dependencies(table: &toml::Table, used: &mut Vec<(String, String)>) {
    for (section, value) in table {
        let Some(inner) = value.as_table() else {
            continue;
        };
        if section.ends_with("dependencies") {
            used.extend(inner.keys().map(|name| (section.clone(), name.clone())));
        } else {
            dependencies(inner, used);
        }
    }
}

fn crate_name(path: &str) -> Option<&str> {
    let folder = path.strip_suffix("/Cargo.toml")?;
    let name = folder.strip_prefix("crates/").unwrap_or(folder);
    (!name.contains('/') && name != "fuzz").then_some(name)
}

/// Reads the table whose last column is `may use`; a row may name several crates.
fn layer_table(text: &str) -> Layers {
    let rows = text
        .lines()
        .skip_while(|line| !line.trim_end().ends_with("| may use |"));
    let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
    let mut layers = Layers::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let (Some(first), Some(last)) = (cells.first(), cells.last()) else {
            continue;
        };
        let mut may_use: BTreeSet<String> =
            last.split([' ', ',', '`']).map(str::to_owned).collect();
        if last.contains("all of the above") {
            may_use.extend(layers.keys().cloned());
        }
        let names = first.split('`').skip(1).step_by(2);
        layers.extend(names.map(|name| (name.to_owned(), may_use.clone())));
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::TextFile;

    const LAW: &str = "# Map\n\n| crate | responsibility | may use |\n|---|---|---|\n\
        | `storage` | logs | – |\n| `engine` | state | storage |\n| `kafka` `amqp` | translators | engine |\n\
        | `forebay` | binary | all of the above, bench |\n| `testkit` (dev) | fakes | engine |\n\
        | `bench` (dev) | load | kafka |\n\n| `not` | this | table |\n";

    /// The messages for a workspace where every crate of the law exists and `extra` replaces or adds manifests.
    fn messages(extra: &[(&str, &str)]) -> Vec<String> {
        let names = [
            "storage", "engine", "kafka", "amqp", "forebay", "testkit", "bench",
        ];
        let mut files = vec![TextFile {
            path: "ARCHITECTURE.md".to_owned(),
            text: LAW.to_owned(),
        }];
        let plain = names
            .iter()
            .filter(|name| !extra.iter().any(|(other, _)| other == *name))
            .map(|name| (*name, ""));
        for (name, text) in plain.chain(extra.iter().copied()) {
            files.push(TextFile {
                path: format!("crates/{name}/Cargo.toml"),
                text: text.to_owned(),
            });
        }
        check(&files)
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn allowed_arrows_pass() {
        let forebay = "[dependencies]\nengine.workspace = true\nkafka.workspace = true\nbench.workspace = true\n";
        let engine = "[dependencies]\nstorage.workspace = true\nserde = \"1\"\n[dev-dependencies]\ntestkit.workspace = true\n";
        assert_eq!(
            messages(&[("forebay", forebay), ("engine", engine)]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn forbidden_arrows_are_found_in_every_section() {
        for section in [
            "dependencies",
            "dev-dependencies",
            "build-dependencies",
            "target.'cfg(unix)'.dependencies",
        ] {
            let amqp = format!("[{section}]\nkafka.workspace = true\n");
            let found = messages(&[("amqp", &amqp)]);
            assert_eq!(
                found,
                ["`amqp` uses `kafka`: think hard about the layering, then edit ARCHITECTURE.md"]
            );
        }
        let engine = "[dependencies]\ntestkit.workspace = true\n";
        assert!(messages(&[("engine", engine)])[0].contains("`engine` uses `testkit`"));
    }

    #[test]
    fn crates_and_table_must_match() {
        assert_eq!(
            messages(&[("common", "")]),
            ["`common` is missing from ARCHITECTURE.md"]
        );
        let law = TextFile {
            path: "ARCHITECTURE.md".to_owned(),
            text: LAW.to_owned(),
        };
        let alone: Vec<String> = check(&[law])
            .into_iter()
            .map(|finding| finding.message)
            .collect();
        assert!(
            alone.contains(&"`kafka` is in the layer table but is no crate".to_owned()),
            "{alone:?}"
        );
        assert_eq!(check(&[]).len(), 1);
    }
}
