//! Reply codes and their texts.

use crate::wire::{REPLY_TEXT_BYTES_MAX, ReplyCode};

#[test]
fn weight_is_as_specified() {
    let soft: Vec<u16> = ReplyCode::ALL
        .iter()
        .filter(|code| !code.is_hard())
        .map(|code| code.number())
        .collect();
    assert_eq!(soft, [200, 311, 312, 313, 403, 404, 405, 406]);
    let hard: Vec<u16> = ReplyCode::ALL
        .iter()
        .filter(|code| code.is_hard())
        .map(|code| code.number())
        .collect();
    assert_eq!(
        hard,
        [320, 402, 501, 502, 503, 504, 505, 506, 530, 540, 541]
    );
}

#[test]
fn numbers_lead_back() {
    for &code in ReplyCode::ALL {
        assert_eq!(ReplyCode::try_from(code.number()), Ok(code));
    }
    assert_eq!(ReplyCode::try_from(299), Err(299));
}

#[test]
fn texts_name_the_code() {
    assert_eq!(
        ReplyCode::PreconditionFailed.text("unknown delivery tag 82"),
        "PRECONDITION_FAILED - unknown delivery tag 82"
    );
}

#[test]
fn long_texts_are_cut_between_characters() {
    let text = ReplyCode::NotFound.text(&"é".repeat(200));
    assert_eq!(text.len(), REPLY_TEXT_BYTES_MAX - 1);
    assert!(text.starts_with("NOT_FOUND - éé"));
    let text = ReplyCode::NotFound.text(&"e".repeat(300));
    assert_eq!(text.len(), REPLY_TEXT_BYTES_MAX);
}
