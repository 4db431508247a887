//! Class `confirm`: publishers that want to know what is safe.

use super::unimplemented;
use crate::channel::Confirms;
use crate::error::{Fault, Outcome};
use crate::session::Session;
use crate::wire::confirm::{Method as Methods, SelectOk};

impl Session {
    pub(super) fn confirm_method(&mut self, number: u16, method: Methods) -> Outcome<()> {
        let Methods::Select(select) = method else {
            return Err(unimplemented());
        };
        let channel = self.channel(number);
        if channel.transaction.is_some() {
            return Err(Fault::precondition("cannot switch from tx to confirm mode"));
        }
        channel.confirms.get_or_insert_with(Confirms::default);
        if select.nowait {
            return Ok(());
        }
        self.say(number, &SelectOk {})
    }
}
