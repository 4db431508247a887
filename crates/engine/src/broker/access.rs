//! The public door: what a principal does with the broker. Every method that reads or changes something is authorized here,
//! on engine resource and engine verb, before anything else happens; lists show what the principal may see.

use std::ops::Deref;
use std::sync::Arc;

use security::{Principal, Resource, Verb};

use super::Broker;
use crate::queue::Queue;
use crate::{Error, Result};

/// The broker on behalf of a principal: the only public way to topics, queues, groups, exchanges and vhosts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Access {
    broker: Broker,
    principal: Principal,
}

impl Broker {
    /// The broker as a principal may use it.
    pub fn on_behalf_of(&self, principal: &Principal) -> Access {
        Access {
            broker: self.clone(),
            principal: principal.clone(),
        }
    }
}

impl Deref for Access {
    type Target = Broker;

    fn deref(&self) -> &Broker {
        &self.broker
    }
}

impl Access {
    /// Whose it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Whether the principal may `verb` the `resource`: for what is told about rights, and for what frontends keep themselves.
    pub fn allows(&self, verb: Verb, resource: Resource<'_>) -> bool {
        let authorizer = &self.broker.inner.authorizer;
        authorizer.allows(&self.principal, verb, resource)
    }

    pub(super) fn authorize(&self, verb: Verb, resource: Resource<'_>) -> Result<()> {
        if self.allows(verb, resource) {
            Ok(())
        } else {
            Err(Error::Denied)
        }
    }

    pub(super) fn may_see(&self, resource: Resource<'_>) -> bool {
        self.allows(Verb::Describe, resource)
    }

    pub(super) fn find_queue(&self, name: &str, verb: Verb) -> Result<Arc<Queue>> {
        self.authorize(verb, Resource::Queue(name))?;
        self.inner.queues.named(name).ok_or(Error::UnknownQueue)
    }
}
