//! Posting (§5.2): an interrupt becomes a bit in a descriptor in guest memory, and software is notified unless
//! it knows already or does not want to.
//!
//! Software works on the descriptor at the same time, with atomic accesses: it clears ON, then takes PIR. Here
//! it goes the other way round, PIR before ON, and ON is always decided by an exchange, also where it stays as
//! it is: so either software finds the bit of PIR after it has cleared ON, or ON is found clear here and
//! software is notified. No interrupt is lost in between.

use super::{InterruptRemapping, qualified};
use crate::spec::fault::FaultReason;
use crate::spec::interrupt::InterruptEntry;
use crate::spec::posted::Control;
use crate::walk::Fault;
use crate::{MsiMessage, TableMemory};

/// Software that keeps changing a descriptor is notified once more than it asked for after so many attempts.
const ATTEMPTS: usize = 64;

impl<M: TableMemory> InterruptRemapping<M> {
    /// Posts an interrupt as `entry` says; gives the notification that is to be sent, if one is.
    pub(super) fn post(&self, entry: InterruptEntry) -> Result<Option<MsiMessage>, Fault> {
        let extended = self.mode().table().extended();
        let unreadable = |_| qualified(entry, FaultReason::PostedDescriptorUnreadable);
        let checked = |control: Control| {
            let reason = FaultReason::PostedDescriptorReserved;
            if control.reserved(extended) { Err(qualified(entry, reason)) } else { Ok(control) }
        };

        let descriptor = entry.descriptor();
        let at = descriptor.control();
        let mut control = checked(Control(self.memory.read_u64(at).map_err(unreadable)?))?;
        let (word, bit) = descriptor.request(entry.vector());
        self.memory.fetch_or_u64(word, bit).map_err(unreadable)?;

        for _ in 0..ATTEMPTS {
            let notifies = control.notifies(entry.urgent());
            let new = control.0 | if notifies { Control::OUTSTANDING } else { 0 };
            match self.memory.compare_exchange_u64(at, control.0, new).map_err(unreadable)? {
                Ok(_) => return Ok(notifies.then(|| control.notification(extended))),
                Err(found) => control = checked(Control(found))?,
            }
        }
        let before = self.memory.fetch_or_u64(at, Control::OUTSTANDING).map_err(unreadable)?;
        let known = before & Control::OUTSTANDING != 0;
        Ok((!known).then(|| Control(before).notification(extended)))
    }
}

#[cfg(test)]
mod tests;
