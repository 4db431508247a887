//! Class `tx`: publishes and acknowledgements that take effect together, or not at all.

use super::unimplemented;
use crate::channel::Transaction;
use crate::error::{Fault, Outcome};
use crate::session::Session;
use crate::wire::ReplyCode;
use crate::wire::tx::{CommitOk, Method as Methods, RollbackOk, SelectOk};

/// Bytes of bodies that may wait for a commit on one channel, beside one message of the largest size; and no more than the
/// part of what a connection may have at all that leaves room to send them on.
pub(super) const TRANSACTION_BYTES_MAX: usize = 64 << 20;

impl Session {
    pub(super) async fn tx_method(&mut self, number: u16, method: Methods) -> Outcome<()> {
        match method {
            Methods::Select(_) => self.select(number),
            Methods::Commit(_) => self.commit(number).await,
            Methods::Rollback(_) => self.rollback(number),
            Methods::SelectOk(_) | Methods::CommitOk(_) | Methods::RollbackOk(_) => {
                Err(unimplemented())
            }
        }
    }

    fn select(&mut self, number: u16) -> Outcome<()> {
        let channel = self.channel(number);
        if channel.confirms.is_some() {
            return Err(Fault::precondition("cannot switch from confirm to tx mode"));
        }
        channel.transaction.get_or_insert_with(Transaction::default);
        self.say(number, &SelectOk {})
    }

    /// What waits for a commit; nothing does from now on.
    fn take_transaction(&mut self, number: u16) -> Outcome<Transaction> {
        let transaction = &mut self.channel(number).transaction;
        let transaction = transaction.as_mut().map(std::mem::take);
        let bytes = transaction.as_ref().map_or(0, |tx| tx.bytes);
        self.uncommitted -= bytes.min(self.uncommitted);
        transaction.ok_or_else(|| Fault::precondition("channel is not transactional"))
    }

    async fn commit(&mut self, number: u16) -> Outcome<()> {
        let transaction = self.take_transaction(number)?;
        // Behind all that was published and settled before.
        self.finish_publishing().await;
        self.settle();
        let settles = transaction.settles.into_iter();
        let settles = settles.map(|(_, unacked, settlement)| (unacked, settlement));
        let committed = self
            .engine
            .commit(transaction.outgoing, settles.collect())
            .await;
        committed.map_err(|error| {
            Fault::precondition(format!(
                "the transaction was refused, and nothing of it was done: {error}"
            ))
        })?;
        for message in &transaction.unroutable {
            self.give_back(number, message)?;
        }
        self.say(number, &CommitOk {})
    }

    fn rollback(&mut self, number: u16) -> Outcome<()> {
        let transaction = self.take_transaction(number)?;
        let settles = transaction.settles.into_iter();
        let back = settles.map(|(tag, unacked, _)| (tag, unacked)).collect();
        self.channel(number).unacked.put_back(back);
        self.say(number, &RollbackOk {})
    }

    /// Refuses a transaction that takes too much memory.
    pub(super) fn check_transaction(&mut self, number: u16) -> Outcome<()> {
        let most = TRANSACTION_BYTES_MAX + self.context.settings.message_bytes_max;
        let most = most.min(self.account().budget().request_bytes_max() / 2);
        let transaction = &self.channel(number).transaction;
        if transaction.as_ref().is_some_and(|tx| tx.bytes > most) {
            let text = format!("a transaction of more than {most} bytes is too large");
            return Err(Fault::new(ReplyCode::ResourceError, text));
        }
        Ok(())
    }
}
