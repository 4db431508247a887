//! When a batch came, and when its records were sent.

use storage::BatchHeader;

use crate::moment::Moment;

/// When a batch came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// At this moment.
    Now(Moment),
    /// Before: it is read again, and its stamps are converted by this moment.
    Before(Moment),
}

impl Arrival {
    /// Whether a batch itself says when it came.
    pub fn is_stamped(header: &BatchHeader) -> bool {
        header.is_made_here() || header.is_append_time()
    }

    /// The moment by which stamps are converted.
    pub fn moment(self) -> Moment {
        match self {
            Self::Now(moment) | Self::Before(moment) => moment,
        }
    }

    /// When a batch came, as far as it is known.
    pub(crate) fn of(self, header: &BatchHeader) -> Option<u64> {
        match self {
            Self::Now(moment) if !Self::is_stamped(header) => Some(moment.now),
            Self::Before(_) if !Self::is_stamped(header) => None,
            Self::Now(moment) | Self::Before(moment) => {
                let stamp = u64::try_from(header.max_timestamp).unwrap_or(0);
                Some(moment.of_stamp(stamp))
            }
        }
    }

    /// When a record came that has this timestamp, for what counts from then.
    pub(crate) fn of_record(self, header: &BatchHeader, timestamp: i64) -> u64 {
        let stamp = u64::try_from(timestamp).unwrap_or(0);
        match self {
            Self::Now(moment) if !Self::is_stamped(header) => moment.now,
            Self::Now(moment) | Self::Before(moment) => moment.of_stamp(stamp),
        }
    }
}

/// When a message was sent whose record bears `timestamp` and that came between these times.
pub fn sent_ms(timestamp: i64, arrived: Option<(u64, u64)>) -> u64 {
    let stamp = u64::try_from(timestamp).unwrap_or(0);
    arrived.map_or(stamp, |(first, last)| stamp.clamp(first, last.max(first)))
}
