//! What a flush costs: reads of the guest's tables, and calls to the host.

use std::sync::atomic::{AtomicU64, Ordering};

use super::support::guest::PAGE_1G;
use super::*;
use crate::MemoryError;
use crate::shadow::wanted::LEAF_LIMIT;

/// Memory that counts how often tables are read.
struct Counted {
    memory: Memory,
    reads: AtomicU64,
}

impl TableMemory for Counted {
    fn read_u64(&self, address: GuestAddress) -> Result<u64, MemoryError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.memory.read_u64(address)
    }

    fn write_u32(&self, address: GuestAddress, value: u32) -> Result<(), MemoryError> {
        self.memory.write_u32(address, value)
    }

    fn compare_exchange_u64(
        &self,
        address: GuestAddress,
        current: u64,
        new: u64,
    ) -> Result<Result<u64, u64>, MemoryError> {
        self.memory.compare_exchange_u64(address, current, new)
    }

    fn fetch_or_u64(&self, address: GuestAddress, set: u64) -> Result<u64, MemoryError> {
        self.memory.fetch_or_u64(address, set)
    }
}

/// The base of all that is mapped; 1 GiB of it in pages of 4 KiB makes so many leaves.
const START: u64 = 4 * PAGE_1G;
const LEAVES: u64 = PAGE_1G / PAGE;

#[test]
fn a_flush_costs_as_much_as_it_names_and_nothing_on_the_host() {
    let guest = Guest::new();
    let table = guest.table(4);
    let counted = Arc::new(Counted { memory: guest.memory.clone(), reads: AtomicU64::new(0) });
    let capabilities = Capabilities::legacy(48);
    let shadow = Shadow::new(counted.clone(), &capabilities, Arc::default());
    let (host, dma) = FakeHost::new(&RAM);
    host.set_limit(usize::MAX);
    let group = shadow.group(dma, vec![(GuestAddress(0), RAM[0].end)]);
    let attachment = shadow.attach(Device::new(SOURCE), &group);
    guest.set_domain(SOURCE, &table, DOMAIN.0);
    let view = View { translating: true, root: RootPointer(guest.root), capabilities };
    let reads = |batch: &[Invalidation]| {
        counted.reads.store(0, Ordering::Relaxed);
        assert_eq!(shadow.apply(&view, batch), []);
        counted.reads.load(Ordering::Relaxed)
    };
    reads(&[Invalidation::Everything]);
    for leaf in 0..LEAVES {
        guest.map(&table, START + leaf * PAGE, 0x100_0000 + leaf * PAGE, PAGE, BOTH);
    }
    reads(&[Invalidation::IotlbDomain(DOMAIN)]);
    assert_eq!(host.calls().len() as u64, LEAVES);
    assert_eq!(attachment.statistics().extents, LEAVES);

    // A flush of the domain reads what is present, and asks the host for nothing. Three levels lead there.
    let whole = reads(&[Invalidation::IotlbDomain(DOMAIN)]);
    assert!((LEAVES..=LEAVES + 3 * 512).contains(&whole), "{whole}");
    // One of another domain, or of the contexts, does not even read it.
    assert_eq!(reads(&[Invalidation::IotlbDomain(DomainId(9))]), 0);
    assert!(reads(&[Invalidation::ContextGlobal]) <= 4);
    // Pages cost as many entries as there are, and one on each of the levels above.
    for pages in [1, 8, 64, 512] {
        assert_eq!(reads(&[page_selective(START, pages)]), pages + 3, "{pages} pages");
    }
    let apart = [0, 1, 2].map(|gigabyte| page_selective(START + gigabyte * PAGE_1G / 4, 1));
    assert_eq!(reads(&apart), 3 * 4);
    assert_eq!(host.calls(), []);
    assert!(attachment.audit().is_exact());
}

/// Each range alone is within the limits, and the table seems to map pages in all of them.
#[test]
fn the_ranges_of_one_batch_have_one_limit_together() {
    const RANGES: u64 = 8;
    let guest = Guest::new();
    let table = guest.table(4);
    let counted = Arc::new(Counted { memory: guest.memory.clone(), reads: AtomicU64::new(0) });
    let capabilities = Capabilities::legacy(48);
    let shadow = Shadow::new(counted.clone(), &capabilities, Arc::default());
    let (host, dma) = FakeHost::new(&RAM);
    host.set_limit(0);
    let group = shadow.group(dma, vec![(GuestAddress(0), RAM[0].end)]);
    let _attachment = shadow.attach(Device::new(SOURCE), &group);
    guest.set_domain(SOURCE, &table, DOMAIN.0);
    let view = View { translating: true, root: RootPointer(guest.root), capabilities };
    let _ = shadow.apply(&view, &[Invalidation::Everything]);

    for index in 0..512 {
        guest.write(table.root + index * 8, table.root | 3);
    }
    let batch: Vec<_> = (0..RANGES).map(|gigabyte| page_selective(gigabyte * PAGE_1G, LEAVES)).collect();
    counted.reads.store(0, Ordering::Relaxed);
    let faults = shadow.apply(&view, &batch);
    assert!(!faults.is_empty(), "the guest is told that not all is followed");
    let reads = counted.reads.load(Ordering::Relaxed);
    assert!(reads < LEAF_LIMIT as u64 + 4 * 512 * RANGES, "{reads} entries for {} leaves", RANGES * LEAVES);
}
