//! Sees to it that no processor of an L1 sleeps for good.
//!
//! What interrupts an emulated processor has pending is a word that QEMU's threads change under a lock, but its
//! emulation of SVM without (`helper_vmrun` and `do_vmexit` in 10.0), so that an interrupt may be forgotten. If that was
//! the timer's, and the processor idle, nothing happens there any more, which looks like a guest that hangs. The next
//! interrupt from anywhere has the emulation look at all that is pending: here each processor sends one to each other.

use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How long one may sleep too long.
const PERIOD: Duration = Duration::from_millis(500);

/// Goes on until it is killed.
pub(crate) fn run() -> anyhow::Result<()> {
    let allowed = sched_getaffinity(None).context("cannot tell the processors")?;
    let processors: Vec<usize> =
        (0..CpuSet::MAX_CPU).filter(|&processor| allowed.is_set(processor)).collect();
    // Waking one who waits on an idle processor takes an interrupt.
    let sleepers: Vec<_> = processors.iter().map(|&at| pinned(at, thread::park)).collect();
    for (own, &at) in processors.iter().enumerate() {
        let others: Vec<_> =
            (0..sleepers.len()).filter(|&it| it != own).map(|it| sleepers[it].clone()).collect();
        pinned(at, move || {
            thread::sleep(PERIOD);
            others.iter().for_each(thread::Thread::unpark);
        });
    }
    loop {
        thread::park();
    }
}

/// Does something over and over on one processor.
fn pinned(processor: usize, work: impl Fn() + Send + 'static) -> thread::Thread {
    let run = move || {
        let mut only = CpuSet::new();
        only.set(processor);
        if let Err(error) = sched_setaffinity(None, &only) {
            eprintln!("cannot stay on processor {processor}: {error}");
            return;
        }
        loop {
            work();
        }
    };
    thread::spawn(run).thread().clone()
}
