use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::testing::Bench;

const LAYOUT: Layout = Layout { size: 4, descriptors: 0x1000, available: 0x2000, used: 0x3000 };

/// A queue with one writable descriptor at every index.
fn bench() -> (Bench, Queue) {
    let bench = Bench::new(&[(0x1000, 0x4000)]);
    for index in 0..4u64 {
        let at = GuestAddress(0x1000 + index * 16);
        bench.memory.write_obj(0x4000u64 + index * 0x100, at).unwrap();
        bench.memory.write_obj(0x0000_0002_0000_0100u64, GuestAddress(at.0 + 8)).unwrap();
    }
    (bench, Queue::new(LAYOUT).unwrap())
}

/// Makes `heads` available from ring position `from` on.
fn offer(bench: &Bench, from: u16, heads: &[u16]) {
    for (ahead, head) in (0..).zip(heads) {
        let slot = from.wrapping_add(ahead) % 4;
        bench.memory.write_obj(*head, GuestAddress(0x2004 + slot as u64 * 2)).unwrap();
    }
    bench.memory.write_obj(from.wrapping_add(heads.len() as u16), GuestAddress(0x2002)).unwrap();
}

#[test]
fn requests_come_in_order_and_go_back() {
    let (bench, mut queue) = bench();
    assert!(queue.pop(&bench.master).unwrap().is_none());
    offer(&bench, 0, &[3, 1]);
    for (slot, head) in [3u16, 1].into_iter().enumerate() {
        let chain = queue.pop(&bench.master).unwrap().unwrap();
        assert_eq!(chain.head(), head);
        queue.push(&bench.master, &chain, 7).unwrap();
        let used = GuestAddress(0x3004 + slot as u64 * 8);
        assert_eq!(bench.memory.read_obj::<u64>(used).unwrap(), 7 << 32 | head as u64);
        assert_eq!(bench.memory.read_obj::<u16>(GuestAddress(0x3002)).unwrap(), slot as u16 + 1);
    }
    assert!(queue.pop(&bench.master).unwrap().is_none());
}

#[test]
fn indices_wrap() {
    let (bench, mut queue) = bench();
    queue.next_available = Wrapping(u16::MAX);
    queue.next_used = Wrapping(u16::MAX);
    offer(&bench, u16::MAX, &[2]);
    let chain = queue.pop(&bench.master).unwrap().unwrap();
    queue.push(&bench.master, &chain, 0).unwrap();
    assert_eq!(bench.memory.read_obj::<u16>(GuestAddress(0x3002)).unwrap(), 0);
    assert_eq!(bench.memory.read_obj::<u64>(GuestAddress(0x3004 + 3 * 8)).unwrap(), 2);
    assert!(queue.pop(&bench.master).unwrap().is_none());
}

#[test]
fn more_requests_than_fit_are_an_error() {
    let (bench, mut queue) = bench();
    bench.memory.write_obj(5u16, GuestAddress(0x2002)).unwrap();
    assert_eq!(queue.pop(&bench.master).map(drop), Err(QueueError::Overrun));
}

#[test]
fn a_full_ring_is_no_error() {
    let (bench, mut queue) = bench();
    offer(&bench, 0, &[0, 1, 2, 3]);
    for _ in 0..4 {
        assert!(queue.pop(&bench.master).unwrap().is_some());
    }
    assert!(queue.pop(&bench.master).unwrap().is_none());
}

#[test]
fn the_driver_may_want_no_interrupts() {
    let (bench, queue) = bench();
    assert_eq!(queue.wants_interrupt(&bench.master), Ok(true));
    bench.memory.write_obj(1u16, GuestAddress(0x2000)).unwrap();
    assert_eq!(queue.wants_interrupt(&bench.master), Ok(false));
}

#[test]
fn rings_are_aligned_and_end() {
    let bad = [
        Layout { size: 0, ..LAYOUT },
        Layout { size: 3, ..LAYOUT },
        Layout { descriptors: 0x1008, ..LAYOUT },
        Layout { available: 0x2001, ..LAYOUT },
        Layout { used: 0x3002, ..LAYOUT },
        Layout { descriptors: u64::MAX - 15, ..LAYOUT },
        Layout { available: u64::MAX - 1, ..LAYOUT },
        Layout { used: u64::MAX - 3, ..LAYOUT },
    ];
    for layout in bad {
        assert_eq!(Queue::new(layout).map(drop), Err(QueueError::Layout), "{layout:?}");
    }
}

#[test]
fn a_ring_out_of_reach_is_an_error() {
    let (bench, _) = bench();
    let mut queue = Queue::new(Layout { available: 0x10_0000, ..LAYOUT }).unwrap();
    assert!(matches!(queue.pop(&bench.master), Err(QueueError::Dma(_))));
}
