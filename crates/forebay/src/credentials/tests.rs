//! What the files may say, and that nothing of a secret is told.

use super::{parse_keys, parse_logins};

#[test]
fn sections_become_principals() {
    let text = "# keys\n[shop]\naws_access_key_id = AK1\naws_secret_access_key=s=1\nregion = x\n";
    let all = parse_keys(text).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(&*all[0].principal.name, "shop");
    assert_eq!((&*all[0].access_key, &*all[0].secret_key), ("AK1", "s=1"));
}

#[test]
fn sections_become_users() {
    let all = parse_logins("[shop]\npassword = p=1\n").unwrap();
    assert_eq!((&*all[0].user, &*all[0].password), ("shop", "p=1"));
    let error = parse_logins("[shop]\n").unwrap_err().to_string();
    assert_eq!(error, "line 1: section [shop] has no password");
}

#[test]
fn quotes_are_those_of_toml() {
    for (written, password) in [
        ("secret", "secret"),
        (r#""secret""#, "secret"),
        ("'secret'", "secret"),
        (r#""a \"b\" c" # comment"#, r#"a "b" c"#),
        (r"'a\b'", r"a\b"),
        (r#"" secret ""#, " secret "),
        (r#"a"b'c#d;e"#, r#"a"b'c#d;e"#),
        (r#""ü # ;""#, "ü # ;"),
    ] {
        let all = parse_logins(&format!("[shop]\npassword = {written}\n")).unwrap();
        assert_eq!(all[0].password, password, "{written}");
    }
    let named = parse_logins("[\"a b\"]\npassword = x\n['c']\npassword = y\n").unwrap();
    assert_eq!((&*named[0].user, &*named[1].user), ("a b", "c"));
    let keys = "[a]\naws_access_key_id = \"AK\"\naws_secret_access_key = 'SK'\n";
    let all = parse_keys(keys).unwrap();
    assert_eq!((&*all[0].access_key, &*all[0].secret_key), ("AK", "SK"));
}

/// `XYZ` is a secret here.
#[track_caller]
fn check<T>(parsed: anyhow::Result<Vec<T>>, expected: &str) {
    let error = format!("{:#}", parsed.map(drop).unwrap_err());
    assert!(
        error.contains(expected) && !error.contains("XYZ"),
        "{error}"
    );
}

#[test]
fn what_is_wrong_is_said_without_secrets() {
    for (text, expected) in [
        ("aws_access_key_id = XYZ", "line 1"),
        ("[a]\nXYZ", "line 2"),
        ("[a]\naws_access_key_id = x", "no aws_secret_access_key"),
        (
            "[a]\naws_access_key = x",
            "line 2: section [a]: unknown name: aws_access_key;",
        ),
        (
            "[a]\naws_access_key_id = x\naws_secret_access_key = XYZ\n\n[b]\naws_access_key_id = 'x'\n",
            "line 5: section [b] has the aws_access_key_id of the section on line 1",
        ),
    ] {
        check(parse_keys(text), expected);
    }
    for (text, expected) in [
        ("", "the file names no user: nobody could get in"),
        ("# [shop]\n", "the file names no user"),
        (
            "[a]\npassword = \"XYZ\n",
            "line 2: password: it begins with a quote",
        ),
        (
            "[a]\npassword = \"XYZ\" XYZ\n",
            "line 2: password: it begins with a quote",
        ),
        (
            "[a]\npassword = XYZ\"\n",
            "line 2: password: it ends with a quote",
        ),
        (
            "[a]\npassword = XYZ # old\n",
            "line 2: password: a comment cannot follow",
        ),
        (
            "[a]\npassword = \"\"\n",
            "line 1: section [a] has no password",
        ),
        (
            "[a]\npassword = x\npassword = XYZ\n",
            "line 3: section [a] has a second password",
        ),
        (
            "[a]\npassword = x\n[\"a\"]\npassword = XYZ\n",
            "line 3: section [a] is there already, on line 1",
        ),
        (
            "[a]\npassword = x\nrole = admin\n",
            "line 3: section [a]: unknown name: role; expected password",
        ),
        (
            "[a]\nXYZ=x\n",
            "line 2: section [a]: unknown name: what stands there",
        ),
        ("[]\npassword = x\n", "line 1: the section has no name"),
    ] {
        check(parse_logins(text), expected);
    }
}
