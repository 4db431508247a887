//! A batch without some of its records.

use bytes::{BufMut, Bytes, BytesMut};

use super::records::read_varint;
use super::{Batch, BatchError, HEADER_BYTES};

impl Batch {
    /// The batch with only those records whose offsets are to be kept, each at its offset, as a log that was compacted
    /// has it: first and last offset stay, and so does everything the header says beside the number of records. `None`
    /// when none is left. Records that were compressed are plain then. Errors: as of [`Batch::opened`] and
    /// [`Batch::records`].
    pub fn only(&self, mut keep: impl FnMut(u64) -> bool) -> Result<Option<Self>, BatchError> {
        let opened = self.opened()?;
        let mut header = opened.header;
        let (mut rest, mut body) = (opened.rest.clone(), BytesMut::new());
        let mut count = 0;
        for _ in 0..header.record_count {
            let whole = rest.clone();
            let length = read_varint(&mut rest)?;
            let length = usize::try_from(length)
                .map_err(|_| BatchError::Inconsistent("a length is negative"))?;
            if length > rest.len() {
                return Err(BatchError::Truncated);
            }
            let mut record = rest.split_to(length);
            let bytes = whole.len() - rest.len();
            if record.is_empty() {
                return Err(BatchError::Truncated);
            }
            let _attributes = record.split_to(1);
            let _timestamp_delta = read_varint(&mut record)?;
            let offset_delta = read_varint(&mut record)?;
            if keep(header.base_offset.wrapping_add_signed(offset_delta)) {
                body.put_slice(&whole[..bytes]);
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
        let all: Vec<_> = whole.records().unwrap().map(Result::unwrap).collect();
        let left: Vec<_> = read.records().unwrap().map(Result::unwrap).collect();
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
