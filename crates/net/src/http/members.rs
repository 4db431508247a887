//! How much a JSON text asks for beyond its bytes: a few characters may become a structure of many bytes.

/// Bytes that a member or an element may take once it is read.
pub const MEMBER_BYTES: usize = 128;

/// Members and elements of a JSON text, and a few more; what stands in texts does not count.
pub fn json_members(text: &[u8]) -> usize {
    let mut count = 0;
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => {
                while let Some(inside) = rest.next() {
                    match inside {
                        b'\\' => drop(rest.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b',' | b'[' | b'{' => count += 1,
            _ => {}
        }
    }
    count
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
        ] {
            assert_eq!(json_members(text.as_bytes()), count, "{text}");
        }
    }
}
