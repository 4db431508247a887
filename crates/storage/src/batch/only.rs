//! A batch without some of its records.

use bytes::{Bytes, BytesMut};

use super::build::put_varint;
use super::{Batch, BatchError, HEADER_BYTES};

impl Batch {
    /// The batch with only those records whose offsets are to be kept, each at its offset, as a log that was compacted
    /// has it: first and last offset stay, and so does everything the header says beside the number of records. `None`
    /// when none is left. Records that were compressed are plain then. Errors: as of [`Batch::records`].
    pub fn only(&self, mut keep: impl FnMut(u64) -> bool) -> Result<Option<Self>, BatchError> {
        let mut header = self.header;
        header.set_plain();
        let (mut records, mut body) = (self.records(), BytesMut::new());
        let mut count = 0;
        for _ in 0..header.record_count {
            let (offset, record) = records.next_raw()?;
            if keep(offset) {
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
    fn a_batch_that_is_cut_short_is_an_error() {
        let mut builder = BatchBuilder::new(0);
        builder.push(0, None, Some(b"text"), &[]);
        let mut batch = builder.build();
        batch.header.record_count = 2;
        assert_eq!(batch.only(|_| true).unwrap_err(), BatchError::Truncated);
    }
}
