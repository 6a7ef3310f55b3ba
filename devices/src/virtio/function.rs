//! A virtio device as a PCI function, and the work it does when its doorbell rings.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_manager::{EventOps, EventSet, EventSubscriber, Events};
use pci::{
    BAR_COUNT, Bar, BarKind, BarRange, EndpointBuilder, EndpointError, ExpressKind, Function, Identity,
    InterruptPin,
};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::block::Block;
use super::common::{Common, Effect, NO_VECTOR};
use super::disk::Disk;
use super::model::{Features, Model};
use super::queue::QueueError;
use super::window::{
    MSIX_BAR, MSIX_PENDING, MSIX_SIZE, STRUCTURES_BAR, STRUCTURES_SIZE, Structure, Window, add_capabilities,
};
use crate::emulated::EmulatedFunction;
use crate::{BusMaster, DmaError, InterruptLine, Remapping};

/// Requests carried out before others on the same thread get their turn.
const BATCH: usize = 32;

/// ISR status: requests have been given back.
const ISR_QUEUE: u8 = 1;
/// ISR status: the configuration, or the status, has changed.
const ISR_CONFIG: u8 = 2;

/// Why a virtio device cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum VirtioError {
    /// Its registers cannot be laid out.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The system gives no event descriptor.
    #[error("Cannot create the doorbell of a virtio device")]
    Doorbell(#[source] io::Error),
}

/// A virtio device.
///
/// Register accesses come from vCPU threads; requests are carried out on the thread of the event loop it is
/// a subscriber of, one at a time. Reset waits for the request under way: afterwards the device touches no
/// memory any more.
pub struct VirtioFunction {
    function: EmulatedFunction,
    window: Window,
    config: Vec<u8>,
    doorbell: EventFd,
    isr: Mutex<u8>,
    state: Mutex<State>,
}

struct State {
    common: Common,
    model: Box<dyn Model>,
}

/// How far a look at the queues came.
#[derive(PartialEq, Eq)]
enum Step {
    /// A request was carried out; there may be more.
    Worked,
    /// Nothing is to be done.
    Idle,
    /// The driver broke the rules.
    Broken,
}

impl VirtioFunction {
    /// The interrupt pin the device uses.
    pub const PIN: InterruptPin = InterruptPin::A;

    /// A disk with the serial number `id`, of which 20 bytes count. `kind` follows from where it is plugged
    /// in; `line` is where its pin leads. Behind a remapping unit it works only with drivers that know that
    /// its addresses are translated.
    pub fn block(
        master: BusMaster,
        line: Arc<dyn InterruptLine>,
        kind: Option<ExpressKind>,
        disk: Disk,
        id: &str,
    ) -> Result<Self, VirtioError> {
        Self::new(master, line, kind, Box::new(Block::new(disk, id)))
    }

    fn new(
        master: BusMaster,
        line: Arc<dyn InterruptLine>,
        express: Option<ExpressKind>,
        model: Box<dyn Model>,
    ) -> Result<Self, VirtioError> {
        let kind = model.kind();
        let identity = Identity {
            vendor: 0x1AF4,
            device: 0x1040 + kind.device_type,
            revision: 1,
            class: kind.class,
            subsystem_vendor: 0x1AF4,
            subsystem: 0x1100,
        };
        let mut builder = EndpointBuilder::new(&identity);
        builder
            .bar(STRUCTURES_BAR, Bar { kind: BarKind::Memory32, size: STRUCTURES_SIZE.into() })?
            .bar(MSIX_BAR, Bar { kind: BarKind::Memory32, size: MSIX_SIZE.into() })?
            .interrupt_pin(Self::PIN, move |asserted| line.set(asserted))
            .power_management()?
            .express(express, true)?
            .msix(kind.queue_sizes.len() as u16 + 1, (MSIX_BAR, 0), (MSIX_BAR, MSIX_PENDING))?;
        let window = add_capabilities(&mut builder)?;

        let base = Features::VERSION_1 | Features::ACCESS_PLATFORM;
        let offered = Features(base | model.features());
        let required = Features(match master.remapping() {
            Remapping::Absent => Features::VERSION_1,
            Remapping::Unit(_) => base,
        });
        Ok(Self {
            function: EmulatedFunction::new(builder.build(), master),
            window,
            config: model.config(),
            doorbell: EventFd::new(EFD_NONBLOCK).map_err(VirtioError::Doorbell)?,
            isr: Mutex::new(0),
            state: Mutex::new(State { common: Common::new(offered, required, kind.queue_sizes), model }),
        })
    }

    /// Carries out the requests that wait, up to a batch of them, and tells the driver.
    fn serve(&self) {
        let step = (0..BATCH).map(|_| self.step()).find(|step| *step != Step::Worked);
        if step == Some(Step::Broken) || !self.tell_driver() {
            self.fail();
        } else if step.is_none() {
            self.ring();
        }
    }

    /// Carries out one request of each queue.
    fn step(&self) -> Step {
        let mut state = self.state();
        let State { common, model } = &mut *state;
        if !common.working() {
            return Step::Idle;
        }
        let features = common.features();
        let mut step = Step::Idle;
        for slot in &mut common.queues {
            let Some(queue) = &mut slot.running else { continue };
            let master = self.function.master();
            let chain = match queue.pop(master) {
                Ok(Some(chain)) => chain,
                // A function that may not use the bus waits until it may.
                Ok(None) | Err(QueueError::Dma(DmaError::NotMaster)) => continue,
                Err(error) => return broken(&error),
            };
            let done = model.process(master, &chain, features);
            match done.and_then(|written| queue.push(master, &chain, written)) {
                Ok(()) => slot.untold = true,
                Err(error) => return broken(&error),
            }
            step = Step::Worked;
        }
        step
    }

    /// Interrupts for the queues with news, where the driver wants to hear; `false` if it cannot be asked.
    fn tell_driver(&self) -> bool {
        let mut state = self.state();
        if !state.common.working() {
            return true;
        }
        for slot in &mut state.common.queues {
            let Some(queue) = &slot.running else { continue };
            if std::mem::take(&mut slot.untold) {
                match queue.wants_interrupt(self.function.master()) {
                    Ok(true) => self.interrupt(slot.vector, ISR_QUEUE),
                    Ok(false) | Err(QueueError::Dma(DmaError::NotMaster)) => {}
                    Err(error) => {
                        broken(&error);
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Stops until the driver resets the device, and asks it to.
    fn fail(&self) {
        let mut state = self.state();
        if state.common.fail() {
            self.interrupt(state.common.config_vector, ISR_CONFIG);
        }
    }

    fn interrupt(&self, vector: u16, cause: u8) {
        if self.function.uses_messages() {
            if vector != NO_VECTOR {
                self.function.raise(vector);
            }
        } else {
            let mut isr = self.isr();
            *isr |= cause;
            self.function.set_intx(true);
        }
    }

    /// Gives the ISR status and clears it, and with it the interrupt.
    fn take_isr(&self) -> u8 {
        let mut isr = self.isr();
        self.function.set_intx(false);
        std::mem::take(&mut *isr)
    }

    fn ring(&self) {
        // It fails only when it has rung 2^64 - 2 times unheard.
        self.doorbell.write(1).ok();
    }

    fn structure_read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        match Structure::at(offset) {
            Some((Structure::Common, at)) => self.state().common.read(at, data),
            Some((Structure::Isr, 0)) => {
                if let [first, ..] = data {
                    *first = self.take_isr();
                }
            }
            Some((Structure::Device, at)) => {
                let config = self.config.iter().skip(at as usize);
                data.iter_mut().zip(config).for_each(|(to, from)| *to = *from);
            }
            _ => {}
        }
    }

    fn structure_write(&self, offset: u64, data: &[u8]) {
        match Structure::at(offset) {
            Some((Structure::Common, at)) => {
                let mut state = self.state();
                let effect = state.common.write(at, data);
                if effect == Effect::Reset {
                    self.take_isr();
                }
                drop(state);
                match effect {
                    Effect::Start => self.ring(),
                    Effect::Broken => self.fail(),
                    Effect::None | Effect::Reset => {}
                }
            }
            // Whichever queue it is for: all are looked at.
            Some((Structure::Notify, _)) => self.ring(),
            _ => {}
        }
    }

    /// Where in the BAR an access to configuration space goes, if it goes through the window.
    fn through_window(&self, offset: u16, length: usize) -> Option<u64> {
        if !self.window.hit(offset) {
            return None;
        }
        let mut aim = [0; 12];
        for (at, word) in (self.window.aim()..).step_by(4).zip(aim.chunks_exact_mut(4)) {
            self.function.config_read(at, word);
        }
        self.window.target(offset, length, aim)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn isr(&self) -> MutexGuard<'_, u8> {
        self.isr.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn broken(error: &QueueError) -> Step {
    tracing::debug!(%error, "virtio: the device needs a reset");
    Step::Broken
}

impl Function for VirtioFunction {
    fn config_read(&self, offset: u16, data: &mut [u8]) {
        match self.through_window(offset, data.len()) {
            Some(target) => self.structure_read(target, data),
            None => self.function.config_read(offset, data),
        }
    }

    fn config_write(&self, offset: u16, data: &[u8]) {
        if let Some(target) = self.through_window(offset, data.len()) {
            self.structure_write(target, data);
            return;
        }
        if self.function.config_write(offset, data) {
            self.reset();
        }
        // Requests may have waited for the Bus Master bit.
        self.ring();
    }

    fn bars(&self) -> [Option<BarRange>; BAR_COUNT] {
        self.function.bars()
    }

    fn bar_read(&self, bar: usize, offset: u64, data: &mut [u8]) {
        if bar == STRUCTURES_BAR {
            self.structure_read(offset, data);
        } else if !self.function.bar_read(bar, offset, data) {
            data.fill(0);
        }
    }

    fn bar_write(&self, bar: usize, offset: u64, data: &[u8]) {
        if bar == STRUCTURES_BAR {
            self.structure_write(offset, data);
        } else {
            self.function.bar_write(bar, offset, data);
        }
    }

    fn upstream(&self, open: bool) {
        self.function.upstream(open);
        // As with the Bus Master bit.
        self.ring();
    }

    fn reset(&self) {
        let mut state = self.state();
        state.common.reset();
        self.take_isr();
        self.function.reset();
    }
}

impl EventSubscriber for VirtioFunction {
    fn init(&self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::new(&self.doorbell, EventSet::IN)) {
            tracing::error!(%error, "virtio: nobody hears the doorbell");
        }
    }

    fn process(&self, _events: Events, _ops: &mut EventOps) {
        // Before looking at the queues: what comes in later rings again.
        self.doorbell.read().ok();
        self.serve();
    }
}

#[cfg(test)]
mod tests;
