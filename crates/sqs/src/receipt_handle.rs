//! Receipt handles: a receipt as text that no other text is mistaken for.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::queue::Receipt;

use crate::error::{Fault, INVALID_RECEIPT, Outcome};

const VERSION: u8 = 1;
const CHECK_BYTES: usize = 4;

/// A receipt as text.
pub(crate) fn encode(receipt: Receipt) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(receipt.to_bytes());
    bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads what [`encode`] wrote, and nothing else.
pub(crate) fn decode(text: &str) -> Outcome<Receipt> {
    read(text).ok_or_else(|| {
        let message = format!("The input receipt handle \"{text}\" is not a valid receipt handle.");
        Fault::new(&INVALID_RECEIPT, message)
    })
}

fn read(text: &str) -> Option<Receipt> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (checked, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECK_BYTES)?)?;
    if crc32c::crc32c(checked).to_be_bytes() != sum {
        return None;
    }
    let (version, receipt) = checked.split_first()?;
    (*version == VERSION).then(|| Receipt::from_bytes(receipt))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_handles_are_read() {
        let receipt = Receipt::from_bytes(&[7; 36]).unwrap();
        let text = encode(receipt);
        assert_eq!(decode(&text), Ok(receipt));
        assert!(text.len() < 100, "{text}");
        let mut changed = text.clone();
        changed.replace_range(10..11, if &text[10..11] == "A" { "B" } else { "A" });
        for bad in ["", "abc", "not a handle", &changed, &text[1..]] {
            assert_eq!(
                decode(bad).unwrap_err().shape.name,
                "ReceiptHandleIsInvalid"
            );
        }
    }
}
