//! A guest's tables, and a unit that goes by them, for measurements. Not every one uses all of it.
#![allow(dead_code)]

use std::hint::black_box;
use std::sync::Arc;

use iommu::{Access, Capabilities, GuestAddress, Iova, MsiMessage, Pasid, Profile, Request, SourceId, Unit};
use vm_memory::{Bytes, GuestMemoryMmap};

pub(crate) type Memory = Arc<GuestMemoryMmap>;

pub(crate) const SOURCE: SourceId = SourceId(0x0100);
/// Another function, with the same tables.
pub(crate) const OTHER: SourceId = SourceId(0x0208);

/// The address spaces of scalable mode.
pub(crate) const SECOND_STAGE: Pasid = Pasid(0);
pub(crate) const FIRST_STAGE: Pasid = Pasid(1);
pub(crate) const NESTED: Pasid = Pasid(2);
/// Their domains; nested ones share that of the second stage.
pub(crate) const DOMAIN: u64 = 5;
pub(crate) const FIRST_STAGE_DOMAIN: u64 = 6;

/// More small pages than the IOTLB holds, from address 0 on.
pub(crate) const PAGES: u64 = 32 * 512;
/// More tables than are remembered, each with one small page.
pub(crate) const REGIONS: u64 = 1024;
const FAR: u64 = 1 << 39;

/// The page of a region: not always the first, because entries that lie equally in their tables would drive
/// each other out of the processor's caches.
pub(crate) const fn far(region: u64) -> u64 {
    FAR + (region << 21) + ((region * 37 % 512) << 12)
}

/// The interrupt that is remapped, for [`SOURCE`].
pub(crate) const INTERRUPT: MsiMessage = MsiMessage { address: 0xFEE0_0010 | 7 << 5, data: 0 };

// Where the tables lie in guest memory.
const ROOT: u64 = 0x1_0000;
const CONTEXT: u64 = 0x1_1000;
const PASID_DIRECTORY: u64 = 0x1_2000;
const PASID_TABLE: u64 = 0x1_3000;
const QUEUE: u64 = 0x1_5000;
const INTERRUPTS: u64 = 0x1_6000;
const STATUS: u64 = 0x1_8000;
const FIRST_STAGE_TABLES: u64 = 0x100_0000;
const SECOND_STAGE_TABLES: u64 = 0x200_0000;
const DATA: u64 = 0x300_0000;
const MEMORY: u64 = 64 << 20;

/// In a PASID table entry: the walk sees the processors' caches, so that it may set marks (PWSNP).
const WALK_SNOOP: u64 = 1 << 23;

/// Present or readable, writable, and for users: good in either stage.
const ENTRY: u64 = 7;
/// The same with the marks that a walk would set.
const MARKED: u64 = ENTRY | 0x60;

/// A unit with everything on.
pub(crate) struct World {
    pub(crate) memory: Memory,
    pub(crate) unit: Arc<Unit<Memory>>,
    tail: u64,
    descriptor_size: u64,
}

impl World {
    /// Legacy mode: one domain of small pages in four levels for two functions.
    pub(crate) fn legacy() -> Self {
        let memory = memory();
        for source in [SOURCE, OTHER] {
            write(&memory, ROOT + u64::from(source.bus()) * 16, CONTEXT | 1);
            write(&memory, CONTEXT + u64::from(source.devfn()) * 16, SECOND_STAGE_TABLES | 1);
            write(&memory, CONTEXT + u64::from(source.devfn()) * 16 + 8, DOMAIN << 8 | 2);
        }
        Self::start(memory, Capabilities::legacy(48), 0)
    }

    /// Scalable mode: an address space of each kind for two functions, small pages in four levels each.
    pub(crate) fn scalable() -> Self {
        let memory = memory();
        for source in [SOURCE, OTHER] {
            write(&memory, ROOT + u64::from(source.bus()) * 16, CONTEXT | 1);
            write(&memory, CONTEXT + u64::from(source.devfn()) * 32, PASID_DIRECTORY | 1 << 3 | 1);
        }
        write(&memory, PASID_DIRECTORY, PASID_TABLE | 1);
        for (pasid, kind, domain) in
            [(SECOND_STAGE, 2, DOMAIN), (FIRST_STAGE, 1, FIRST_STAGE_DOMAIN), (NESTED, 3, DOMAIN)]
        {
            let entry = PASID_TABLE + u64::from(pasid.0) * 64;
            write(&memory, entry, SECOND_STAGE_TABLES | kind << 6 | 2 << 2 | 1);
            write(&memory, entry + 8, WALK_SNOOP | domain);
            write(&memory, entry + 16, FIRST_STAGE_TABLES);
        }
        Self::start(memory, Capabilities::new(Profile::Full, 48), 1)
    }

    /// Switches everything on; `mode` is 1 for scalable mode.
    fn start(memory: Memory, capabilities: Capabilities, mode: u64) -> Self {
        write(&memory, INTERRUPTS + 7 * 16, 3 << 32 | 0x41 << 16 | 1);
        write(&memory, INTERRUPTS + 7 * 16 + 8, 1 << 18 | u64::from(SOURCE.0));
        let unit = Arc::new(Unit::new(Arc::clone(&memory), capabilities));
        let command = |value: u32| unit.write(0x18, &value.to_le_bytes());
        unit.write(0x90, &(QUEUE | mode << 11).to_le_bytes());
        command(1 << 26);
        unit.write(0xB8, &(INTERRUPTS | 1 << 11 | 7).to_le_bytes());
        command(1 << 26 | 1 << 24);
        command(1 << 26 | 1 << 25);
        unit.write(0x20, &(ROOT | mode << 10).to_le_bytes());
        command(1 << 26 | 1 << 25 | 1 << 30);
        command(1 << 26 | 1 << 25 | 1 << 31);
        Self { memory, unit, tail: 0, descriptor_size: 16 << mode }
    }

    /// Translates a write of 64 bytes.
    pub(crate) fn write_from(&self, source: SourceId, pasid: Option<Pasid>, iova: u64) -> u64 {
        let request = Request { pasid, ..Request::new(source, Access::Write) };
        let reached = self.unit.access(&request, Iova(black_box(iova)), 64, |guest, _| guest.0);
        reached.expect("The page is mapped")
    }

    pub(crate) fn remap(&self) -> Option<MsiMessage> {
        self.unit.remap(SOURCE, black_box(INTERRUPT), |message| message).expect("The entry is present")
    }

    /// Makes a page of the second stage lead to a page of the data, this far into it, or nowhere. Nothing is
    /// invalidated. The table for it is there.
    pub(crate) fn map(&self, iova: u64, offset: Option<u64>) {
        let mut table = SECOND_STAGE_TABLES;
        for shift in [39, 30, 21] {
            table = read(&self.memory, table + (iova >> shift & 0x1FF) * 8) & !0xFFF;
        }
        assert_ne!(table, 0, "there is no table for {iova:#x}");
        let leaf = offset.map_or(0, |offset| (DATA + offset) | ENTRY);
        write(&self.memory, table + (iova >> 12 & 0x1FF) * 8, leaf);
    }

    /// Puts descriptors into the queue and rings the bell; on return they are done.
    pub(crate) fn submit(&mut self, descriptors: &[[u64; 2]]) {
        for [low, high] in descriptors {
            write(&self.memory, QUEUE + self.tail, *low);
            write(&self.memory, QUEUE + self.tail + 8, *high);
            self.tail = (self.tail + self.descriptor_size) % 0x1000;
        }
        self.unit.write(0x88, &(self.tail as u32).to_le_bytes());
    }

    /// Fills the queue with these descriptors over and over, to be done with each ring of the bell.
    pub(crate) fn repeat(&mut self, descriptors: &[[u64; 2]]) -> Bell<'_> {
        let step = descriptors.len() as u64 * self.descriptor_size;
        assert!(
            0x1000_u64.is_multiple_of(step) && self.tail.is_multiple_of(step),
            "The ring is to hold whole repetitions"
        );
        for _ in 0..0x1000 / step {
            self.submit(descriptors);
        }
        Bell { world: self, step }
    }

    /// Whether the queue has come to its tail without an error.
    pub(crate) fn queue_is_done(&self) -> bool {
        let read = |offset| {
            let mut word = [0; 4];
            self.unit.read(offset, &mut word);
            u32::from_le_bytes(word)
        };
        u64::from(read(0x80)) == self.tail && read(0x34) & 1 << 4 == 0
    }
}

/// A queue that holds the same descriptors over and over.
pub(crate) struct Bell<'a> {
    pub(crate) world: &'a mut World,
    step: u64,
}

impl Bell<'_> {
    /// On return the descriptors are done once more.
    pub(crate) fn ring(&mut self) {
        let world = &mut *self.world;
        world.tail = (world.tail + self.step) % 0x1000;
        world.unit.write(0x88, &(world.tail as u32).to_le_bytes());
    }
}

/// Descriptors.
pub(crate) const PAGE: [u64; 2] = [2 | 3 << 4 | DOMAIN << 16, 0x1000];
pub(crate) const FIRST_STAGE_PAGE: [u64; 2] =
    [6 | 3 << 4 | FIRST_STAGE_DOMAIN << 16 | (FIRST_STAGE.0 as u64) << 32, 0x1000];
pub(crate) const ALL_PAGES: [u64; 2] = [2 | 1 << 4, 0];
pub(crate) const WAIT: [u64; 2] = [5 | 1 << 5 | 1 << 32, STATUS];

/// Guest memory with the tables of both stages. The first stage maps as the second does, and the second maps
/// the tables of the first to themselves too.
fn memory() -> Memory {
    let ranges = [(GuestAddress(0), MEMORY as usize)];
    let memory = Arc::new(GuestMemoryMmap::from_ranges(&ranges).expect("64 MiB"));
    for (root, leaf) in [(FIRST_STAGE_TABLES, MARKED), (SECOND_STAGE_TABLES, ENTRY)] {
        let mut tables = Tables { memory: &memory, root, next: root + 0x1000, leaf };
        for page in 0..PAGES {
            tables.map(page << 12, DATA + page % 2048 * 0x1000);
        }
        for region in 0..REGIONS {
            tables.map(far(region), DATA + region * 0x1000);
        }
        if root == SECOND_STAGE_TABLES {
            for table in (FIRST_STAGE_TABLES..SECOND_STAGE_TABLES).step_by(0x1000) {
                tables.map(table, table);
            }
            // Where the first stage leads.
            for page in (DATA..DATA + 2048 * 0x1000).step_by(0x1000) {
                tables.map(page, page);
            }
        }
        assert!(tables.next <= root + 0x100_0000);
    }
    memory
}

/// A table of four levels that is being built.
struct Tables<'a> {
    memory: &'a Memory,
    root: u64,
    /// Where the next table will lie.
    next: u64,
    leaf: u64,
}

impl Tables<'_> {
    fn map(&mut self, iova: u64, guest: u64) {
        let mut table = self.root;
        for shift in [39, 30, 21] {
            let entry = table + (iova >> shift & 0x1FF) * 8;
            let mut target = read(self.memory, entry);
            if target == 0 {
                target = self.next | if self.leaf == MARKED { ENTRY | 0x20 } else { ENTRY };
                self.next += 0x1000;
                write(self.memory, entry, target);
            }
            table = target & !0xFFF;
        }
        write(self.memory, table + (iova >> 12 & 0x1FF) * 8, guest | self.leaf);
    }
}

fn write(memory: &Memory, address: u64, value: u64) {
    memory.write_obj(value.to_le(), GuestAddress(address)).expect("Inside memory");
}

fn read(memory: &Memory, address: u64) -> u64 {
    u64::from_le(memory.read_obj(GuestAddress(address)).expect("Inside memory"))
}
