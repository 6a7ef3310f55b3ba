//! The configuration side of an emulated function: header, BARs, capabilities and interrupts in one piece.
//!
//! A device model owns an [`Endpoint`] and hands it the accesses it gets as a [`crate::Function`]; what
//! comes back as [`Effects`] is for the model to act on.

mod builder;

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use builder::{EndpointBuilder, EndpointError};

use crate::config_space::register;
use crate::header::STATUS_INTERRUPT;
use crate::{
    Ats, BAR_COUNT, BarRange, Bars, Command, ConfigSpace, Delivery, Express, Message, Msi, Msix, MsixChange,
    PageRequestInterface, PasidCapability, PowerManagement,
};

/// What a write to an [`Endpoint`] asks of its device model, in the order in which to do it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// Reset the function as [`crate::Function::reset`] does, and ignore the rest.
    pub reset: bool,
    /// Whether the function may send requests now.
    pub bus_master: bool,
    /// Interrupts that were pending behind a mask and have to be sent now.
    pub messages: Vec<Message>,
    /// Vectors whose message or mask may have changed.
    pub vectors: Range<u16>,
}

/// What software lets a function do of translation services; nothing of what the function does not offer.
#[expect(clippy::struct_excessive_bools, reason = "They are independent bits of the capabilities")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TranslationServices {
    /// Translation requests and translated requests.
    pub translations: bool,
    /// How many page requests may be unanswered.
    pub page_requests: u32,
    /// PASIDs in requests.
    pub pasids: bool,
    /// Requests to execute in the address space of a PASID.
    pub execute: bool,
    /// Requests with privilege in the address space of a PASID.
    pub privileged: bool,
}

/// The configuration side of one emulated function. All methods may be called from any thread.
pub struct Endpoint {
    state: Mutex<State>,
    bars: Bars,
    msi: Option<Msi>,
    msix: Option<MsixPlace>,
    power: Option<PowerManagement>,
    express: Option<Express>,
    services: Services,
    wire: Option<Wire>,
}

/// The capabilities of translation services that the function has.
#[derive(Clone, Copy, Default)]
struct Services {
    ats: Option<Ats>,
    pasid: Option<PasidCapability>,
    pages: Option<PageRequestInterface>,
}

/// What drives the function's share of its INTx wire.
type Wire = Box<dyn Fn(bool) + Send + Sync>;

struct State {
    config: ConfigSpace,
    /// The level last given to the wire.
    wire_asserted: bool,
    /// Whether the bridges above pass requests on.
    upstream: bool,
}

/// An MSI-X table, the BAR ranges it is in, and the capability that rules it.
struct MsixPlace {
    msix: Msix,
    capability: u16,
    table: (usize, Range<u64>),
    pending: (usize, Range<u64>),
}

impl Endpoint {
    /// Reads configuration space.
    pub fn config_read(&self, offset: u16, data: &mut [u8]) {
        self.state().config.read(offset, data);
    }

    /// Writes configuration space.
    pub fn config_write(&self, offset: u16, data: &[u8]) -> Effects {
        let mut state = self.state();
        let config = &mut state.config;
        let power_before = self.power.map(|power| power.control(config));
        let msi_before = self.msi.map(|msi| msi.fingerprint(config));

        config.write(offset, data);

        let reset = self.express.is_some_and(|express| express.take_reset_request(config));
        if let (Some(power), Some(before)) = (self.power, power_before) {
            power.settle(config, before);
        }
        if let Some(pages) = self.services.pages {
            pages.settle(config);
        }
        let mut change = MsixChange::default();
        if let Some(msi) = self.msi {
            change.messages = msi.take_unmasked(config);
            if msi_before != Some(msi.fingerprint(config)) {
                change.vectors = 0..msi.granted(config);
            }
        }
        if let Some(place) = &self.msix {
            let msix = place.msix.set_control(config.u16(place.capability + 2));
            change.messages.extend(msix.messages);
            if !msix.vectors.is_empty() {
                change.vectors = msix.vectors;
            }
        }
        self.drive_wire(&mut state);
        Effects { reset, ..self.effects(&state, change) }
    }

    /// What each BAR decodes now: nothing in D3hot.
    pub fn bars(&self) -> [Option<BarRange>; BAR_COUNT] {
        let state = self.state();
        if self.is_on(&state) { self.bars.decoded(&state.config) } else { [None; BAR_COUNT] }
    }

    /// Reads a BAR where the MSI-X table or pending bits are; `false` means that the access is the model's.
    pub fn bar_read(&self, bar: usize, offset: u64, data: &mut [u8]) -> bool {
        let Some(place) = &self.msix else { return false };
        if place.table.0 == bar && place.table.1.contains(&offset) {
            place.msix.table_read(offset - place.table.1.start, data);
            true
        } else if place.pending.0 == bar && place.pending.1.contains(&offset) {
            place.msix.pending_read(offset - place.pending.1.start, data);
            true
        } else {
            false
        }
    }

    /// Writes a BAR where the MSI-X table or pending bits are; `None` means that the access is the model's.
    pub fn bar_write(&self, bar: usize, offset: u64, data: &[u8]) -> Option<Effects> {
        let place = self.msix.as_ref()?;
        let change = if place.table.0 == bar && place.table.1.contains(&offset) {
            place.msix.table_write(offset - place.table.1.start, data)
        } else if place.pending.0 == bar && place.pending.1.contains(&offset) {
            MsixChange::default()
        } else {
            return None;
        };
        Some(self.effects(&self.state(), change))
    }

    /// Raises a message-signalled interrupt, by MSI-X if it is on, else by MSI. [`Delivery::Off`] means that
    /// both are off and [`Endpoint::set_intx`] is the way.
    pub fn raise(&self, vector: u16) -> Delivery {
        if let Some(place) = &self.msix {
            match place.msix.raise(vector) {
                Delivery::Off => {}
                delivery => return delivery,
            }
        }
        match self.msi {
            Some(msi) => msi.raise(&mut self.state().config, vector),
            None => Delivery::Off,
        }
    }

    /// Whether MSI or MSI-X is on, so that INTx is not used.
    pub fn uses_messages(&self) -> bool {
        self.messages_on(&self.state())
    }

    /// Says whether the function has a reason to interrupt through its INTx pin. The wire follows, unless
    /// Interrupt Disable, MSI, MSI-X or D3hot keeps it quiet, and goes on following them.
    pub fn set_intx(&self, asserted: bool) {
        let mut state = self.state();
        let status = state.config.u16(register::STATUS) & !STATUS_INTERRUPT;
        let bit = if asserted { STATUS_INTERRUPT } else { 0 };
        state.config.set_u16(register::STATUS, status | bit);
        self.drive_wire(&mut state);
    }

    /// The MSI-X table, for those who make routes from it.
    pub fn msix(&self) -> Option<&Msix> {
        self.msix.as_ref().map(|place| &place.msix)
    }

    /// Follows [`crate::Function::upstream`].
    pub fn set_upstream(&self, open: bool) -> Effects {
        let mut state = self.state();
        state.upstream = open;
        self.effects(&state, MsixChange::default())
    }

    /// Whether the function may send requests: Bus Master is set, it is in D0, and the bridges above let
    /// requests through.
    pub fn bus_master(&self) -> bool {
        self.masters(&self.state())
    }

    /// What software lets the function do of translation services.
    pub fn translation_services(&self) -> TranslationServices {
        let config = &self.state().config;
        let Services { ats, pasid, pages } = self.services;
        TranslationServices {
            translations: ats.is_some_and(|ats| ats.is_enabled(config)),
            page_requests: pages.map_or(0, |pages| pages.granted(config)),
            pasids: pasid.is_some_and(|pasid| pasid.is_enabled(config)),
            execute: pasid.is_some_and(|pasid| pasid.may_execute(config)),
            privileged: pasid.is_some_and(|pasid| pasid.may_be_privileged(config)),
        }
    }

    /// Shows in the status of page requests how a response was wrong, if it was.
    pub fn show_page_response(&self, expected: bool, failure: bool) {
        let Some(pages) = self.services.pages else { return };
        let config = &mut self.state().config;
        if !expected {
            pages.show_unexpected_group(config);
        }
        if failure {
            pages.show_failure(config);
        }
    }

    /// The command register.
    pub fn command(&self) -> Command {
        self.state().config.command()
    }

    /// Brings configuration space and MSI-X back to their state after power-on, and lets go of the wire.
    pub fn reset(&self) {
        let mut state = self.state();
        state.config.reset();
        if let Some(place) = &self.msix {
            place.msix.reset();
        }
        self.drive_wire(&mut state);
    }

    fn effects(&self, state: &State, change: MsixChange) -> Effects {
        Effects {
            reset: false,
            bus_master: self.masters(state),
            messages: change.messages,
            vectors: change.vectors,
        }
    }

    fn is_on(&self, state: &State) -> bool {
        self.power.is_none_or(|power| power.is_on(&state.config))
    }

    fn masters(&self, state: &State) -> bool {
        state.config.command().contains(Command::BUS_MASTER) && self.is_on(state) && state.upstream
    }

    fn messages_on(&self, state: &State) -> bool {
        self.msi.is_some_and(|msi| msi.is_enabled(&state.config))
            || self.msix.as_ref().is_some_and(|place| place.msix.is_enabled())
    }

    /// Brings the wire in line with the registers. The lock is held meanwhile, so that the last level given
    /// is the right one.
    fn drive_wire(&self, state: &mut State) {
        let Some(wire) = &self.wire else { return };
        let asserted = state.config.u16(register::STATUS) & STATUS_INTERRUPT != 0
            && !state.config.command().contains(Command::INTERRUPT_DISABLE)
            && !self.messages_on(state)
            && self.is_on(state);
        if std::mem::replace(&mut state.wire_asserted, asserted) != asserted {
            wire(asserted);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
