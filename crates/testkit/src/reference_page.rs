//! Pages of `docs/reference` that are written from code: a template with a table in it. The test of the crate that owns
//! the code keeps its page fresh, and rewrites it when it runs with `UPDATE=1`.

use std::fmt::Write as _;
use std::path::PathBuf;

/// Where the table stands in a template.
const TABLE: &str = "{table}\n";

/// A page: the text around a table, and the table.
#[derive(Debug)]
pub struct ReferencePage {
    text: String,
}

impl ReferencePage {
    /// The template's text with a table of these rows in place of `{table}`.
    #[track_caller]
    pub fn new<const N: usize>(
        template: &str,
        columns: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> Self {
        assert_eq!(template.matches(TABLE).count(), 1, "a template has a table");
        let mut table = row(&columns.map(str::to_owned)) + "|" + &"---|".repeat(N) + "\n";
        for cells in rows {
            table += &row(&cells);
        }
        Self {
            text: template.replace(TABLE, &table),
        }
    }

    /// Compares it with the page of this name, which is rewritten first where `UPDATE` is set.
    #[track_caller]
    pub fn check(&self, name: &str) {
        check_page(name, &self.text);
    }
}

/// Compares a text with the page of this name, which is rewritten first where `UPDATE` is set.
#[track_caller]
pub fn check_page(name: &str, text: &str) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let path = folder.join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("the page can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let path = path.display();
    assert!(kept == text, "{path} is stale; UPDATE=1 rewrites it");
}

fn row(cells: &[String]) -> String {
    let mut row = String::from("|");
    for cell in cells {
        write!(row, " {cell} |").expect("a string takes everything");
    }
    row + "\n"
}

#[cfg(test)]
mod tests {
    use super::ReferencePage;

    #[test]
    fn a_page_is_its_template_with_a_table() {
        let rows = [["a", "1"], ["b", ""]].map(|row| row.map(str::to_owned));
        let page = ReferencePage::new("head\n\n{table}\ntail\n", ["name", "value"], rows);
        assert_eq!(
            page.text,
            "head\n\n| name | value |\n|---|---|\n| a | 1 |\n| b |  |\ntail\n"
        );
    }
}
