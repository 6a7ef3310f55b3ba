//! Software writes to registers that do something: the global command, register-based invalidation, and the
//! doors to the queue and to fault reporting.

use crate::invalidation::Invalidation;
use crate::mode::{DmaMode, InterruptMode};
use crate::queue::Queue;
use crate::spec::bits;
use crate::spec::context::{RootPointer, TableMode};
use crate::spec::descriptor::{context_granularity, iotlb_granularity};
use crate::spec::interrupt::TablePointer;
use crate::spec::registers::{
    CCMD, FECTL, FSTS, GCMD, GSTS, Global, ICS, IECTL, IOTLB, IQT, IRTA, IVA, PECTL, PMEN, PQT, PRS, RTADDR,
    RUN, ccmd, iotlb,
};
use crate::unit::{Outbox, Unit};
use crate::{DomainId, EntryRange, TableMemory};

/// Offsets of the words that hold a command bit.
const CCMD_HIGH: u64 = CCMD + 4;
const IOTLB_HIGH: u64 = IOTLB + 4;

/// The command bit as it stands in the upper word.
const RUN_HIGH: u32 = (RUN >> 32) as u32;

impl<M: TableMemory + 'static> Unit<M> {
    /// Carries out a write to the word at `offset`.
    pub(crate) fn write_word(&self, offset: u64, value: u32, outbox: &mut Outbox) {
        let registers = &self.registers;
        if !registers.has(offset) {
            return;
        }
        match offset {
            GCMD => {
                let command = Global::from_bits_truncate(value) & Global::supported(&self.capabilities);
                self.global_command(&mut self.lock_queue(), command, outbox);
            }
            FSTS => {
                if self.faults.write_status(registers, value) {
                    self.run_queue(&mut self.lock_queue(), outbox);
                }
            }
            PMEN => self.protect(value, outbox),
            FECTL => outbox.fault(self.faults.write_control(registers, value)),
            ICS => self.completion.write_status(registers, value),
            IECTL => outbox.invalidation(self.completion.write_control(registers, value)),
            PQT => self.page_requests.write_tail(registers, value),
            PRS => self.page_requests.write_status(registers, value),
            PECTL => outbox.page_request(self.page_requests.write_control(registers, value)),
            IQT => {
                registers.write(IQT, value);
                self.run_queue(&mut self.lock_queue(), outbox);
            }
            CCMD_HIGH => {
                let mut queue = self.lock_queue();
                if registers.write(CCMD_HIGH, value) & RUN_HIGH != 0 {
                    self.context_command(&mut queue, outbox);
                }
            }
            IOTLB_HIGH => {
                let mut queue = self.lock_queue();
                if registers.write(IOTLB_HIGH, value) & RUN_HIGH != 0 {
                    self.iotlb_command(&mut queue, outbox);
                }
            }
            _ if self.counters.take(offset) => {
                outbox.counter(self.counters.write(registers, offset, value));
            }
            _ if self.faults.is_last_word(offset) => self.faults.write_record(registers, offset, value),
            _ => {
                registers.write(offset, value);
            }
        }
    }

    /// GCMD_REG (§11.4.4). One bit at a time is to change; where software changes several, tables are taken
    /// into use before what works on them is switched on.
    fn global_command(&self, queue: &mut Queue, command: Global, outbox: &mut Outbox) {
        if command.contains(Global::ROOT_POINTER) {
            self.set_root_pointer(queue, outbox);
        }
        if command.contains(Global::INTERRUPT_POINTER) {
            self.set_interrupt_pointer();
        }
        let changed = self.global_status() ^ command;
        // A command to switch it off may still be under way.
        queue.switch_off_later(false);
        if changed.contains(Global::QUEUE) {
            self.switch_queue(queue, command.contains(Global::QUEUE), outbox);
        }
        if changed.contains(Global::TRANSLATION) {
            let on = command.contains(Global::TRANSLATION);
            self.change_dma_mode(queue, |mode| mode.with_translating(on), outbox);
            self.set_global_status(Global::TRANSLATION, on);
        }
        if changed.contains(Global::INTERRUPT_REMAPPING) {
            let on = command.contains(Global::INTERRUPT_REMAPPING);
            self.change_interrupt_mode(|mode| mode.with_remapping(on));
            self.set_global_status(Global::INTERRUPT_REMAPPING, on);
        }
        if changed.contains(Global::COMPATIBILITY) {
            let on = command.contains(Global::COMPATIBILITY);
            self.change_interrupt_mode(|mode| mode.with_compatibility(on));
            self.set_global_status(Global::COMPATIBILITY, on);
        }
    }

    fn set_root_pointer(&self, queue: &mut Queue, outbox: &mut Outbox) {
        self.set_global_status(Global::ROOT_POINTER, false);
        let root = RootPointer(self.registers.get_u64(RTADDR));
        self.change_dma_mode(queue, |mode| mode.with_root(root), outbox);
        self.set_global_status(Global::ROOT_POINTER, true);
    }

    fn set_interrupt_pointer(&self) {
        self.set_global_status(Global::INTERRUPT_POINTER, false);
        let table = TablePointer(self.registers.get_u64(IRTA));
        self.change_interrupt_mode(|mode| mode.with_table(table));
        self.set_global_status(Global::INTERRUPT_POINTER, true);
    }

    fn switch_queue(&self, queue: &mut Queue, on: bool, outbox: &mut Outbox) {
        if on {
            queue.switch_on(&self.registers);
            self.set_global_status(Global::QUEUE, true);
        } else {
            queue.switch_off_later(true);
        }
        // Some software sets the tail before it switches the queue on; and what it holds is done before it is
        // switched off.
        self.run_queue(queue, outbox);
    }

    /// The queue has done what it held when software wanted it off.
    pub(crate) fn queue_is_off(&self) {
        self.set_global_status(Global::QUEUE, false);
    }

    /// Everything remembered is forgotten with each change: more than the architecture asks for, and never
    /// wrong.
    pub(crate) fn change_dma_mode(
        &self,
        queue: &mut Queue,
        change: impl FnOnce(DmaMode) -> DmaMode,
        outbox: &mut Outbox,
    ) {
        self.dma.set_mode(change(self.dma.mode()));
        self.invalidate(queue, &Invalidation::Everything, outbox);
        self.drain_if_due(queue);
    }

    pub(crate) fn change_interrupt_mode(&self, change: impl FnOnce(InterruptMode) -> InterruptMode) {
        self.interrupts.set_mode(change(self.interrupts.mode()));
        self.invalidate_interrupts(EntryRange::All);
    }

    fn global_status(&self) -> Global {
        Global::from_bits_truncate(self.registers.get(GSTS))
    }

    fn set_global_status(&self, bit: Global, on: bool) {
        let mut status = self.global_status();
        status.set(bit, on);
        self.registers.set(GSTS, status.bits());
    }

    /// CCMD_REG.ICC (§11.4.6.1), which is for legacy mode.
    fn context_command(&self, queue: &mut Queue, outbox: &mut Outbox) {
        let command = self.registers.get_u64(CCMD);
        let requested = ccmd::requested(command);
        let [domain, source] = [bits(command, 15, 0), bits(command, 31, 16)].map(|field| field as u16);
        let what = context_granularity(requested, DomainId(domain), source, bits(command, 33, 32))
            .filter(|_| self.dma.mode().root().mode() == TableMode::Legacy);
        let done = self.register_command(queue, what, outbox);
        self.registers.set_u64(CCMD, ccmd::done(command, if done { requested } else { 0 }));
    }

    /// IOTLB_REG.IVT (§11.4.6.2).
    fn iotlb_command(&self, queue: &mut Queue, outbox: &mut Outbox) {
        let command = self.registers.get_u64(IOTLB);
        let requested = iotlb::requested(command);
        let address = self.registers.get_u64(IVA);
        let what = iotlb_granularity(requested, iotlb::domain(command), address, &self.capabilities);
        let done = self.register_command(queue, what, outbox);
        self.registers.set_u64(IOTLB, iotlb::done(command, if done { requested } else { 0 }));
    }

    /// Register-based invalidation: not while the queue is on. Tells whether it was done.
    fn register_command(&self, queue: &mut Queue, what: Option<Invalidation>, outbox: &mut Outbox) -> bool {
        let Some(what) = what.filter(|_| !queue.is_on()) else { return false };
        self.invalidate(queue, &what, outbox);
        self.drain_if_due(queue);
        true
    }
}

#[cfg(test)]
mod tests;
