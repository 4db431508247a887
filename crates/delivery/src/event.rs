//! What can happen to the messages of a queue partition, as its own log has it.
//!
//! That a message came is not among them: the record in the partition says so. Layout of an event: version, kind,
//! then the fields as variable-length integers in the order written here. A reader refuses versions and kinds it
//! does not know.

use bytes::BufMut;
use uuid::Uuid;

const VERSION: u8 = 1;

/// One change of a queue partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueEvent {
    /// Messages were leased together.
    Leased {
        /// Number of the lease.
        lease: u64,
        /// When, ms.
        at: u64,
        /// Until when, ms.
        until: u64,
        /// Name of the attempt, if it has one.
        attempt: Option<String>,
        /// Which.
        offsets: Vec<u64>,
    },
    /// Messages are done.
    Acked {
        /// Which.
        offsets: Vec<u64>,
    },
    /// A message came back as failed.
    Released {
        /// Which.
        offset: u64,
        /// When it is ready again, ms; 0: at once.
        due: u64,
        /// If at once, behind all messages before this offset, and those that came back before it.
        before: u64,
    },
    /// A lease lasts longer, or shorter.
    Extended {
        /// Which.
        offset: u64,
        /// Until when, ms.
        until: u64,
    },
    /// A lease never reached its receiver, and does not count.
    Undone {
        /// Number of the lease.
        lease: u64,
        /// Which.
        offsets: Vec<u64>,
    },
    /// Messages left for another queue.
    Left {
        /// Which.
        offsets: Vec<u64>,
        /// The move task that took them; absent for dead letters.
        task: Option<Uuid>,
    },
    /// Everything below is gone: retention, or the topic was trimmed.
    Trimmed {
        /// First offset that is kept.
        before: u64,
    },
    /// Everything below is gone, deduplication ids too.
    Purged {
        /// First offset that is kept.
        before: u64,
    },
    /// Everything of a range is ready again, as if it had never been leased.
    Replayed {
        /// First offset.
        from: u64,
        /// What is there from here on came later.
        upto: u64,
        /// Except these, which are leased or wait.
        kept: Vec<u64>,
    },
    /// A move task began.
    MoveStarted {
        /// The task.
        task: Uuid,
        /// When, ms.
        at: u64,
        /// Messages at or behind this offset came later and are not moved.
        upto: u64,
        /// Messages to move.
        to_move: u64,
        /// Messages per second at most; 0: no limit.
        rate_max: u32,
        /// Where to, by name; absent: to each message's own source.
        destination: Option<String>,
    },
    /// A move task ended.
    MoveEnded {
        /// The task.
        task: Uuid,
        /// It was cancelled.
        cancelled: bool,
        /// Why it failed.
        failure: Option<String>,
    },
    /// A message came back from a consumer without a deadline. That it was leased is not in the log: the numbers are
    /// what they are then.
    Returned {
        /// Which.
        offset: u64,
        /// When it is ready again, ms; 0: at once.
        due: u64,
        /// Times leased.
        leased: u32,
        /// Times failed.
        failed: u32,
        /// First lease, ms.
        first_ms: u64,
        /// Last lease, ms.
        at_ms: u64,
    },
    /// Everything that is ready below an offset is gone.
    Cleared {
        /// First offset that was not looked at.
        before: u64,
        /// Except these, which are leased or wait.
        kept: Vec<u64>,
    },
    /// Messages below an offset may have been leased without a deadline.
    DeliveredBelow {
        /// The first that has not.
        before: u64,
    },
    /// Messages of a range cannot be read: they stay, and are not leased.
    Unreadable {
        /// First offset.
        from: u64,
        /// The first behind it.
        upto: u64,
    },
    /// Messages from an offset on came at a time their records do not tell.
    Arrived {
        /// First offset.
        offset: u64,
        /// When, ms.
        at: u64,
        /// Those that came no more than this later may have the same mark for how long they live, ms.
        ttl_span: Option<u64>,
        /// Likewise for how long they are kept.
        kept_span: Option<u64>,
    },
    /// Acknowledged messages that were kept for replay are ready again, as if they had just come.
    Revived {
        /// Which: first offset and number of neighbours.
        runs: Vec<(u64, u64)>,
    },
    /// What was acknowledged below an offset is not kept for replay any longer.
    Unkept {
        /// The first that is.
        before: u64,
    },
    /// The state as a whole, in parts that follow each other; see `snapshot`.
    Snapshot {
        /// Number of this part, from 0.
        part: u64,
        /// How many parts there are.
        parts: u64,
        /// Content.
        bytes: Vec<u8>,
    },
}

/// An event that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an event of this version")]
pub struct Unreadable;

impl QueueEvent {
    /// The event as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32);
        out.put_u8(VERSION);
        match self {
            Self::Leased {
                lease,
                at,
                until,
                attempt,
                offsets,
            } => {
                out.put_u8(1);
                put(&mut out, *lease);
                put(&mut out, *at);
                put(&mut out, *until);
                put_text(&mut out, attempt.as_deref());
                put_offsets(&mut out, offsets);
            }
            Self::Acked { offsets } => {
                out.put_u8(2);
                put_offsets(&mut out, offsets);
            }
            Self::Extended { offset, until } => put_all(&mut out, 4, &[*offset, *until]),
            Self::Undone { lease, offsets } => {
                out.put_u8(5);
                put(&mut out, *lease);
                put_offsets(&mut out, offsets);
            }
            Self::Left { offsets, task } => {
                out.put_u8(6);
                put_id(&mut out, *task);
                put_offsets(&mut out, offsets);
            }
            Self::Trimmed { before } => put_all(&mut out, 7, &[*before]),
            Self::Purged { before } => put_all(&mut out, 8, &[*before]),
            Self::Replayed { from, upto, kept } => {
                put_all(&mut out, 9, &[*from, *upto]);
                put_offsets(&mut out, kept);
            }
            Self::MoveStarted { .. } | Self::MoveEnded { .. } => self.encode_move(&mut out),
            Self::Returned {
                offset,
                due,
                leased,
                failed,
                first_ms,
                at_ms,
            } => {
                let (leased, failed) = (u64::from(*leased), u64::from(*failed));
                let values = [*offset, *due, leased, failed, *first_ms, *at_ms];
                put_all(&mut out, 13, &values);
            }
            Self::DeliveredBelow { before } => put_all(&mut out, 15, &[*before]),
            Self::Unreadable { .. } | Self::Arrived { .. } => self.encode_range(&mut out),
            Self::Released { .. } | Self::Revived { .. } | Self::Unkept { .. } => {
                self.encode_return(&mut out);
            }
            Self::Cleared { before, kept } => {
                put_all(&mut out, 14, &[*before]);
                put_offsets(&mut out, kept);
            }
            Self::Snapshot { part, parts, bytes } => {
                out.put_u8(12);
                put(&mut out, *part);
                put(&mut out, *parts);
                out.extend_from_slice(bytes);
            }
        }
        out
    }

    fn encode_return(&self, out: &mut Vec<u8>) {
        match self {
            Self::Released {
                offset,
                due,
                before,
            } => put_all(out, 16, &[*offset, *due, *before]),
            Self::Revived { runs } => {
                put_all(out, 17, &[runs.len() as u64]);
                for (start, len) in runs {
                    put(out, *start);
                    put(out, *len);
                }
            }
            Self::Unkept { before } => put_all(out, 18, &[*before]),
            _ => unreachable!("only called for what comes back"),
        }
    }

    fn encode_move(&self, out: &mut Vec<u8>) {
        match self {
            Self::MoveStarted {
                task,
                at,
                upto,
                to_move,
                rate_max,
                destination,
            } => {
                out.put_u8(10);
                put_id(out, Some(*task));
                for value in [*at, *upto, *to_move, u64::from(*rate_max)] {
                    put(out, value);
                }
                put_text(out, destination.as_deref());
            }
            Self::MoveEnded {
                task,
                cancelled,
                failure,
            } => {
                out.put_u8(11);
                put_id(out, Some(*task));
                put(out, u64::from(*cancelled));
                put_text(out, failure.as_deref());
            }
            _ => unreachable!("only called for move tasks"),
        }
    }

    fn encode_range(&self, out: &mut Vec<u8>) {
        match self {
            Self::Unreadable { from, upto } => put_all(out, 20, &[*from, *upto]),
            Self::Arrived {
                offset,
                at,
                ttl_span,
                kept_span,
            } => {
                let span = |span: &Option<u64>| span.map_or(0, |span| span.saturating_add(1));
                let values = [*offset, *at, span(ttl_span), span(kept_span)];
                put_all(out, 21, &values);
            }
            _ => unreachable!("only called for ranges"),
        }
    }

    fn decode_range(kind: u8, bytes: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(match kind {
            20 => Self::Unreadable {
                from: bytes.number()?,
                upto: bytes.number()?,
            },
            _ => Self::Arrived {
                offset: bytes.number()?,
                at: bytes.number()?,
                ttl_span: bytes.number()?.checked_sub(1),
                kept_span: bytes.number()?.checked_sub(1),
            },
        })
    }

    /// Reads an event.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut bytes = Reader(bytes);
        if bytes.byte()? != VERSION {
            return Err(Unreadable);
        }
        let event = match bytes.byte()? {
            1 => Self::Leased {
                lease: bytes.number()?,
                at: bytes.number()?,
                until: bytes.number()?,
                attempt: bytes.text()?,
                offsets: bytes.offsets()?,
            },
            2 => Self::Acked {
                offsets: bytes.offsets()?,
            },
            kind @ (3 | 16..=18) => Self::decode_return(kind, &mut bytes)?,
            4 => Self::Extended {
                offset: bytes.number()?,
                until: bytes.number()?,
            },
            5 => Self::Undone {
                lease: bytes.number()?,
                offsets: bytes.offsets()?,
            },
            6 => Self::Left {
                task: bytes.id()?,
                offsets: bytes.offsets()?,
            },
            7 => Self::Trimmed {
                before: bytes.number()?,
            },
            8 => Self::Purged {
                before: bytes.number()?,
            },
            9 => Self::Replayed {
                from: bytes.number()?,
                upto: bytes.number()?,
                kept: bytes.offsets()?,
            },
            kind @ 10..=11 => Self::decode_move(kind, &mut bytes)?,
            12 => Self::Snapshot {
                part: bytes.number()?,
                parts: bytes.number()?,
                bytes: std::mem::take(&mut bytes.0).to_vec(),
            },
            13 => Self::Returned {
                offset: bytes.number()?,
                due: bytes.number()?,
                leased: bytes.small()?,
                failed: bytes.small()?,
                first_ms: bytes.number()?,
                at_ms: bytes.number()?,
            },
            15 => Self::DeliveredBelow {
                before: bytes.number()?,
            },
            kind @ 20..=21 => Self::decode_range(kind, &mut bytes)?,
            14 => Self::Cleared {
                before: bytes.number()?,
                kept: bytes.offsets()?,
            },
            _ => return Err(Unreadable),
        };
        if bytes.0.is_empty() {
            Ok(event)
        } else {
            Err(Unreadable)
        }
    }

    fn decode_return(kind: u8, bytes: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(match kind {
            3 => {
                let (offset, due) = (bytes.number()?, bytes.number()?);
                // As it was once: back to its old place.
                let before = offset.saturating_add(1);
                Self::Released {
                    offset,
                    due,
                    before,
                }
            }
            16 => Self::Released {
                offset: bytes.number()?,
                due: bytes.number()?,
                before: bytes.number()?,
            },
            17 => {
                let count = bytes.count()?;
                let runs = (0..count).map(|_| Ok((bytes.number()?, bytes.number()?)));
                Self::Revived {
                    runs: runs.collect::<Result<_, _>>()?,
                }
            }
            18 => Self::Unkept {
                before: bytes.number()?,
            },
            _ => return Err(Unreadable),
        })
    }

    fn decode_move(kind: u8, bytes: &mut Reader<'_>) -> Result<Self, Unreadable> {
        Ok(match kind {
            10 => Self::MoveStarted {
                task: bytes.id()?.ok_or(Unreadable)?,
                at: bytes.number()?,
                upto: bytes.number()?,
                to_move: bytes.number()?,
                rate_max: bytes.small()?,
                destination: bytes.text()?,
            },
            _ => Self::MoveEnded {
                task: bytes.id()?.ok_or(Unreadable)?,
                cancelled: bytes.number()? != 0,
                failure: bytes.text()?,
            },
        })
    }
}

/// Appends a variable-length integer.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn put_all(out: &mut Vec<u8>, kind: u8, values: &[u64]) {
    out.put_u8(kind);
    for value in values {
        put(out, *value);
    }
}

/// Rising offsets as distances.
fn put_offsets(out: &mut Vec<u8>, offsets: &[u64]) {
    put(out, offsets.len() as u64);
    let mut last = 0;
    for offset in offsets {
        put(out, offset.wrapping_sub(last));
        last = *offset;
    }
}

/// A text, told from its absence by a length that is greater by one.
pub(crate) fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    put_bytes(out, text.map(str::as_bytes));
}

/// Bytes, likewise.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put(out, bytes.map_or(0, |bytes| bytes.len() as u64 + 1));
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// An identity, or its absence.
pub(crate) fn put_id(out: &mut Vec<u8>, id: Option<Uuid>) {
    put_bytes(out, id.as_ref().map(|id| id.as_bytes().as_slice()));
}

/// Reads what the functions above wrote.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn byte(&mut self) -> Result<u8, Unreadable> {
        let (byte, rest) = self.0.split_first().ok_or(Unreadable)?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Unreadable> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Unreadable)
    }

    pub(crate) fn small(&mut self) -> Result<u32, Unreadable> {
        u32::try_from(self.number()?).map_err(|_| Unreadable)
    }

    /// A count of things that take at least a byte each, so that it cannot size an allocation beyond the bytes.
    pub(crate) fn count(&mut self) -> Result<usize, Unreadable> {
        let count = usize::try_from(self.number()?).map_err(|_| Unreadable)?;
        if count > self.0.len() {
            return Err(Unreadable);
        }
        Ok(count)
    }

    pub(crate) fn bytes(&mut self) -> Result<Option<&'a [u8]>, Unreadable> {
        let len = match self.number()? {
            0 => return Ok(None),
            more => usize::try_from(more - 1).map_err(|_| Unreadable)?,
        };
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(Some(bytes))
    }

    pub(crate) fn text(&mut self) -> Result<Option<String>, Unreadable> {
        let Some(bytes) = self.bytes()? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(bytes).map_err(|_| Unreadable)?;
        Ok(Some(text.to_owned()))
    }

    pub(crate) fn id(&mut self) -> Result<Option<Uuid>, Unreadable> {
        let Some(bytes) = self.bytes()? else {
            return Ok(None);
        };
        Uuid::from_slice(bytes).map(Some).map_err(|_| Unreadable)
    }

    fn offsets(&mut self) -> Result<Vec<u64>, Unreadable> {
        let count = self.count()?;
        let mut last = 0u64;
        (0..count)
            .map(|_| {
                last = last.wrapping_add(self.number()?);
                Ok(last)
            })
            .collect()
    }
}

/// What a fuzzer, and a test over noise, asserts of any bytes.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    if let Ok(event) = QueueEvent::decode(data) {
        assert_eq!(QueueEvent::decode(&event.encode()), Ok(event));
    }
}
