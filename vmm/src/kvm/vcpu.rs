//! One virtual processor: its first state, and the thread that runs it.

mod setup;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kvm_bindings::kvm_interrupt;
use kvm_ioctls::{VcpuExit, VcpuFd};
use vmm_sys_util::ioctl::ioctl_with_ref;

pub use super::kick::Kick;
pub use setup::{enter_at, prepare};

use crate::bus::Bus;

/// The one ioctl that the bindings lack.
mod request {
    vmm_sys_util::ioctl_iow_nr!(KVM_INTERRUPT, kvm_bindings::KVMIO, 0x86, kvm_bindings::kvm_interrupt);
}

/// Interrupts of the 8259 pair, which reach the first processor past its local APIC.
pub trait ExternalInterrupts: Send + Sync {
    /// Whether the pair asks for service.
    fn pending(&self) -> bool;

    /// Takes the interrupt: its vector.
    fn acknowledge(&self) -> u8;
}

/// Why a processor stopped for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It was asked to.
    Asked,
    /// The guest shut the processor down: a fault while delivering a double fault.
    TripleFault,
    /// KVM cannot go on; the sentence says why.
    Failed(String),
}

/// A processor and what it needs to run.
pub struct Vcpu {
    id: u32,
    fd: VcpuFd,
    bus: Arc<Bus>,
    kick: Arc<Kick>,
    stop: Arc<AtomicBool>,
    external: Option<Arc<dyn ExternalInterrupts>>,
}

impl Vcpu {
    /// A processor ready to run until `stop` is set and `kick` called. `external` is for the first one only.
    pub fn new(
        id: u32,
        fd: VcpuFd,
        bus: Arc<Bus>,
        kick: Arc<Kick>,
        stop: Arc<AtomicBool>,
        external: Option<Arc<dyn ExternalInterrupts>>,
    ) -> Self {
        Self { id, fd, bus, kick, stop, external }
    }

    /// Runs the processor on the calling thread until it stops.
    pub fn run(mut self) -> Stopped {
        let kick = self.kick.clone();
        let _registered = kick.register(&mut self.fd);
        loop {
            Kick::acknowledge(&mut self.fd);
            if self.stop.load(Ordering::SeqCst) {
                break Stopped::Asked;
            }
            self.offer_external_interrupt();
            if let Some(stopped) = self.enter() {
                break stopped;
            }
        }
    }

    /// One stay in the guest and what ended it.
    fn enter(&mut self) -> Option<Stopped> {
        let run: *const kvm_bindings::kvm_run = self.fd.get_kvm_run();
        let exit = match self.fd.run() {
            Ok(exit) => exit,
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => return None,
            Err(error) => return Some(Stopped::Failed(format!("KVM cannot run vCPU {}: {error}", self.id))),
        };
        match exit {
            VcpuExit::IoIn(port, data) => {
                for item in data.chunks_mut(port_access_size(run)) {
                    self.bus.port_read(port, item);
                }
            }
            VcpuExit::IoOut(port, data) => {
                for item in data.chunks(port_access_size(run)) {
                    self.bus.port_write(port, item);
                }
            }
            VcpuExit::MmioRead(address, data) => self.bus.read(address, data),
            VcpuExit::MmioWrite(address, data) => self.bus.write(address, data),
            VcpuExit::IoapicEoi(vector) => self.bus.end_of_interrupt(vector),
            VcpuExit::IrqWindowOpen | VcpuExit::Intr | VcpuExit::Hlt => {}
            VcpuExit::Shutdown => return Some(Stopped::TripleFault),
            VcpuExit::FailEntry(reason, cpu) => {
                return Some(Stopped::Failed(format!(
                    "The processor refused the guest state of vCPU {} on CPU {cpu}, reason {reason:#x}",
                    self.id
                )));
            }
            VcpuExit::InternalError => return Some(Stopped::Failed(self.internal_error())),
            other => {
                let exit = format!("{other:?}");
                return Some(Stopped::Failed(format!(
                    "vCPU {} left the guest unexpectedly: {exit}",
                    self.id
                )));
            }
        }
        None
    }

    /// Hands an interrupt of the 8259 pair to the processor, or asks to be told when it can take one.
    fn offer_external_interrupt(&mut self) {
        let Some(external) = &self.external else { return };
        let pending = external.pending();
        let run = self.fd.get_kvm_run();
        let ready = run.ready_for_interrupt_injection != 0;
        if pending && ready {
            let interrupt = kvm_interrupt { irq: external.acknowledge().into() };
            // SAFETY: the ioctl reads the structure it is given, which lives across the call.
            let result = unsafe { ioctl_with_ref(&self.fd, request::KVM_INTERRUPT(), &interrupt) };
            if result != 0 {
                let error = std::io::Error::last_os_error();
                tracing::warn!("KVM did not take interrupt {} of the 8259: {error}", interrupt.irq);
            }
        }
        self.fd.get_kvm_run().request_interrupt_window = u8::from(external.pending());
    }

    fn internal_error(&mut self) -> String {
        // SAFETY: KVM has just filled this member of the union in: the exit reason says so.
        let suberror = unsafe { self.fd.get_kvm_run().__bindgen_anon_1.internal }.suberror;
        let rip = self.fd.get_regs().map_or(0, |registers| registers.rip);
        let meaning = match suberror {
            1 => "it cannot emulate an instruction",
            2 => "exceptions came one upon another",
            3 => "an event could not be delivered",
            _ => "an internal error",
        };
        format!("KVM cannot go on with vCPU {} at {rip:#x}: {meaning} (suberror {suberror})", self.id)
    }
}

/// Bytes per access of a port exit: a string instruction brings several accesses at once.
fn port_access_size(run: *const kvm_bindings::kvm_run) -> usize {
    // SAFETY: `run` points into the mapping of the vCPU that has just left the guest with a port exit, so
    // this member of the union is the valid one; nothing writes it before the next entry.
    let size = unsafe { (*run).__bindgen_anon_1.io.size };
    usize::from(size.max(1))
}
