//! The files of who may get in: keys that requests can be signed with, in the form clients have it, and users with
//! their passwords. Both have one section per principal.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use amqp::Login;
use anyhow::{Context, bail};
use security::Principal;
use sqs::Credential;

use crate::settings::Settings;

/// Values of one section by name.
type Section<'t> = BTreeMap<&'t str, &'t str>;

/// Everybody the files name, by listener.
#[derive(Debug)]
pub(crate) struct Known {
    /// Users of the AMQP listener; absent: authentication is off.
    pub(crate) logins: Option<Vec<Login>>,
    /// Keys that requests to the SQS listener can be signed with.
    pub(crate) keys: Vec<Credential>,
}

impl Known {
    /// Reads the files that the settings name; an error names the setting.
    pub(crate) fn read(settings: &Settings) -> anyhow::Result<Self> {
        let logins = settings.amqp.credentials_file.as_deref();
        let logins = logins.map(|path| read_file("amqp.credentials_file", path, parse_logins));
        let keys = settings.sqs.credentials_file.as_deref();
        let keys = keys.map(|path| read_file("sqs.credentials_file", path, parse));
        Ok(Self {
            logins: logins.transpose()?,
            keys: keys.transpose()?.unwrap_or_default(),
        })
    }
}

fn read_file<T>(
    setting: &str,
    path: &Path,
    parse: fn(&str) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let named = || format!("{setting} = \"{}\"", path.display());
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("{}: cannot read the file", named()))?;
    parse(&text).with_context(named)
}

fn parse(text: &str) -> anyhow::Result<Vec<Credential>> {
    let credential = |(principal, values): (&str, Section<'_>)| {
        Ok(Credential {
            access_key: value(principal, &values, "aws_access_key_id")?,
            secret_key: value(principal, &values, "aws_secret_access_key")?,
            principal: Principal {
                name: Arc::from(principal),
            },
        })
    };
    sections(text)?.into_iter().map(credential).collect()
}

fn parse_logins(text: &str) -> anyhow::Result<Vec<Login>> {
    let login = |(user, values): (&str, Section<'_>)| {
        Ok(Login {
            user: user.to_owned(),
            password: value(user, &values, "password")?,
        })
    };
    sections(text)?.into_iter().map(login).collect()
}

fn value(section: &str, values: &Section<'_>, name: &str) -> anyhow::Result<String> {
    let value = values.get(name).filter(|value| !value.is_empty());
    value
        .map(|value| (*value).to_owned())
        .with_context(|| format!("section [{section}] has no {name}"))
}

fn sections(text: &str) -> anyhow::Result<BTreeMap<&str, Section<'_>>> {
    let mut sections: BTreeMap<&str, Section<'_>> = BTreeMap::new();
    let mut section = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = Some(sections.entry(name.trim()).or_default());
            continue;
        }
        // Never with the line itself: it may be a secret.
        let (Some(section), Some((name, value))) = (&mut section, line.split_once('=')) else {
            bail!("line {number} is neither `[principal]` nor `name = value`");
        };
        section.insert(name.trim(), value.trim());
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::{parse, parse_logins};

    #[test]
    fn sections_become_principals() {
        let text =
            "# keys\n[shop]\naws_access_key_id = AK1\naws_secret_access_key=s=1\nregion = x\n";
        let all = parse(text).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(&*all[0].principal.name, "shop");
        assert_eq!((&*all[0].access_key, &*all[0].secret_key), ("AK1", "s=1"));
    }

    #[test]
    fn sections_become_users() {
        let all = parse_logins("[shop]\npassword = p=1\n").unwrap();
        assert_eq!((&*all[0].user, &*all[0].password), ("shop", "p=1"));
        let error = parse_logins("[shop]\n").unwrap_err().to_string();
        assert_eq!(error, "section [shop] has no password");
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        for (text, expected) in [
            ("aws_access_key_id = x", "line 1"),
            ("[a]\nwhat", "line 2"),
            ("[a]\naws_access_key_id = x", "no aws_secret_access_key"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.contains(expected) && !error.contains("what"),
                "{error}"
            );
        }
    }
}
