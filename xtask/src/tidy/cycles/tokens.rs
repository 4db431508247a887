//! Rust text as a list of tokens: names, `::` and single characters. Comments, strings and what only tests compile are
//! left out.

/// The tokens of a file that a build without tests sees.
pub(super) fn tokens(text: &str) -> Vec<String> {
    without_tests(&all(text))
}

fn all(text: &str) -> Vec<String> {
    let text: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (length, is_token) = next(rest);
        if is_token {
            tokens.push(rest[..length].iter().collect());
        }
        at += length;
    }
    tokens
}

/// Length of what comes first, and whether it is a token.
fn next(rest: &[char]) -> (usize, bool) {
    match rest {
        ['/', '/', ..] => (line(rest), false),
        ['/', '*', ..] => (block_comment(rest), false),
        ['"', ..] => (string(rest), false),
        ['r' | 'b' | 'c', ..] if prefixed(rest).is_some() => (prefixed(rest).unwrap_or(1), false),
        ['\'', ..] => (quote(rest), false),
        [':', ':', ..] => (2, true),
        [first, ..] if is_name(*first) => (name(rest), true),
        [first, ..] => (1, !first.is_whitespace()),
        [] => (0, false),
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn name(rest: &[char]) -> usize {
    rest.iter().take_while(|c| is_name(**c)).count()
}

fn line(rest: &[char]) -> usize {
    rest.iter().take_while(|c| **c != '\n').count()
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] if depth == 1 => return at + 2,
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// A string that begins with a quotation mark.
fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// A string with a prefix; none where a name begins so.
fn prefixed(rest: &[char]) -> Option<usize> {
    let prefix_length = rest.iter().take_while(|c| c.is_alphabetic()).count();
    let prefix: String = rest[..prefix_length].iter().collect();
    if matches!(prefix.as_str(), "b" | "c") && rest.get(1) == Some(&'"') {
        return Some(1 + string(&rest[1..]));
    }
    if !matches!(prefix.as_str(), "r" | "br" | "cr") {
        return None;
    }
    let hashes = rest[prefix_length..]
        .iter()
        .take_while(|c| **c == '#')
        .count();
    let opening = prefix_length + hashes;
    if rest.get(opening) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = std::iter::once('"')
        .chain("#".repeat(hashes).chars())
        .collect();
    let body = &rest[opening + 1..];
    let length = body.windows(end.len()).position(|part| part == end);
    Some(length.map_or(rest.len(), |length| opening + 1 + length + end.len()))
}

/// A character in quotation marks, or the mark and name of a lifetime.
fn quote(rest: &[char]) -> usize {
    match rest {
        [_, '\\', ..] => {
            let end = rest.iter().skip(3).position(|c| *c == '\'');
            end.map_or(rest.len(), |end| end + 4)
        }
        [_, _, '\'', ..] => 3,
        _ => 1 + name(&rest[1..]),
    }
}

const TEST: &[&str] = &["#", "[", "cfg", "(", "test", ")", "]"];

fn without_tests(tokens: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().take(TEST.len()).eq(TEST) {
            at += TEST.len();
            at += item(&tokens[at..]);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Length of an item: up to its semicolon, or the end of its block.
fn item(tokens: &[String]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" if depth == 0 => return at,
            "}" if depth == 1 && tokens.get(at + 1).is_none_or(|next| next != ";") => {
                return at + 1;
            }
            "}" | ")" | "]" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::tokens;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(tokens(text).join(" "), expected, "{text}");
    }

    #[test]
    fn comments_strings_and_characters_are_no_tokens() {
        check("a::b; // c::d\n/* e /* f */ g */ h", "a :: b ; h");
        check(
            r##"x("a\"::b", r"\", r#"c"::d"#, b"e", 'f', '\'', b)"##,
            "x ( , , , , , , b )",
        );
        check("fn r<'a>(x: &'a str)", "fn r < > ( x : & str )");
        check("robot(b'x')", "robot ( b )");
    }

    #[test]
    fn what_only_tests_compile_is_left_out() {
        check("a #[cfg(test)] mod tests { fn x() { 1; } } b", "a b");
        check("a #[cfg(test)] mod tests; b", "a b");
        check("#[cfg(test)] use super::{a, b};\nuse c;", "use c ;");
        check(
            "impl A { #[cfg(test)] fn x(&self) -> [u8; 2] { 1 } fn y() {} }",
            "impl A { fn y ( ) { } }",
        );
    }
}
