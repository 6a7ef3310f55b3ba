use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use event_manager::{EventManager, SubscriberOps};

use super::*;
use crate::platform::lock;

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

#[test]
fn a_deadline_can_be_taken_back_and_set_again() {
    let device = Arc::new(Once { deadline: Mutex::new(Deadline::new().unwrap()), acted: AtomicU32::new(0) });
    let mut manager = EventManager::new().unwrap();
    manager.add_subscriber(TimerEvents::new(device.clone()));
    let (now, soon) = (Duration::from_secs(1), Some(Duration::from_millis(1001)));
    for deadline in [soon, None, soon, soon] {
        lock(&device.deadline).set(now, deadline);
    }
    assert_eq!(manager.run_with_timeout(1000).unwrap(), 1);
    lock(&device.deadline).set(now, soon);
    std::thread::sleep(Duration::from_millis(5));
    lock(&device.deadline).set(now, None);
    assert_eq!(manager.run_with_timeout(0).unwrap(), 0, "an expiry nobody looked at is taken back too");
}
