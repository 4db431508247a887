//! When messages came, where their batch does not say so: a peer's batch bears its producer's times.
//!
//! How old a message is counts from when the broker appended it. For messages the broker made itself, and in topics
//! whose timestamps are those of the append, the record says it. For others the queue partition keeps coarse marks, and
//! puts one into its log with the batch that begins it: a few for each age there is, however many batches come.

use storage::BatchHeader;

use crate::arrival::Arrival;
use crate::event::QueueEvent;
use crate::expiry::{Marks, span};
use crate::queue_partition::QueuePartition;
use crate::settings::QueueSettings;

impl QueuePartition {
    /// The event that has to be in the log with a batch that says nothing about when it came; `None` when what is there
    /// is enough.
    pub fn arrival_event(
        &self,
        header: &BatchHeader,
        settings: &QueueSettings,
        now: u64,
    ) -> Option<QueueEvent> {
        if Arrival::is_stamped(header) {
            return None;
        }
        let of_ttl = self.begins_mark(now, settings);
        let kept = settings.retention_ms;
        let of_kept = kept < u64::MAX && self.arrivals.as_ref().is_none_or(|m| m.begins(now, kept));
        (of_ttl || of_kept).then(|| QueueEvent::Arrived {
            offset: header.base_offset.max(self.end),
            at: now,
            ttl_span: settings.limits.message_ttl_ms.filter(|_| of_ttl).map(span),
            kept_span: of_kept.then(|| span(kept)),
        })
    }

    /// Takes note of when messages came.
    pub(crate) fn arrive(
        &mut self,
        from: u64,
        header: &BatchHeader,
        settings: &QueueSettings,
        arrival: Arrival,
    ) {
        let Some(at) = arrival.of(header) else {
            self.unmarked = self.unmarked.or(Some(from));
            return;
        };
        self.mark(from, at, settings);
        let kept = settings.retention_ms;
        if kept < u64::MAX && (self.arrivals.is_some() || !Arrival::is_stamped(header)) {
            let marks = self.arrivals.get_or_insert_default();
            marks.mark(from, at, kept);
            if marks.iter().len() > 1 {
                let oldest = self.oldest();
                if let Some(marks) = &mut self.arrivals {
                    marks.drop_before(oldest);
                }
            }
        }
    }

    /// What was in the log about when messages came.
    pub(crate) fn recall(&mut self, offset: u64, at: u64, spans: (Option<u64>, Option<u64>)) {
        if let Some(span) = spans.0 {
            let expiry = self.expiry.get_or_insert_default();
            expiry.recall(offset, at, span);
        }
        if let Some(span) = spans.1 {
            let marks = self.arrivals.get_or_insert_default();
            marks.recall(offset, at, span);
        }
    }

    /// Everything was read: messages of which nobody knows when they came count from now.
    pub(crate) fn mark_unmarked(&mut self, settings: &QueueSettings, now: u64) {
        let Some(from) = self.unmarked.take() else {
            return;
        };
        if let Some(age) = settings.limits.message_ttl_ms {
            let expiry = self.expiry.get_or_insert_default();
            if expiry.marks().first().is_none_or(|first| first > from) {
                expiry.recall(from, now, span(age));
            }
        }
        let kept = settings.retention_ms;
        let marks = self.arrivals.get_or_insert_default();
        if kept < u64::MAX && marks.first().is_none_or(|first| first > from) {
            marks.recall(from, now, span(kept));
        }
    }

    /// Between which times a message came, where its record does not say it.
    pub fn arrived(&self, offset: u64) -> Option<(u64, u64)> {
        self.arrivals.as_ref()?.of(offset)
    }
}

impl Marks {
    /// What a snapshot keeps.
    pub(crate) fn encode(&self, put: &mut impl FnMut(u64)) {
        put(self.iter().len() as u64);
        for mark in self.iter() {
            for value in [mark.offset, mark.first_ms, mark.last_ms] {
                put(value);
            }
        }
    }
}
