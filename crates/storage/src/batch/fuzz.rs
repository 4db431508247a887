//! What holds of any bytes.

use bytes::Bytes;

use super::check::Rules;
use super::framed::Batch;
use super::record::Outline;

/// What a fuzzer, and a test over noise, asserts of any bytes: reading never panics, and a sound batch stays sound
/// wherever it is placed.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let mut bytes = Bytes::copy_from_slice(data);
    while let Ok(batch) = Batch::split_first(&mut bytes) {
        let outlines: Vec<Outline> = batch.outlines(true).collect();
        if let Ok(checked) = batch.check(&Rules::default()) {
            assert!(batch.is_whole(), "it was checked");
            assert_eq!(i32::try_from(outlines.len()), Ok(batch.header.record_count));
            assert!(checked.outlines.is_none());
        }
        assert!(batch.records().flatten().count() <= outlines.len());
        for append_time in [None, Some(1)] {
            let placed = batch.clone().placed(7, 0, append_time);
            let again = Batch::split_first(&mut placed.to_bytes()).expect("it was sound");
            assert_eq!(again.header, placed.header);
        }
    }
    let mut damaged = Bytes::copy_from_slice(data);
    if let Ok(batch) = Batch::split_trusted(&mut damaged) {
        batch.records().for_each(drop);
        let _ = batch.check(&Rules::default());
    }
}
