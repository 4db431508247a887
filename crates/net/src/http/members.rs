//! How much a JSON text asks for beyond its bytes: a few characters may become a structure of many bytes.

/// Bytes that a member or an element may take once it is read.
pub const MEMBER_BYTES: usize = 128;

/// Members and elements of a JSON text, and a few more; what stands in texts does not count.
pub fn json_members(text: &[u8]) -> usize {
    let mut count = 0;
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'"' => behind_text(after),
            b',' | b'[' | b'{' => {
                count += 1;
                after
            }
            _ => after,
        };
    }
    count
}

/// What follows a text that has begun. Texts are most of what is sent: they are not looked at byte by byte.
fn behind_text(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        let is_end = rest[at] == b'"';
        let skipped = if is_end { at + 1 } else { at + 2 };
        rest = rest.get(skipped..).unwrap_or_default();
        if is_end {
            return rest;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_count_and_texts_do_not() {
        for (text, count) in [
            ("", 0),
            ("{}", 1),
            (r#"{"a":1,"b":[2,3]}"#, 4),
            (r#"{"a":"{[,\",{"}"#, 1),
            (r#"["\\",1]"#, 2),
            (r#"{"never closed ,,,,"#, 1),
            (r#"{"never closed \"#, 1),
            (r#"[{"a":"","b":"\"\"","c":"\\\\"},"d"]"#, 5),
        ] {
            assert_eq!(json_members(text.as_bytes()), count, "{text}");
        }
    }
}
