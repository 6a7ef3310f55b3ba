//! How fast this machine's time-stamp counter is, which an emulated machine's counts along with.

use std::arch::x86_64::_rdtsc;
use std::time::{Duration, Instant};

/// How long the counter is watched.
const TIME: Duration = Duration::from_millis(100);
/// Readings of which the quickest counts: in between, somebody else may have had the processor.
const READINGS: usize = 16;

/// Its frequency in kHz.
///
/// A kernel that boots on a busy machine measures it badly at first, and KVM then goes by that: with a hypervisor built
/// into the kernel, the timers of guests come late by minutes. So it is told.
pub(super) fn kilohertz() -> u64 {
    let (begin, from) = reading();
    std::thread::sleep(TIME);
    let (end, to) = reading();
    let microseconds = end.duration_since(begin).as_nanos().div_ceil(1000);
    u64::try_from(u128::from(to.wrapping_sub(from)) * 1000 / microseconds.max(1)).unwrap_or(0)
}

/// The time and the counter at one moment.
fn reading() -> (Instant, u64) {
    let one = |_| {
        let before = Instant::now();
        // SAFETY: every processor of this architecture has the counter, and a program may read it.
        let counter = unsafe { _rdtsc() };
        (before.elapsed(), before, counter)
    };
    let (elapsed, before, counter) = (0..READINGS).map(one).min().unwrap_or_else(|| one(0));
    (before + elapsed / 2, counter)
}

#[cfg(test)]
mod tests {
    use super::kilohertz;

    #[test]
    fn the_frequency_is_the_same_each_time() {
        let (one, other) = (kilohertz(), kilohertz());
        assert!(one > 100_000, "{one} kHz");
        assert!(one.abs_diff(other) * 10_000 < one * 5, "{one} and {other} kHz");
    }
}
