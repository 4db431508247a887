//! Ages as clients write them: a number and a unit.

const SECOND_MS: u64 = 1000;
const DAY_MS: u64 = 86_400 * SECOND_MS;

/// Milliseconds of an age like `7D`: years (`Y`), months (`M`), days (`D`), hours (`h`), minutes (`m`) or seconds (`s`).
pub(super) fn ms(text: &[u8]) -> Option<u64> {
    let (unit, number) = text.split_last()?;
    let unit = match unit {
        b'Y' => 365 * DAY_MS,
        b'M' => 30 * DAY_MS,
        b'D' => DAY_MS,
        b'h' => 3600 * SECOND_MS,
        b'm' => 60 * SECOND_MS,
        b's' => SECOND_MS,
        _ => return None,
    };
    if !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    number.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_number_and_a_unit() {
        for (text, expected) in [
            ("7D", Some(7 * DAY_MS)),
            ("1Y", Some(365 * DAY_MS)),
            ("2M", Some(60 * DAY_MS)),
            ("3h", Some(10_800_000)),
            ("4m", Some(240_000)),
            ("05s", Some(5000)),
            ("", None),
            ("s", None),
            ("5", None),
            ("5x", None),
            ("-5s", None),
            ("+5s", None),
            ("5 s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615Y", None),
        ] {
            assert_eq!(ms(text.as_bytes()), expected, "{text}");
        }
    }
}
