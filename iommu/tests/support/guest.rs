//! A guest's memory, with the tables of legacy mode in it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};

use iommu::{AssignedFunction, GuestAddress, Permissions, SourceId};
use vm_memory::{Bytes, GuestMemoryMmap};

pub const PAGE: u64 = 1 << 12;
pub const PAGE_2M: u64 = 1 << 21;
pub const PAGE_1G: u64 = 1 << 30;

/// What the host takes for guest memory. The tables lie at its beginning.
pub const RAM: [Range<u64>; 2] = [0..0xC000_0000, 0x1_0000_0000..0x2_0000_0000];

/// How much there really is, for tables.
const BACKED: usize = 32 << 20;

const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000F_FFFF_FFFF_F000;

pub type Memory = Arc<GuestMemoryMmap<()>>;

/// The guest: it hands out pages of its memory and never takes one back.
pub struct Guest {
    pub memory: Memory,
    next: AtomicU64,
    pub root: u64,
}

impl Guest {
    pub fn new() -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), BACKED)]).unwrap();
        let mut guest = Self { memory: Arc::new(memory), next: AtomicU64::new(0x10_0000), root: 0 };
        guest.root = guest.page();
        guest
    }

    /// A page of zeroes.
    pub fn page(&self) -> u64 {
        let page = self.next.fetch_add(PAGE, Ordering::Relaxed);
        assert!(page < BACKED as u64, "the guest has no page left");
        page
    }

    pub fn read(&self, address: u64) -> u64 {
        self.memory.load(GuestAddress(address), Ordering::SeqCst).unwrap()
    }

    pub fn write(&self, address: u64, value: u64) {
        self.memory.store(value, GuestAddress(address), Ordering::SeqCst).unwrap();
    }

    /// Writes the context entry of `source`, low and high half.
    pub fn set_context(&self, source: SourceId, entry: [u64; 2]) {
        let root = self.root + u64::from(source.bus()) * 16;
        if self.read(root) == 0 {
            self.write(root, self.page() | 1);
        }
        let context = (self.read(root) & ADDRESS) + u64::from(source.devfn()) * 16;
        self.write(context + 8, entry[1]);
        self.write(context, entry[0]);
    }

    /// Puts `source` behind `table`, as `domain`.
    pub fn set_domain(&self, source: SourceId, table: &Table, domain: u16) {
        let width = u64::from(table.levels - 2);
        self.set_context(source, [table.root | 1, width | u64::from(domain) << 8]);
    }

    pub fn set_pass_through(&self, source: SourceId, domain: u16) {
        self.set_context(source, [0b1001, 2 | u64::from(domain) << 8]);
    }

    pub fn clear_context(&self, source: SourceId) {
        self.set_context(source, [0, 0]);
    }

    /// An empty table with this many levels.
    pub fn table(&self, levels: u8) -> Table {
        Table { root: self.page(), levels }
    }

    /// Maps one page of `size` bytes; what was mapped there before is replaced.
    pub fn map(&self, table: &Table, iova: u64, guest: u64, size: u64, permissions: Permissions) {
        let level = level_of(size);
        let large = if level > 1 { LARGE } else { 0 };
        let entry = self.entry(table, iova, level);
        self.write(entry, guest | large | u64::from(permissions.bits()));
    }

    /// Clears the entry for one page of `size` bytes.
    pub fn unmap(&self, table: &Table, iova: u64, size: u64) {
        let entry = self.entry(table, iova, level_of(size));
        self.write(entry, 0);
    }

    /// Where the entry of `level` for `iova` lies. Tables on the way are made; a large page on the way is
    /// replaced by a table that maps the same.
    pub fn entry(&self, table: &Table, iova: u64, level: u8) -> u64 {
        let mut at = table.root;
        let mut current = table.levels;
        loop {
            let shift = u32::from(current) * 9 + 3;
            let entry = at + (iova >> shift & 511) * 8;
            if current == level {
                return entry;
            }
            let value = self.read(entry);
            if value & 3 == 0 {
                self.write(entry, self.page() | 3);
            } else if value & LARGE != 0 {
                let below = self.page();
                let large = if current > 2 { LARGE } else { 0 };
                let address = value & ADDRESS;
                for index in 0..512 {
                    let part = address + (index << (shift - 9));
                    self.write(below + index * 8, part | large | value & 3);
                }
                self.write(entry, below | 3);
            }
            at = self.read(entry) & ADDRESS;
            current -= 1;
        }
    }
}

fn level_of(size: u64) -> u8 {
    match size {
        PAGE => 1,
        PAGE_2M => 2,
        PAGE_1G => 3,
        _ => panic!("no page has {size:#x} bytes"),
    }
}

/// A second-stage table.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub root: u64,
    pub levels: u8,
}

/// An assigned function's registers, as far as the shadow sees them.
pub struct Device {
    source: AtomicU16,
    bus_master: AtomicBool,
    pasid_bits: AtomicU8,
}

impl Device {
    pub fn new(source: SourceId) -> Arc<Self> {
        Arc::new(Self {
            source: AtomicU16::new(source.0),
            bus_master: AtomicBool::new(false),
            pasid_bits: AtomicU8::new(0),
        })
    }

    pub fn set_pasid_bits(&self, bits: u8) {
        self.pasid_bits.store(bits, Ordering::SeqCst);
    }

    pub fn set_bus_master(&self, on: bool) {
        self.bus_master.store(on, Ordering::SeqCst);
    }

    pub fn renumber(&self, source: SourceId) {
        self.source.store(source.0, Ordering::SeqCst);
    }
}

impl AssignedFunction for Device {
    fn source_id(&self) -> SourceId {
        SourceId(self.source.load(Ordering::SeqCst))
    }

    fn bus_master(&self) -> bool {
        self.bus_master.load(Ordering::SeqCst)
    }

    fn pasid_bits(&self) -> u8 {
        self.pasid_bits.load(Ordering::SeqCst)
    }
}
