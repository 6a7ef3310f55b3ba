use std::sync::atomic::{AtomicU32, Ordering};

use event_manager::{EventManager, SubscriberOps};

use super::*;
use crate::platform::lock;
use std::sync::Mutex;

#[test]
fn ticks_and_times_are_inverse() {
    for count in [0, 1, 2, 3, 65_535, 1_193_182, u64::from(u32::MAX)] {
        assert_eq!(ticks(time_of(count, 1_193_182), 1_193_182), count);
    }
    assert_eq!(ticks(Duration::from_secs(1), 1_193_182), 1_193_182);
}

struct Once {
    deadline: Mutex<Deadline>,
    acted: AtomicU32,
}

impl Timed for Once {
    fn timer(&self) -> RawFd {
        lock(&self.deadline).as_raw_fd()
    }

    fn act(&self) {
        self.acted.fetch_add(1, Ordering::Relaxed);
        lock(&self.deadline).set(Duration::ZERO, None);
    }
}

#[test]
fn the_event_loop_calls_a_device_once_for_a_deadline() {
    let device = Arc::new(Once { deadline: Mutex::new(Deadline::new().unwrap()), acted: AtomicU32::new(0) });
    let mut manager = EventManager::new().unwrap();
    manager.add_subscriber(TimerEvents::new(device.clone()));
    assert_eq!(manager.run_with_timeout(0).unwrap(), 0);
    // A deadline that has passed is due at once.
    lock(&device.deadline).set(Duration::from_secs(2), Some(Duration::from_secs(1)));
    assert_eq!(manager.run_with_timeout(1000).unwrap(), 1);
    assert_eq!(manager.run_with_timeout(0).unwrap(), 0);
    assert_eq!(device.acted.load(Ordering::Relaxed), 1);
}
