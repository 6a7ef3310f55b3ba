//! What slots have to say, until the event loop listens: the guest says it on its processors' threads.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices::vfio::HostEvent;
use devices::{InterruptLine, InterruptSource};
use iommu::{MsiMessage, SourceId};
use pci::{Message, SlotListener};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// What has been said of one slot, and not been heard yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// The guest has let go of what is in it.
    pub(super) released: bool,
    /// The host wants it back.
    pub(super) requested: bool,
    /// It has failed.
    pub(super) failed: bool,
}

/// What follows from news of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The guest loses what is in it, at once and unasked.
    Lose,
    /// What is in it goes back to the host.
    GiveBack,
    /// The guest is asked to let go of what is in it.
    Ask,
    /// Nothing.
    Wait,
}

impl News {
    /// What follows, of a function that is still there or not, and that the guest has let go of or not.
    pub(super) fn step(self, present: bool, released: bool) -> Step {
        if self.failed || !present {
            Step::Lose
        } else if self.released && released {
            Step::GiveBack
        } else if self.requested {
            Step::Ask
        } else {
            // The guest has thought better of it meanwhile.
            Step::Wait
        }
    }
}

/// A place for the news of each slot: however often a guest says the same, there is no more to keep.
pub(in crate::machine) struct Mailbox {
    news: Mutex<BTreeMap<u16, News>>,
    /// Signalled when there is news.
    pub(super) bell: EventFd,
}

impl Mailbox {
    /// A mailbox for no slot.
    pub(in crate::machine) fn new() -> io::Result<Arc<Self>> {
        let bell = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC)?;
        Ok(Arc::new(Self { news: Mutex::default(), bell }))
    }

    /// Takes news of this slot from now on.
    pub(in crate::machine) fn open(&self, slot: u16) {
        self.news().insert(slot, News::default());
    }

    /// What the host says of the function in a slot.
    pub(super) fn host(&self, slot: u16, event: HostEvent) {
        self.note(slot, |news| match event {
            HostEvent::Requested => news.requested = true,
            HostEvent::Failed | HostEvent::Gone => news.failed = true,
        });
    }

    /// Forgets the news of a slot: they were of what has left it.
    pub(super) fn forget(&self, slot: u16) {
        if let Some(news) = self.news().get_mut(&slot) {
            *news = News::default();
        }
    }

    /// Takes all news.
    pub(super) fn take(&self) -> Vec<(u16, News)> {
        // It does not block: an error says that the bell is silent.
        let _ = self.bell.read();
        let mut news = self.news();
        let fresh = news.iter_mut().filter(|(_, news)| **news != News::default());
        fresh.map(|(slot, news)| (*slot, std::mem::take(news))).collect()
    }

    fn note(&self, slot: u16, note: impl FnOnce(&mut News)) {
        if let Some(news) = self.news().get_mut(&slot) {
            note(news);
            // A full counter rings just as well.
            let _ = self.bell.write(1);
        }
    }

    fn news(&self) -> MutexGuard<'_, BTreeMap<u16, News>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A root port's way to the rest of the machine.
pub(in crate::machine) struct Port {
    slot: u16,
    source: SourceId,
    interrupts: InterruptSource,
    line: Arc<dyn InterruptLine>,
    mailbox: Arc<Mailbox>,
}

impl Port {
    /// The port of this slot, which interrupts as `source` or by `line`.
    pub(in crate::machine) fn new(
        slot: u16,
        source: SourceId,
        interrupts: InterruptSource,
        line: Arc<dyn InterruptLine>,
        mailbox: Arc<Mailbox>,
    ) -> Self {
        Self { slot, source, interrupts, line, mailbox }
    }
}

impl SlotListener for Port {
    fn send(&self, message: Message) {
        let message = MsiMessage { address: message.address, data: message.data };
        // A refused one is the guest's to learn of, by the fault that has been recorded.
        let _ = self.interrupts.send(self.source, message);
    }

    fn set_wire(&self, asserted: bool) {
        self.line.set(asserted);
    }

    fn released(&self) {
        self.mailbox.note(self.slot, |news| news.released = true);
    }
}

#[cfg(test)]
mod tests;
