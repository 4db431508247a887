//! A batch without some of its records.

use bytes::{Bytes, BytesMut};

use super::build::put_varint;
use super::error::BatchError;
use super::framed::Batch;
use super::header::HEADER_BYTES;

/// What the length in front of a record takes at most.
const RECORD_LENGTH_BYTES: usize = 5;

impl Batch {
    /// The batch with only those records whose offsets are to be kept, each at its offset, as a log that was compacted
    /// has it: first and last offset stay, and so does everything the header says beside the number of records. `None`
    /// when none is left. Records that were compressed are plain then. Errors: as of [`Batch::records`].
    pub fn only(&self, keep: impl FnMut(u64) -> bool) -> Result<Option<Self>, BatchError> {
        self.only_within(keep, usize::MAX)
    }

    /// As [`Batch::only`], of no more than `bytes_max` bytes unless its first record is larger: what does not fit is left out
    /// as if the batch ended in front of it, so that a reader goes on there. It is not opened either.
    pub fn only_within(
        &self,
        mut keep: impl FnMut(u64) -> bool,
        bytes_max: usize,
    ) -> Result<Option<Self>, BatchError> {
        let body_bytes_max = bytes_max.saturating_sub(HEADER_BYTES);
        let mut header = self.header;
        header.set_plain();
        let (mut records, mut body) = (self.records(), BytesMut::new());
        let mut count = 0;
        for _ in 0..header.record_count {
            let (offset, record) = records.next_raw()?;
            if keep(offset) {
                if count > 0 && body.len() + RECORD_LENGTH_BYTES + record.len() > body_bytes_max {
                    let delta = offset.saturating_sub(header.base_offset.saturating_add(1));
                    header.last_offset_delta =
                        i32::try_from(delta).unwrap_or(header.last_offset_delta);
                    break;
                }
                put_varint(&mut body, i64::try_from(record.len()).unwrap_or(i64::MAX));
                body.extend_from_slice(&record);
                count += 1;
            }
        }
        if count == 0 {
            return Ok(None);
        }
        header.record_count = count;
        header.length = u32::try_from(HEADER_BYTES - 12 + body.len())
            .map_err(|_| BatchError::Inconsistent("the batch is too large"))?;
        let rest = body.freeze();
        header.crc = crc32c::crc32c_append(crc32c::crc32c(&header.checked_part()), &rest);
        Ok(Some(Self {
            header,
            head: Bytes::copy_from_slice(&header.encode()),
            rest,
        }))
    }
}

#[cfg(test)]
mod tests {
    use crate::batch::BatchBuilder;

    use super::*;

    #[test]
    fn what_is_left_stays_where_it_was() {
        let mut builder = BatchBuilder::new(1000).producer(7, 1, 40);
        for (i, text) in ["a", "b", "c", "d"].iter().enumerate() {
            let at = 1000 + i64::try_from(i).unwrap();
            builder.push(at, Some(b"k"), Some(text.as_bytes()), &[("h", b"v")]);
        }
        let whole = builder.build().placed(100, 0, None);
        let some = whole.only(|offset| offset % 2 == 1).unwrap().unwrap();
        let mut bytes = some.to_bytes();
        let read = Batch::split_trusted(&mut bytes).unwrap();
        assert_eq!(read.checksum(), read.header.crc);
        assert_eq!(
            (read.header.base_offset, read.header.next_offset()),
            (100, 104)
        );
        assert_eq!((read.header.record_count, read.header.producer_id), (2, 7));
        let all: Vec<_> = whole.records().map(Result::unwrap).collect();
        let left: Vec<_> = read.records().map(Result::unwrap).collect();
        assert_eq!(left, [all[1].clone(), all[3].clone()]);
        assert!(whole.only(|_| false).unwrap().is_none());
        let same = whole.only(|_| true).unwrap().unwrap();
        assert_eq!(same.to_bytes(), whole.to_bytes());
    }

    #[test]
    fn what_does_not_fit_is_read_next() {
        let mut builder = BatchBuilder::new(1000);
        for i in 0..10 {
            builder.push(1000 + i, None, Some(&[b'x'; 1000]), &[]);
        }
        let whole = builder.build().placed(100, 0, None);
        let (mut from, mut seen, mut fetches) = (100, Vec::new(), 0);
        while from < 110 {
            let keep = |offset: u64| offset >= from && offset != 104;
            let Some(part) = whole.only_within(keep, 3500).unwrap() else {
                break;
            };
            let mut bytes = part.to_bytes();
            assert!(bytes.len() <= 3500, "{}", bytes.len());
            let read = Batch::split_trusted(&mut bytes).unwrap();
            assert_eq!(read.checksum(), read.header.crc);
            seen.extend(read.records().map(|record| record.unwrap().offset));
            from = read.header.next_offset();
            fetches += 1;
        }
        assert_eq!(seen, [100, 101, 102, 103, 105, 106, 107, 108, 109]);
        assert_eq!((fetches, from), (3, 110));
        let one = whole.only_within(|_| true, 10).unwrap().unwrap();
        assert_eq!(
            (one.header.record_count, one.header.next_offset()),
            (1, 101)
        );
    }

    #[test]
    fn a_batch_that_is_cut_short_is_an_error() {
        let mut builder = BatchBuilder::new(0);
        builder.push(0, None, Some(b"text"), &[]);
        let mut batch = builder.build();
        batch.header.record_count = 2;
        assert_eq!(batch.only(|_| true).unwrap_err(), BatchError::Truncated);
    }
}
