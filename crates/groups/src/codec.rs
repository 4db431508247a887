//! Group events as bytes.
//!
//! ```text
//! version u8 | tag u8 | fields in the order of their declaration
//! ```
//!
//! Integers are LEB128 varints (signed ones zigzagged), text and bytes carry their length in
//! front, lists their count, optional fields a byte 0 or 1.
//!
//! Forward rule: the version is the newest layout the event needs. A release reads every version
//! up to its own and refuses a newer one, an unknown tag and left-over bytes: a group that cannot
//! be read in full must not be served in part. A new field or event therefore raises the version;
//! the meaning of an old version never changes.
//!
//! The bytes may be corrupt: counts and lengths are checked against what is left before anything
//! is allocated, and what the fold relies on (sorted members, a leader who is one) is checked here.

use bytes::Bytes;
use uuid::Uuid;

use super::error::DecodeError;
use super::event::{
    CommittedOffset, GroupEvent, MemberRecord, Membership, Snapshot, StagedOffsets, TopicOffsets,
    TopicPartition,
};

const VERSION: u8 = 1;

impl GroupEvent {
    /// The event as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.tag()];
        self.put(&mut out);
        out
    }

    /// The event that `bytes` hold, all of them.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input(bytes);
        let version = input.byte()?;
        if version == 0 || version > VERSION {
            return Err(DecodeError::Version(version));
        }
        let tag = input.byte()?;
        let event = Self::take(tag, &mut input)?;
        if !input.0.is_empty() {
            return Err(DecodeError::Malformed("bytes left over"));
        }
        Ok(event)
    }

    fn tag(&self) -> u8 {
        match self {
            Self::Emptied { .. } => 1,
            Self::GenerationReserved { .. } => 2,
            Self::Formed { .. } => 3,
            Self::MemberReplaced { .. } => 4,
            Self::OffsetsCommitted { .. } => 5,
            Self::OffsetsStaged { .. } => 6,
            Self::TransactionEnded { .. } => 7,
            Self::OffsetsDeleted { .. } => 8,
            Self::OffsetsExpired { .. } => 9,
            Self::Deleted => 10,
            Self::Snapshot(_) => 11,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Emptied {
                generation,
                protocol_type,
                at,
            } => {
                generation.put(out);
                protocol_type.put(out);
                at.put(out);
            }
            Self::GenerationReserved { generation } => generation.put(out),
            Self::Formed { membership, at } => {
                membership.put(out);
                at.put(out);
            }
            Self::MemberReplaced { old_id, member } => {
                old_id.put(out);
                member.put(out);
            }
            Self::OffsetsCommitted { topics } => topics.put(out),
            Self::OffsetsStaged {
                producer_id,
                topics,
            } => {
                producer_id.put(out);
                topics.put(out);
            }
            Self::TransactionEnded {
                producer_id,
                committed,
            } => {
                producer_id.put(out);
                committed.put(out);
            }
            Self::OffsetsDeleted { partitions } | Self::OffsetsExpired { partitions } => {
                partitions.put(out);
            }
            Self::Deleted => {}
            Self::Snapshot(snapshot) => snapshot.put(out),
        }
    }

    fn take(tag: u8, input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok(match tag {
            1 => Self::Emptied {
                generation: Field::take(input)?,
                protocol_type: Field::take(input)?,
                at: Field::take(input)?,
            },
            2 => Self::GenerationReserved {
                generation: Field::take(input)?,
            },
            3 => Self::Formed {
                membership: Field::take(input)?,
                at: Field::take(input)?,
            },
            4 => Self::MemberReplaced {
                old_id: Field::take(input)?,
                member: Field::take(input)?,
            },
            5 => Self::OffsetsCommitted {
                topics: Field::take(input)?,
            },
            6 => Self::OffsetsStaged {
                producer_id: Field::take(input)?,
                topics: Field::take(input)?,
            },
            7 => Self::TransactionEnded {
                producer_id: Field::take(input)?,
                committed: Field::take(input)?,
            },
            8 => Self::OffsetsDeleted {
                partitions: Field::take(input)?,
            },
            9 => Self::OffsetsExpired {
                partitions: Field::take(input)?,
            },
            10 => Self::Deleted,
            11 => Self::Snapshot(Box::new(Field::take(input)?)),
            unknown => return Err(DecodeError::Tag(unknown)),
        })
    }
}

/// What is left to decode.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    /// A count of things that take at least one byte each, so it cannot exceed what is left.
    fn count(&mut self) -> Result<usize, DecodeError> {
        let count = usize::try_from(u64::take(self)?).map_err(|_| DecodeError::Truncated)?;
        if count > self.0.len() {
            return Err(DecodeError::Truncated);
        }
        Ok(count)
    }
}

/// Something with one way to be written.
trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError>;
}

impl Field for u64 {
    fn put(&self, out: &mut Vec<u8>) {
        let mut rest = *self;
        while rest >= 0x80 {
            out.push(rest.to_le_bytes()[0] | 0x80);
            rest >>= 7;
        }
        out.push(rest.to_le_bytes()[0]);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = input.byte()?;
            let part = Self::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(DecodeError::Malformed("integer too large"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed("integer too long"))
    }
}

impl Field for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        ((self << 1) ^ (self >> 63)).cast_unsigned().put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let raw = u64::take(input)?;
        Ok((raw >> 1).cast_signed() ^ -((raw & 1).cast_signed()))
    }
}

impl Field for u32 {
    fn put(&self, out: &mut Vec<u8>) {
        u64::from(*self).put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Self::try_from(u64::take(input)?).map_err(|_| DecodeError::Malformed("integer too large"))
    }
}

impl Field for i32 {
    fn put(&self, out: &mut Vec<u8>) {
        i64::from(*self).put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Self::try_from(i64::take(input)?).map_err(|_| DecodeError::Malformed("integer too large"))
    }
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        match input.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Malformed("neither yes nor no")),
        }
    }
}

impl Field for Bytes {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend_from_slice(self);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let count = input.count()?;
        Ok(Self::copy_from_slice(input.bytes(count)?))
    }
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let count = input.count()?;
        let text = std::str::from_utf8(input.bytes(count)?);
        text.map(Self::from)
            .map_err(|_| DecodeError::Malformed("text is not UTF-8"))
    }
}

impl Field for Uuid {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Self::from_slice(input.bytes(16)?).map_err(|_| DecodeError::Truncated)
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        bool::take(input)?.then(|| T::take(input)).transpose()
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u64).put(out);
        for item in self {
            item.put(out);
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        // Grown as it is read: an item in memory is much larger than the byte it may claim.
        let mut items = Self::new();
        for _ in 0..input.count()? {
            items.push(T::take(input)?);
        }
        Ok(items)
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        Ok((A::take(input)?, B::take(input)?))
    }
}

/// Writes a struct field by field, in the order given.
macro_rules! fields {
    ($($name:ident { $($field:ident),+ })+) => {$(
        impl Field for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)+
            }

            fn take(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                let taken = Self { $($field: Field::take(input)?),+ };
                taken.check()?;
                Ok(taken)
            }
        }
    )+};
}

fields! {
    Membership { generation, protocol_type, protocol_name, leader, members }
    MemberRecord {
        id, instance_id, client_id, client_host, session_timeout_ms, rebalance_timeout_ms,
        protocols, assignment
    }
    TopicPartition { topic, partition }
    TopicOffsets { topic, name, partitions }
    CommittedOffset { offset, leader_epoch, metadata, committed_at, expires_at }
    Snapshot { exists, generation_last, membership, since, offsets, staged }
    StagedOffsets { producer_id, offsets, overtaken }
}

/// What must hold between the fields of a struct, beyond their types.
trait Check {
    fn check(&self) -> Result<(), DecodeError>;
}

impl Check for Membership {
    fn check(&self) -> Result<(), DecodeError> {
        if !self.members.is_sorted_by(|a, b| a.id < b.id) {
            return Err(DecodeError::Malformed("members out of order"));
        }
        let mut instances: Vec<_> = self
            .members
            .iter()
            .filter_map(|m| m.instance_id.as_ref())
            .collect();
        instances.sort();
        if !instances.is_sorted_by(|a, b| a < b) {
            return Err(DecodeError::Malformed("an instance id twice"));
        }
        let leader = self.leader.as_ref();
        if leader.is_some_and(|leader| self.members.iter().all(|member| member.id != *leader)) {
            return Err(DecodeError::Malformed("the leader is no member"));
        }
        Ok(())
    }
}

/// Nothing to check beyond the types.
macro_rules! free {
    ($($name:ident)+) => {$(
        impl Check for $name {
            fn check(&self) -> Result<(), DecodeError> {
                Ok(())
            }
        }
    )+};
}

free! { MemberRecord TopicPartition TopicOffsets CommittedOffset Snapshot StagedOffsets }
