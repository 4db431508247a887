//! Vhosts: namespaces. The names of one mean nothing in another.
//!
//! Everything in the default vhost goes by its plain name, the same for every protocol. What lives in another one goes
//! by a qualified name, which no plain name can be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{Error, Result};

/// The vhost that always exists.
pub const DEFAULT: &str = "/";

/// Stands between the vhost and the name in a qualified name: the unit separator, which neither may contain.
const SEPARATOR: char = '\u{1f}';

/// Longest name of a queue, an exchange or a vhost, bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// A vhost, for those who work in it.
#[derive(Debug)]
pub struct Vhost {
    name: Arc<str>,
    document: VhostDocument,
    traced: AtomicBool,
    removed: watch::Sender<bool>,
}

/// A vhost as the catalog stores it (`vhosts/<name>`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VhostDocument {
    /// Identity; one made again under the same name has another one. Nil for the default one.
    #[serde(default)]
    pub id: Uuid,
    /// When it was made, ms; 0 for the default one.
    pub created_ms: u64,
}

impl Default for Vhost {
    fn default() -> Self {
        Self::new(DEFAULT, VhostDocument::default())
    }
}

impl Vhost {
    pub(crate) fn new(name: &str, document: VhostDocument) -> Self {
        Self {
            name: Arc::from(name),
            document,
            traced: AtomicBool::new(false),
            removed: watch::Sender::new(false),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is stored of it.
    pub fn document(&self) -> &VhostDocument {
        &self.document
    }

    /// Whether copies of what is published and delivered in it are wanted. Not kept over a restart.
    pub fn is_traced(&self) -> bool {
        self.traced.load(Relaxed)
    }

    pub(crate) fn set_traced(&self, traced: bool) {
        self.traced.store(traced, Relaxed);
    }

    /// Resolves when it has been removed.
    pub async fn removed(&self) {
        let mut removed = self.removed.subscribe();
        // The sender lives as long as `self`.
        let _ = removed.wait_for(|removed| *removed).await;
    }

    pub(crate) fn set_removed(&self) {
        self.removed.send_replace(true);
    }
}

/// The name by which the broker knows what is called `name` in `vhost`.
pub fn qualify(vhost: &str, name: &str) -> String {
    if vhost == DEFAULT {
        name.to_owned()
    } else {
        format!("{vhost}{SEPARATOR}{name}")
    }
}

/// The vhost and the name in it that [`qualify`] made a name from.
pub fn split(qualified: &str) -> (&str, &str) {
    qualified
        .split_once(SEPARATOR)
        .unwrap_or((DEFAULT, qualified))
}

/// Checks a plain name of a queue or an exchange, or of a vhost: 1 to 255 bytes without control characters. Errors:
/// `InvalidName`.
pub fn check_name(name: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::InvalidName(format!("the name '{name}' {why}")));
    if name.is_empty() {
        return refuse("is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return refuse("is longer than 255 bytes");
    }
    if name.chars().any(char::is_control) {
        return refuse("has control characters");
    }
    Ok(())
}

/// Checks a name that settings refer to, of something that need not be there: as [`check_name`], but it may be
/// qualified, and empty, which is the default exchange. Errors: `InvalidName`.
pub(crate) fn check_reference(name: &str) -> Result<()> {
    let (vhost, name) = split(name);
    check_name(vhost)?;
    if name.is_empty() {
        return Ok(());
    }
    check_name(name)
}

/// Checks a routing key: at most 255 bytes, of any kind. Errors: `InvalidName`.
pub(crate) fn check_key(key: &[u8]) -> Result<()> {
    if key.len() > NAME_BYTES_MAX {
        return Err(Error::InvalidName(
            "a routing key has at most 255 bytes".into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_settings_refer_to_has_a_name_or_none() {
        for good in ["", "dead", "shop\u{1f}dead", &"x".repeat(255)] {
            assert_eq!(check_reference(good), Ok(()), "{good:?}");
        }
        for bad in ["a\0b", "shop\u{1f}a\nb", "\u{1f}dead", &"x".repeat(256)] {
            assert!(check_reference(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check_key(&[0; 255]), Ok(()));
        assert!(check_key(&[0; 256]).is_err());
    }

    #[test]
    fn a_qualified_name_is_split_again() {
        for (vhost, name) in [("/", "orders"), ("shop", "orders"), ("a/b", "c/d:e")] {
            assert_eq!(split(&qualify(vhost, name)), (vhost, name));
        }
        assert_eq!(qualify(DEFAULT, "orders"), "orders");
        assert_ne!(qualify("a", "b"), qualify("a/b", ""));
    }

    #[test]
    fn no_plain_name_is_a_qualified_one() {
        check_name(&qualify("shop", "orders")).expect_err("has a separator");
        for good in ["a", "my queue:1/2", "ünï", &"x".repeat(255)] {
            check_name(good).expect(good);
        }
        for bad in ["", "a\0", "a\nb", &"x".repeat(256)] {
            check_name(bad).expect_err(bad);
        }
    }
}
