//! Names, and vhosts as namespaces: the names of one mean nothing in another.
//!
//! Everything in the default vhost goes by its plain name, the same for every protocol. What lives in another one goes
//! by a qualified name, which no plain name can be.

use crate::error::{Error, Result};

/// The vhost that always exists.
pub const DEFAULT_VHOST: &str = "/";

/// Stands between the vhost and the name in a qualified name: the unit separator, which neither may contain.
const SEPARATOR: char = '\u{1f}';

/// Longest name of a queue, an exchange or a vhost, bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// The name by which the broker knows what is called `name` in `vhost`.
pub fn qualify(vhost: &str, name: &str) -> String {
    if vhost == DEFAULT_VHOST {
        name.to_owned()
    } else {
        format!("{vhost}{SEPARATOR}{name}")
    }
}

/// The vhost and the name in it that [`qualify`] made a name from.
pub fn split(qualified: &str) -> (&str, &str) {
    qualified
        .split_once(SEPARATOR)
        .unwrap_or((DEFAULT_VHOST, qualified))
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
pub fn check_reference(name: &str) -> Result<()> {
    let (vhost, name) = split(name);
    check_name(vhost)?;
    if name.is_empty() {
        return Ok(());
    }
    check_name(name)
}

/// Checks a routing key: at most 255 bytes, of any kind. Errors: `InvalidName`.
pub fn check_key(key: &[u8]) -> Result<()> {
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
        assert_eq!(qualify(DEFAULT_VHOST, "orders"), "orders");
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
