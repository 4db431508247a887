//! The files of who may get in: keys that requests can be signed with, in the form clients have it, and users with
//! their passwords. Both have one section per principal.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use amqp::Login;
use anyhow::{Context, bail, ensure};
use security::Principal;
use sqs::Credential;

use crate::settings::Settings;

/// All users of the files, by listener.
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
        let keys = keys.map(|path| read_file("sqs.credentials_file", path, parse_keys));
        Ok(Self {
            logins: logins.transpose()?,
            keys: keys.transpose()?.unwrap_or_default(),
        })
    }
}

/// What a section of a file is about, and has to have.
struct Form {
    /// Who has a section.
    who: &'static str,
    needed: &'static [&'static str],
    /// What may stand there too, and means nothing here; anything else is refused.
    ignored: &'static [&'static str],
}

const USERS: Form = Form {
    who: "user",
    needed: &["password"],
    ignored: &[],
};

/// A client's own file of keys serves as well, with what else clients keep there.
const KEYS: Form = Form {
    who: "principal",
    needed: &["aws_access_key_id", "aws_secret_access_key"],
    ignored: &[
        "aws_account_id",
        "aws_session_token",
        "endpoint_url",
        "output",
        "region",
    ],
};

/// One section: its name, the line it begins on, and its values.
struct Section<'t> {
    name: String,
    line: usize,
    values: BTreeMap<&'t str, String>,
}

impl Section<'_> {
    fn take(&mut self, name: &str) -> anyhow::Result<String> {
        let value = self.values.remove(name).filter(|value| !value.is_empty());
        value.with_context(|| format!("line {}: section [{}] has no {name}", self.line, self.name))
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

fn parse_keys(text: &str) -> anyhow::Result<Vec<Credential>> {
    let mut lines = BTreeMap::new();
    let credential = |mut section: Section<'_>| {
        let access_key = section.take("aws_access_key_id")?;
        if let Some(first) = lines.insert(access_key.clone(), section.line) {
            bail!(
                "line {}: section [{}] has the aws_access_key_id of the section on line {first}",
                section.line,
                section.name
            );
        }
        Ok(Credential {
            access_key,
            secret_key: section.take("aws_secret_access_key")?,
            principal: Principal {
                name: Arc::from(section.name),
            },
        })
    };
    sections(text, &KEYS)?.into_iter().map(credential).collect()
}

fn parse_logins(text: &str) -> anyhow::Result<Vec<Login>> {
    let login = |mut section: Section<'_>| {
        Ok(Login {
            password: section.take("password")?,
            user: section.name,
        })
    };
    sections(text, &USERS)?.into_iter().map(login).collect()
}

/// The sections in their order. Errors name the line and never quote it: it may be a secret.
fn sections<'t>(text: &'t str, form: &Form) -> anyhow::Result<Vec<Section<'t>>> {
    let mut sections: Vec<Section<'t>> = Vec::new();
    let mut begins = BTreeMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = section_name(line) {
            let name = unquoted(name).with_context(|| format!("line {number}: the name"))?;
            ensure!(!name.is_empty(), "line {number}: the section has no name");
            if let Some(first) = begins.insert(name.clone(), number) {
                bail!("line {number}: section [{name}] is there already, on line {first}");
            }
            sections.push(Section {
                name,
                line: number,
                values: BTreeMap::new(),
            });
            continue;
        }
        let (Some(section), Some((name, value))) = (sections.last_mut(), line.split_once('='))
        else {
            let who = form.who;
            bail!("line {number} is neither `[{who}]` nor, below one, `name = value`");
        };
        take_value(section, (name.trim(), value.trim()), form)
            .with_context(|| format!("line {number}"))?;
    }
    ensure!(
        !sections.is_empty(),
        "the file names no {}: nobody could get in",
        form.who
    );
    Ok(sections)
}

/// What stands between the brackets, if a line is one of these.
fn section_name(line: &str) -> Option<&str> {
    let name = line.strip_prefix('[')?.strip_suffix(']')?;
    Some(name.trim())
}

fn take_value<'t>(
    section: &mut Section<'t>,
    (name, value): (&'t str, &str),
    form: &Form,
) -> anyhow::Result<()> {
    if form.ignored.contains(&name) {
        return Ok(());
    }
    if !form.needed.contains(&name) {
        // What stands before the `=` of a line that is no setting may be a part of a secret.
        let is_name = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let shown = if is_name { name } else { "what stands there" };
        bail!(
            "section [{}]: unknown name: {shown}; expected {}",
            section.name,
            form.needed.join(", ")
        );
    }
    let value = unquoted(value).with_context(|| name.to_owned())?;
    if section.values.insert(name, value).is_some() {
        bail!("section [{}] has a second {name}", section.name);
    }
    Ok(())
}

/// A text as written, or between quotes as TOML has them: `"…"` with escapes, `'…'` without. What could be read in two
/// ways is refused: the one who logs in would have to guess.
fn unquoted(text: &str) -> anyhow::Result<String> {
    if text.starts_with(['"', '\'']) {
        let parsed: Option<toml::Table> = format!("text = {text}").parse().ok();
        let value = parsed.and_then(|mut table| table.remove("text"));
        let Some(toml::Value::String(value)) = value else {
            bail!("it begins with a quote and is no text between quotes as TOML has it");
        };
        return Ok(value);
    }
    ensure!(
        !text.ends_with(['"', '\'']),
        "it ends with a quote and does not begin with one: put all of it between quotes (`\"…\"` or `'…'`)"
    );
    let mut before = ' ';
    for now in text.chars() {
        ensure!(
            !(before.is_whitespace() && matches!(now, '#' | ';')),
            "a comment cannot follow here: put the text between quotes (`\"…\"` or `'…'`), whether or not what follows \
             belongs to it"
        );
        before = now;
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
