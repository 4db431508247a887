//! `docs/reference/settings.md`, written from the table.

use super::KEYS;

const HEAD: &str = "# Settings

Written from the table in `crates/forebay/src/settings/mod.rs`; a test keeps it fresh.

Every setting may be given in a TOML file (`forebay --config FILE`), as an environment variable, and some as a
flag. Flags win over the environment, the environment over the file, the file over the default. Unknown names are
refused. `forebay config show --origin` prints every value and where it comes from.

```toml
[listeners]
kafka = \"127.0.0.1:9092\"

[storage]
flush_interval = \"500ms\"
```

| setting | variable | value | default | meaning |
|---|---|---|---|---|
";

/// The whole page.
pub(crate) fn page() -> String {
    let rows = KEYS.iter().map(|key| {
        let default = if key.default.is_empty() {
            "empty".to_owned()
        } else {
            format!("`{}`", key.default)
        };
        format!(
            "| `{}` | `{}` | {} | {default} | {} |\n",
            key.name,
            key.variable(),
            key.kind(),
            key.help()
        )
    });
    HEAD.to_owned() + &rows.collect::<String>()
}
