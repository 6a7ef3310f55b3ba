//! Time as devices see it, and deadlines by which they act.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use vmm_sys_util::timerfd::TimerFd;

/// A source of time.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment; it never goes back.
    fn monotonic(&self) -> Duration;

    /// Time since 1970-01-01 00:00 UTC; it may jump.
    fn wall(&self) -> Duration;
}

/// The host's clocks. Monotonic time begins when it is made.
pub struct HostClock(Instant);

impl HostClock {
    /// Begins monotonic time.
    pub fn start() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }
}

impl Clock for HostClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall(&self) -> Duration {
        // A host that lives before 1970 gets guests that live in 1970.
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// Whole ticks of a counter of `frequency` hertz in `time`.
pub(super) fn ticks(time: Duration, frequency: u64) -> u64 {
    (time.as_nanos() * u128::from(frequency) / 1_000_000_000) as u64
}

/// The earliest time at which `ticks` whole ticks of `frequency` hertz have passed.
pub(super) fn time_of(ticks: u64, frequency: u64) -> Duration {
    let nanoseconds = (u128::from(ticks) * 1_000_000_000).div_ceil(u128::from(frequency));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// A deadline of a device, part of its state.
///
/// Setting it anew also takes back an expiry nobody has looked at, so nothing ever waits for the timer.
pub(super) struct Deadline {
    timer: TimerFd,
    /// What the timer is set to.
    set: Option<Duration>,
}

impl Deadline {
    /// A deadline that is not set.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { timer: TimerFd::new()?, set: None })
    }

    /// Sets it to `deadline`, at once if that is not after `now`, or takes it away.
    pub(super) fn set(&mut self, now: Duration, deadline: Option<Duration>) {
        // Most accesses to a device leave its deadline where it was.
        if deadline == self.set && deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.set = deadline;
        let result = match deadline {
            // Zero would disarm the timer.
            Some(deadline) => {
                self.timer.reset(deadline.saturating_sub(now).max(Duration::from_nanos(1)), None)
            }
            None => self.timer.clear(),
        };
        if let Err(error) = result {
            tracing::error!("Cannot set a timer: {error}");
        }
    }
}

impl AsRawFd for Deadline {
    fn as_raw_fd(&self) -> RawFd {
        self.timer.as_raw_fd()
    }
}

/// A device that acts at deadlines.
pub trait Timed: Send + Sync {
    /// The descriptor that becomes readable at a deadline. It lives as long as the device.
    fn timer(&self) -> RawFd;

    /// Does what is due and sets the next deadline. It does no harm to be called early.
    fn act(&self);
}

/// Lets the event loop drive a [`Timed`] device.
pub struct TimerEvents(Arc<dyn Timed>);

impl TimerEvents {
    /// A subscriber for `device`.
    pub fn new(device: Arc<dyn Timed>) -> Self {
        Self(device)
    }
}

impl MutEventSubscriber for TimerEvents {
    fn init(&mut self, ops: &mut EventOps) {
        if let Err(error) = ops.add(Events::new_raw(self.0.timer(), EventSet::IN)) {
            tracing::error!("Cannot watch a timer: {error}");
        }
    }

    fn process(&mut self, _events: Events, _ops: &mut EventOps) {
        self.0.act();
    }
}

#[cfg(test)]
mod tests;
