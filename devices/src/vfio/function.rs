//! An assigned function, as the guest's PCI hierarchy carries it.

mod events;
mod zone;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iommu::{AssignedFunction, Attachment, Audit, Statistics};
use pci::{BAR_COUNT, BarRange, Command, ExpressKind, Function, Location, Msix};

use self::events::Triggers;
use self::zone::Zone;
use super::bars::DirectBars;
use super::config::{Config, MsixPlace, register};
use super::host::{HostFunction, InterruptKind, RegionIndex, VfioError};
use super::interrupts::Interrupts;
use super::intx::Intx;
use super::mapping::MemorySlots;
use super::requester::Requester;
use super::routes::VectorRoutes;
use crate::InterruptLine;

/// What the host says of a function while the guest has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// An uncorrectable error: the guest does not reach the function any more.
    Failed,
    /// The host wants it back: the guest should power off.
    Requested,
    /// The hardware is there no more: the guest reads all ones of it.
    Gone,
}

/// What an assigned function is made of.
pub struct Parts {
    /// How messages name it.
    pub name: String,
    /// The function.
    pub host: Arc<dyn HostFunction>,
    /// Its place in the guest.
    pub location: Location,
    /// What kind of PCI Express function that makes it; none on a conventional bus.
    pub kind: Option<ExpressKind>,
    /// How many bits the PASIDs of its requests may have, as far as host and remapping unit carry such out; 0 if they
    /// do not.
    pub pasid_bits: u8,
    /// Where its message-signalled interrupts go.
    pub routes: Box<dyn VectorRoutes>,
    /// Where its pin INTA leads, if anywhere.
    pub line: Option<Arc<dyn InterruptLine>>,
    /// Where its BARs are shown.
    pub slots: Arc<dyn MemorySlots>,
    /// Called, on the event loop's thread, when the host says something of it.
    pub events: Box<dyn Fn(HostEvent) + Send + Sync>,
}

/// A function of the host in the guest's PCI hierarchy.
///
/// The order of effects is the point: mappings are there before the hardware may use them, and the hardware
/// has stopped before they go.
pub struct VfioFunction {
    name: String,
    host: Arc<dyn HostFunction>,
    requester: Arc<Requester>,
    attachment: Option<Attachment>,
    bars: DirectBars,
    msix: Option<(MsixPlace, Arc<Msix>)>,
    wire: Option<Arc<Intx>>,
    triggers: Triggers,
    events: Box<dyn Fn(HostEvent) + Send + Sync>,
    /// The guest reaches nothing of it any more.
    off: AtomicBool,
    state: Mutex<State>,
}

struct State {
    config: Config,
    interrupts: Interrupts,
    given_back: bool,
}

impl VfioFunction {
    /// Takes the function over: resets it, and lays out what the guest will see.
    ///
    /// `attach` puts its DMA behind the remapping unit, or gives `None` where the host's mappings are made
    /// once and for all.
    pub fn new(
        parts: Parts,
        attach: impl FnOnce(Arc<dyn AssignedFunction>) -> Option<Attachment>,
    ) -> Result<Arc<Self>, VfioError> {
        let Parts { name, host, location, kind, pasid_bits, routes, line, slots, events } = parts;
        let step = |action| {
            let name = name.clone();
            move |source| VfioError::Step { name, action, source }
        };
        if host.can_reset() {
            host.reset().map_err(step("carry out a reset"))?;
        } else {
            tracing::warn!("{name} cannot be reset: it keeps what its last user left in it");
        }
        let line = line.filter(|_| host.interrupts(InterruptKind::Intx).count > 0);
        let config = Config::new(&*host, line.is_some(), kind, pasid_bits)
            .map_err(step("show configuration space"))?;
        if config.is_bridge() {
            return Err(VfioError::Bridge(name));
        }
        let triggers = Triggers::new().map_err(step("give eventfds for interrupts"))?;
        for (kind, trigger) in
            [(InterruptKind::Error, &triggers.error), (InterruptKind::Request, &triggers.request)]
        {
            if host.interrupts(kind).count > 0 {
                host.set_triggers(kind, 0, &[Some(trigger)]).map_err(step("pass events on"))?;
            }
        }

        let msix = config.found.msix.clone().map(|place| (place.clone(), Arc::new(Msix::new(place.vectors))));
        let trapped: Vec<_> =
            msix.iter().flat_map(|(place, _)| [place.table.clone(), place.pending.clone()]).collect();
        let wire = line.map(|line| Intx::new(host.clone(), line, triggers.wire.clone()));
        let table = msix.as_ref().map(|(_, table)| table.clone());
        let interrupts = Interrupts::new(host.clone(), routes, wire.clone(), config.found.msi, table);
        let requester = Arc::new(Requester::new(location));
        let function = Self {
            attachment: attach(requester.clone()),
            requester,
            bars: DirectBars::new(&*host, slots, &trapped),
            msix,
            wire,
            triggers,
            events,
            off: AtomicBool::new(false),
            state: Mutex::new(State { config, interrupts, given_back: false }),
            name,
            host,
        };
        {
            let mut state = function.state();
            let State { config, interrupts, .. } = &mut *state;
            function.write_command(config);
            interrupts.follow(&config.space);
        }
        Ok(Arc::new(function))
    }

    /// Gives the function back to the host, reset and with nothing mapped. The guest reaches nothing of it
    /// from then on. Dropping it does the same.
    pub fn stop(&self) {
        self.off.store(true, Ordering::Release);
        let mut state = self.state();
        self.silence(&mut state);
        if std::mem::replace(&mut state.given_back, true) {
            return;
        }
        for kind in [InterruptKind::Error, InterruptKind::Request] {
            if self.host.interrupts(kind).count > 0
                && let Err(error) = self.host.disable(kind)
            {
                tracing::debug!("{}: {kind:?} events stay on: {error}", self.name);
            }
        }
        self.reset_hardware();
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What has been asked of the host for its address space; `None` where there is no remapping unit.
    pub fn statistics(&self) -> Option<Statistics> {
        self.attachment.as_ref().map(Attachment::statistics)
    }

    /// Compares what the host maps for it with what the guest's tables say; `None` where there is no
    /// remapping unit.
    pub fn audit(&self) -> Option<Audit> {
        self.attachment.as_ref().map(Attachment::audit)
    }

    /// Whether the hardware is still there: where there is none, every bit reads as one.
    pub fn is_present(&self) -> bool {
        // The kernel gives vendor and device from memory, and this from the hardware.
        let mut revision = [0; 4];
        let read = self.host.read(RegionIndex::Config, register::REVISION.into(), &mut revision);
        read.is_ok() && revision != [0xFF; 4]
    }

    /// Stops its interrupts and its DMA and takes its BARs out of the guest.
    fn silence(&self, state: &mut State) {
        state.interrupts.quiet();
        self.write_hardware_command(Command::empty());
        self.cut_off();
    }

    /// Takes away what it reaches, and what is reached of it.
    fn cut_off(&self) {
        self.set_bus_master(false);
        self.set_pasid_bits(0);
        self.bars.hide();
    }

    fn reset_hardware(&self) {
        if !self.host.can_reset() {
            return;
        }
        match self.host.reset() {
            Ok(()) => {}
            // The host is taking it from us at this moment, and resets it itself.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                tracing::debug!("The host does not reset {} now", self.name);
            }
            Err(error) => tracing::warn!("The host does not reset {}: {error}", self.name),
        }
    }

    /// Brings hardware and registers to their state after power-on.
    fn start_over(&self, state: &mut State) {
        self.silence(state);
        self.reset_hardware();
        let State { config, interrupts, .. } = state;
        config.space.reset();
        if let Some((_, table)) = &self.msix {
            table.reset();
        }
        self.write_command(config);
        interrupts.follow(&config.space);
    }

    /// Carries the command register to the hardware.
    ///
    /// Only what concerns the function alone gets there: Bus Master and Interrupt Disable. The hardware's
    /// BARs always decode, as the host's mappings of them rely on it; the guest's enable bits decide whether
    /// the guest sees them.
    fn write_command(&self, config: &Config) {
        let may_send = config.may_send();
        if may_send {
            self.set_bus_master(true);
        }
        let mut command = config.command() & Command::INTERRUPT_DISABLE;
        command.set(Command::BUS_MASTER, may_send);
        self.write_hardware_command(command);
        if !may_send {
            self.set_bus_master(false);
        }
    }

    fn write_hardware_command(&self, command: Command) {
        let command = command | Command::IO_SPACE | Command::MEMORY_SPACE;
        let data = command.bits().to_le_bytes();
        if let Err(error) = self.host.write(RegionIndex::Config, register::COMMAND.into(), &data) {
            tracing::warn!("The host does not write the command register of {}: {error}", self.name);
        }
    }

    /// Has the host's mappings follow the Bus Master bit; on return they have.
    fn set_bus_master(&self, on: bool) {
        if self.requester.bus_master() == on {
            return;
        }
        self.requester.set_bus_master(on);
        if let Some(attachment) = &self.attachment {
            attachment.refresh();
        }
    }

    /// Has PASIDs lead somewhere, or nowhere; on return they do.
    fn set_pasid_bits(&self, bits: u8) {
        if self.requester.set_pasid_bits(bits) != bits
            && let Some(attachment) = &self.attachment
        {
            attachment.refresh();
        }
    }

    fn is_off(&self) -> bool {
        self.off.load(Ordering::Acquire)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_hardware(&self, bar: usize, offset: u64, data: &mut [u8]) {
        let region = RegionIndex::of_bar(bar);
        if region.is_none_or(|region| self.host.read(region, offset, data).is_err()) {
            // As when nobody answers.
            data.fill(0xFF);
        }
    }
}

impl Function for VfioFunction {
    fn config_read(&self, offset: u16, data: &mut [u8]) {
        if self.is_off() {
            data.fill(0xFF);
            return;
        }
        let mut state = self.state();
        let State { config, interrupts, .. } = &mut *state;
        if let Some(msi) = config.found.msi
            && msi.shows_pending(offset, data.len())
        {
            msi.show_pending(&mut config.space, |vector| interrupts.is_pending(vector));
        }
        config.read(&*self.host, offset, data);
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        let mut state = self.state();
        if self.is_off() {
            return;
        }
        let State { config, interrupts, .. } = &mut *state;
        let wishes = |config: &Config| (config.may_send(), config.command() & Command::INTERRUPT_DISABLE);
        let before = wishes(config);
        config.write(&*self.host, offset, data);
        if config.take_reset_request() {
            self.start_over(&mut state);
            return;
        }
        let after = wishes(config);
        if after != before {
            self.write_command(config);
        }
        self.set_pasid_bits(config.pasid_bits());
        if after.1 != before.1
            && let Some(wire) = &self.wire
        {
            wire.disabled_by_guest(!after.1.is_empty());
        }
        if let Some((place, table)) = &self.msix {
            let control = config.space.u16(place.at + 2);
            if table.control() & 0xC000 != control & 0xC000 {
                // What it holds back is in the routes, never in the table.
                let _ = table.set_control(control);
                interrupts.follow(&config.space);
            }
        }
        if config.found.msi.is_some_and(|msi| msi.touched_by(offset, data.len())) {
            interrupts.follow(&config.space);
        }
    }

    fn bars(&self) -> [Option<BarRange>; BAR_COUNT] {
        if self.is_off() { [None; BAR_COUNT] } else { self.state().config.decoded() }
    }

    fn bar_read(&self, bar: usize, offset: u64, data: &mut [u8]) {
        if self.is_off() {
            data.fill(0xFF);
            return;
        }
        match self.zone(bar, offset, data.len()) {
            Zone::Hardware => self.read_hardware(bar, offset, data),
            Zone::Table(table, at) => table.table_read(at, data),
            Zone::Pending(at) => self.read_pending(bar, offset, at, data),
            Zone::Nothing => data.fill(0),
        }
    }

    fn bar_write(&self, bar: usize, offset: u64, data: &[u8]) {
        if self.is_off() {
            return;
        }
        match self.zone(bar, offset, data.len()) {
            Zone::Hardware => {
                if let Some(region) = RegionIndex::of_bar(bar)
                    && let Err(error) = self.host.write(region, offset, data)
                {
                    tracing::debug!("The host does not write BAR {bar} at {offset:#x}: {error}");
                }
            }
            Zone::Table(table, at) => {
                let mut state = self.state();
                let change = table.table_write(at, data);
                state.interrupts.follow_vectors(change.vectors);
            }
            Zone::Pending(_) | Zone::Nothing => {}
        }
    }

    fn reachable(&self, bars: &[Option<BarRange>; BAR_COUNT]) {
        if !self.is_off() {
            self.bars.follow(bars);
        }
        // It may have gone off meanwhile, and hidden its BARs before they were shown here.
        if self.is_off() {
            self.bars.hide();
        }
    }

    fn renumbered(&self) {
        if let Some(attachment) = &self.attachment {
            attachment.refresh();
        }
        self.state().interrupts.renumbered();
    }

    fn upstream(&self, open: bool) {
        let mut state = self.state();
        state.config.set_upstream(open);
        if !self.is_off() {
            self.write_command(&state.config);
        }
    }

    fn reset(&self) {
        let mut state = self.state();
        if !self.is_off() {
            self.start_over(&mut state);
        }
    }
}

impl Drop for VfioFunction {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
