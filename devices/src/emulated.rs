//! The two sides of an emulated PCI function, kept in step: the registers the guest configures it by, and
//! the bus it sends its requests on.

use std::sync::{Arc, Mutex, PoisonError};

use iommu::MsiMessage;
use pci::{BAR_COUNT, BarRange, Delivery, Effects, Endpoint, Message, TranslationServices};

use crate::BusMaster;

/// An emulated function, without what it does.
pub(crate) struct EmulatedFunction {
    endpoint: Endpoint,
    master: Arc<BusMaster>,
    /// Held while the bus side follows the configuration side, so that the last change wins in both.
    order: Mutex<()>,
}

impl EmulatedFunction {
    /// A function that is configured through `endpoint` and sends through `master`.
    pub(crate) fn new(endpoint: Endpoint, master: BusMaster) -> Self {
        Self { endpoint, master: Arc::new(master), order: Mutex::new(()) }
    }

    /// The way to memory.
    pub(crate) fn master(&self) -> &Arc<BusMaster> {
        &self.master
    }

    /// Reads configuration space.
    pub(crate) fn config_read(&self, offset: u16, data: &mut [u8]) {
        self.endpoint.config_read(offset, data);
    }

    /// Writes configuration space. Tells whether the guest asked for a reset of the function, which is then
    /// the caller's to do.
    #[must_use]
    pub(crate) fn config_write(&self, offset: u16, data: &[u8]) -> bool {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.follow(self.endpoint.config_write(offset, data))
    }

    /// Follows the bridges above: whether they pass on what the function sends.
    pub(crate) fn upstream(&self, open: bool) {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.follow(self.endpoint.set_upstream(open));
    }

    /// What each BAR decodes now.
    pub(crate) fn bars(&self) -> [Option<BarRange>; BAR_COUNT] {
        self.endpoint.bars()
    }

    /// Reads a BAR where the MSI-X structures are; tells whether it was there.
    pub(crate) fn bar_read(&self, bar: usize, offset: u64, data: &mut [u8]) -> bool {
        self.endpoint.bar_read(bar, offset, data)
    }

    /// Writes a BAR where the MSI-X structures are; tells whether it was there.
    pub(crate) fn bar_write(&self, bar: usize, offset: u64, data: &[u8]) -> bool {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(effects) = self.endpoint.bar_write(bar, offset, data) else { return false };
        self.follow(effects);
        true
    }

    /// Whether MSI or MSI-X is on. If not, only [`Self::set_intx`] is heard.
    pub(crate) fn uses_messages(&self) -> bool {
        self.endpoint.uses_messages()
    }

    /// What software lets the function do of translation services.
    pub(crate) fn translation_services(&self) -> TranslationServices {
        self.endpoint.translation_services()
    }

    /// Shows how an answer to page requests was wrong, if it was.
    pub(crate) fn show_page_response(&self, expected: bool, failure: bool) {
        self.endpoint.show_page_response(expected, failure);
    }

    /// Sends the message of `vector`, if messages are on; keeps it pending while it is masked.
    pub(crate) fn raise(&self, vector: u16) {
        if let Delivery::Send(message) = self.endpoint.raise(vector) {
            self.send(message);
        }
    }

    /// Says whether the function has a reason to interrupt by its wire.
    pub(crate) fn set_intx(&self, asserted: bool) {
        self.endpoint.set_intx(asserted);
    }

    /// Back to the state after power-on: silent, and without a place in any address space.
    pub(crate) fn reset(&self) {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.master.set_enabled(false);
        self.endpoint.reset();
    }

    fn follow(&self, effects: Effects) -> bool {
        self.master.set_enabled(effects.bus_master);
        for message in effects.messages {
            self.send(message);
        }
        effects.reset
    }

    /// Sends a message. One that is refused is lost, as on a real bus; the unit has recorded it.
    fn send(&self, message: Message) {
        self.master.send(MsiMessage { address: message.address, data: message.data }).ok();
    }
}
