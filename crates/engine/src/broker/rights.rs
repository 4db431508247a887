//! Rights that change while a consumer is served: who may not any more gets nothing more.

use std::sync::atomic::Ordering;

use security::{Principal, Resource, Verb};

use super::{Broker, Inner};

impl Broker {
    /// To be called after the answers of the [`Authorizer`](security::Authorizer) have changed. Consumers whose principal may not
    /// consume their queue any more are cancelled, receivers that wait there are refused, and fetches that wait are looked at
    /// again: when this returns, nobody is handed anything by a right that is gone. What a consumer holds stays with it until it
    /// is settled.
    pub fn rights_changed(&self) {
        self.inner.rights.fetch_add(1, Ordering::AcqRel);
        let may = |principal: &Principal, queue: &str| self.inner.may_consume(principal, queue);
        for owner in self.inner.owners.all() {
            // A partition that is gone, or a broker that stops, hands nothing out.
            let _ = owner.run(|round| round.check_rights(&may));
            owner.partition.waiters.wake();
        }
    }
}

impl Inner {
    pub(super) fn may_consume(&self, principal: &Principal, queue: &str) -> bool {
        let queue = Resource::Queue(queue);
        self.authorizer.allows(principal, Verb::Consume, queue)
    }

    /// How often rights have changed.
    pub(super) fn rights(&self) -> u64 {
        self.rights.load(Ordering::Acquire)
    }
}
