//! `docs/reference/settings.md`, written from the table.

use super::KEYS;

const HEAD: &str = "# Settings

Written from the table in `crates/forebay/src/settings/mod.rs`; a test keeps it fresh.

Every setting may be given in a TOML file (`forebay --config FILE`), as an environment variable, and some as a
flag. Flags win over the environment, the environment over the file, the file over the default. Unknown names are
refused. `forebay config show --origin` prints every value and where it comes from. A relative path in a settings file
counts from that file's folder; given as a variable or flag, from the folder the broker is started in.

```toml
[listeners]
kafka = \"127.0.0.1:9092\"

[storage]
flush_interval = \"500ms\"
```

| setting | variable | value | default | meaning |
|---|---|---|---|---|
";

const FILES: &str = "
## Credentials files

`amqp.credentials_file` has a section per user:

```toml
[alice]
password = \"correct horse\"

[shop]
password = 'battery staple'
```

`sqs.credentials_file` has a section per principal:

```toml
[shop]
aws_access_key_id = \"AKSHOP\"
aws_secret_access_key = \"wJalrXUtnFEMI\"
```

A value stands between quotes as TOML has them (`\"…\"` with escapes, `'…'` as it is), or without any, as the
credentials file of an AWS client has it. Comments begin with `#` or `;` on a line of their own; behind a value they need
quotes around it. A file without a section, a section or name that is there twice, an unknown name, an empty value, a
quote that is not closed and an access key of two principals are refused at the start, with file and line. The file of an
AWS client may also have `region`, `output`, `endpoint_url`, `aws_account_id` and `aws_session_token`: they mean nothing
here. The files are read when the broker starts.
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
    HEAD.to_owned() + &rows.collect::<String>() + FILES
}
