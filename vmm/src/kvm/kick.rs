//! Calling a vCPU thread out of guest mode.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use kvm_ioctls::VcpuFd;

/// Calls one vCPU out of `KVM_RUN`, from any thread; no call is lost.
///
/// The kernel's `immediate_exit` byte makes the next entry return at once, and a signal ends one that is
/// under way: whichever comes first, the vCPU looks around before it enters the guest again.
#[derive(Default)]
pub struct Kick(Mutex<Option<Target>>);

struct Target {
    immediate_exit: *const AtomicU8,
    thread: libc::pthread_t,
}

// SAFETY: the byte is shared with the kernel and only ever accessed atomically; it stays mapped as long as
// the target is registered, which ends (under the mutex) before the vCPU is dropped.
unsafe impl Send for Target {}

impl Kick {
    /// Calls the vCPU, if it runs.
    pub fn kick(&self) {
        let target = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = &*target {
            // SAFETY: registered, hence mapped; see `Target`.
            let immediate_exit = unsafe { &*target.immediate_exit };
            immediate_exit.store(1, Ordering::SeqCst);
            // SAFETY: the thread deregisters itself before it ends, so the handle names a live thread.
            unsafe { libc::pthread_kill(target.thread, libc::SIGRTMIN()) };
        }
    }

    /// Makes the calling thread, which runs `vcpu`, the one that is called, until what is returned is
    /// dropped; that has to be before the vCPU is.
    pub(super) fn register(&self, vcpu: &mut VcpuFd) -> Registered<'_> {
        install_handler();
        let immediate_exit = (&raw const vcpu.get_kvm_run().immediate_exit).cast();
        // SAFETY: no preconditions.
        let thread = unsafe { libc::pthread_self() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Target { immediate_exit, thread });
        Registered(self)
    }

    /// Takes a call back: the vCPU is about to look around. Follow with the look, then enter the guest.
    pub(super) fn acknowledge(vcpu: &mut VcpuFd) {
        let byte: *const u8 = &raw const vcpu.get_kvm_run().immediate_exit;
        // SAFETY: the byte lies in the mapping that `vcpu` owns; other threads access it atomically too.
        unsafe { &*byte.cast::<AtomicU8>() }.store(0, Ordering::SeqCst);
    }
}

/// The registration of a vCPU's thread. It also ends where the thread panics.
pub(super) struct Registered<'a>(&'a Kick);

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

extern "C" fn interrupted(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// The signal's only purpose is to end a system call: its handler does nothing.
fn install_handler() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = vmm_sys_util::signal::register_signal_handler(libc::SIGRTMIN(), interrupted) {
            tracing::error!("Cannot install the handler that interrupts vCPUs: {error}");
        }
    });
}
