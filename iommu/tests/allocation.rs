//! The hot paths allocate nothing: hits and misses in every mode, interrupts, and page-selective
//! invalidations with their wait.

#[path = "../benches/setup/mod.rs"]
mod setup;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use setup::{ALL_PAGES, FIRST_STAGE, FIRST_STAGE_PAGE, NESTED, PAGE, SOURCE, WAIT, World, far};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks of it.
struct Counting;

// SAFETY: Every call goes to the system's allocator as it came; counting in a cell that needs no
// initialisation allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: The caller keeps the promises that `System` asks for, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: As above; `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates when it is done for the second time.
fn allocations(mut work: impl FnMut()) -> u64 {
    work();
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn allocations_are_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn requests_allocate_nothing() {
    let (legacy, mut scalable) = (World::legacy(), World::scalable());
    let spaces = [None, Some(FIRST_STAGE), Some(NESTED)];
    let request = |world: &World, pasid, iova| {
        world.write_from(SOURCE, pasid, iova);
    };
    assert_eq!(allocations(|| request(&legacy, None, 0x1234)), 0, "hit");
    let mut region = 0;
    let mut next = || {
        region += 1;
        far(region)
    };
    assert_eq!(allocations(|| request(&legacy, None, next())), 0, "miss");
    for pasid in spaces {
        assert_eq!(allocations(|| request(&scalable, pasid, 0x1234)), 0, "hit in {pasid:?}");
        assert_eq!(allocations(|| request(&scalable, pasid, next())), 0, "miss in {pasid:?}");
        let from_scratch = || {
            scalable.submit(&[ALL_PAGES, WAIT]);
            request(&scalable, pasid, 0x1234);
        };
        assert_eq!(allocations(from_scratch), 0, "everything forgotten in {pasid:?}");
    }
    assert_eq!(allocations(|| assert!(legacy.remap().is_some())), 0, "interrupt");
}

#[test]
fn invalidations_of_pages_allocate_nothing() {
    let mut world = World::legacy();
    assert_eq!(allocations(|| world.submit(&[PAGE, WAIT])), 0);
    assert!(world.queue_is_done());
    let mut world = World::scalable();
    assert_eq!(allocations(|| world.submit(&[PAGE, FIRST_STAGE_PAGE, WAIT])), 0);
    assert!(world.queue_is_done());
}
