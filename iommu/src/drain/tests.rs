use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::drain::Sections;
use crate::numbers;

#[test]
fn draining_waits_for_requests_under_way_on_every_thread() {
    let sections = Sections::default();
    let ended = AtomicUsize::new(0);
    let (entered, all_entered) = mpsc::channel();
    thread::scope(|scope| {
        // More threads than places, so that some share.
        for _ in 0..numbers::LIMIT + 4 {
            let entered = entered.clone();
            let (sections, ended) = (&sections, &ended);
            scope.spawn(move || {
                let section = sections.enter();
                entered.send(()).unwrap();
                thread::sleep(Duration::from_millis(50));
                ended.fetch_add(1, Ordering::SeqCst);
                drop(section);
            });
        }
        for _ in 0..numbers::LIMIT + 4 {
            all_entered.recv().unwrap();
        }
        sections.drain();
        assert_eq!(ended.load(Ordering::SeqCst), numbers::LIMIT + 4);
    });
}

#[test]
fn draining_ends_although_requests_keep_coming() {
    let sections = Sections::default();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    drop(sections.enter());
                }
            });
        }
        for _ in 0..1000 {
            sections.drain();
        }
        done.store(true, Ordering::Relaxed);
    });
}
