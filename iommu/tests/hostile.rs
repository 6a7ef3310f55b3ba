//! The work that the most hostile guest gets out of the unit by one request or one register write.
//!
//! Memory here is the guest's to the last: whatever is read may be anything, another time something else, and nothing
//! stays as it was read when the unit wants to mark it. What is counted is how often the unit looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use iommu::{
    Access, Capabilities, Feature, GuestAddress, Iova, MemoryError, MsiMessage, PageRequest, Pasid, Profile,
    Request, SourceId, TableMemory, TranslationRequest, Unit,
};

/// Reads, writes and exchanges that one request may cost: structures (14 words), and a walk of five levels, each of
/// them looked at again as often as the guest may change it, with a walk behind for every look where tables are
/// nested.
const REQUEST: u64 = 1500;

const GCMD: u64 = 0x18;
const RTADDR: u64 = 0x20;
const IQT: u64 = 0x88;
const IQA: u64 = 0x90;
const IRTA: u64 = 0xB8;
const PQA: u64 = 0xD0;

#[derive(Default)]
struct Guest {
    accesses: AtomicU64,
    random: AtomicU64,
    /// So many of 8 exchanges succeed.
    yields: AtomicU64,
    /// What each word read is; if 0, structures that lead to tables, and anything in the tables.
    word: AtomicU64,
    /// The mode of the root table, and the bits of addresses.
    scalable: AtomicBool,
    width: AtomicU64,
}

// Where the structures lie that lead to tables.
const CONTEXTS: u64 = 0x1000;
const PASIDS: u64 = 0x2000;
/// As long as the directory of all PASIDs.
const DIRECTORY: u64 = 0x10_0000;
const DIRECTORY_END: u64 = DIRECTORY + (8 << 14);

/// Memory without end.
struct Memory(Arc<Guest>);

impl Guest {
    fn random(&self) -> u64 {
        let mut value = self.random.load(Ordering::Relaxed) | 1 << 33;
        value ^= value << 13;
        value ^= value >> 7;
        value ^= value << 17;
        self.random.store(value, Ordering::Relaxed);
        value
    }

    /// What may stand anywhere: mostly something that leads further, so that the unit comes far.
    fn entry(&self) -> u64 {
        let (value, kind) = (self.random(), self.random() % 256);
        match kind {
            0 => value,
            1 => value & 0x0000_7FFF_FFFF_FFFF,
            2 => 0,
            // Present, readable, writable, for users; a page anywhere below 2^39.
            _ => value & 0x0000_007F_FFFF_F000 | 7,
        }
    }

    /// The word at an address.
    fn at(&self, address: u64) -> u64 {
        let (scalable, width) = (self.scalable.load(Ordering::Relaxed), self.width.load(Ordering::Relaxed));
        let levels = (width - 30) / 9;
        match address {
            0..CONTEXTS if scalable || address.is_multiple_of(16) => CONTEXTS | 1,
            0..CONTEXTS => 0,
            CONTEXTS..PASIDS if scalable => {
                [DIRECTORY | 7 << 9 | 0b11101, 0, 0, 0][(address / 8 % 4) as usize]
            }
            CONTEXTS..PASIDS => [self.entry() & 0x7F_FFFF_F000 | 1, levels][(address / 8 % 2) as usize],
            DIRECTORY..DIRECTORY_END => PASIDS | 1,
            PASIDS..0x3000 => {
                let kind = 1 + self.random() % 4;
                let table = self.random() & 0x7F_FFFF_F000;
                let first = table | 3 | u64::from(width == 57) << 2;
                [table | 1 | levels << 2 | kind << 6 | 1 << 9, 1 << 23, first, 0, 0, 0, 0, 0]
                    [(address / 8 % 8) as usize]
            }
            _ => self.entry(),
        }
    }

    fn accesses(&self) -> u64 {
        self.accesses.swap(0, Ordering::Relaxed)
    }
}

impl TableMemory for Memory {
    fn read_u64(&self, address: GuestAddress) -> Result<u64, MemoryError> {
        self.0.accesses.fetch_add(1, Ordering::Relaxed);
        let word = self.0.word.load(Ordering::Relaxed);
        Ok(if word == 0 { self.0.at(address.0) } else { word })
    }

    fn write_u32(&self, _: GuestAddress, _: u32) -> Result<(), MemoryError> {
        self.0.accesses.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn compare_exchange_u64(
        &self,
        _: GuestAddress,
        current: u64,
        _: u64,
    ) -> Result<Result<u64, u64>, MemoryError> {
        self.0.accesses.fetch_add(1, Ordering::Relaxed);
        let yields = self.0.random() % 8 < self.0.yields.load(Ordering::Relaxed);
        Ok(if yields { Ok(current) } else { Err(!current) })
    }

    fn fetch_or_u64(&self, _: GuestAddress, _: u64) -> Result<u64, MemoryError> {
        self.0.accesses.fetch_add(1, Ordering::Relaxed);
        Ok(self.0.entry())
    }
}

fn machine(capabilities: Capabilities) -> (Unit<Memory>, Arc<Guest>) {
    let guest = Arc::new(Guest::default());
    (Unit::new(Memory(Arc::clone(&guest)), capabilities), guest)
}

fn set(unit: &Unit<Memory>, offset: u64, value: u64) {
    unit.write(offset, &value.to_le_bytes());
}

fn command(unit: &Unit<Memory>, bits: u32) {
    unit.write(GCMD, &bits.to_le_bytes());
}

/// Every profile, in every mode that it may have, for every width.
fn units() -> impl Iterator<Item = (Unit<Memory>, Arc<Guest>)> {
    let profiles = [Profile::Legacy, Profile::SecondStage, Profile::FirstStage, Profile::Full];
    let all = profiles.into_iter().flat_map(|profile| [39, 48, 57].map(|width| (profile, width)));
    all.flat_map(|(profile, width)| [0, 1].map(|mode| (profile, width, mode))).map(
        |(profile, width, mode)| {
            let builder = Capabilities::builder(profile, width).with(Feature::PostedInterrupts);
            let (unit, guest) = machine(builder.build().expect("possible"));
            guest.scalable.store(mode == 1, Ordering::Relaxed);
            guest.width.store(width.into(), Ordering::Relaxed);
            set(&unit, RTADDR, mode << 10);
            command(&unit, 1 << 30);
            set(&unit, IRTA, 0xF);
            command(&unit, 1 << 24);
            command(&unit, 1 << 31 | 1 << 25);
            (unit, guest)
        },
    )
}

/// A request of any kind.
fn request(unit: &Unit<Memory>, guest: &Guest) {
    let [flags, source, pasid, group, iova] = std::array::from_fn(|_| guest.random());
    let (source, iova) = (SourceId(source as u16), Iova(iova >> (flags >> 32 & 31)));
    let pasid = (flags & 1 != 0).then_some(Pasid(pasid as u32 & 0xF_FFFF));
    let [privileged, execute, third, fourth] = [1, 2, 3, 4].map(|bit| flags >> bit & 1 != 0);
    match flags >> 8 & 3 {
        0 => {
            let access = [Access::Read, Access::Write, Access::Atomic][(flags >> 16) as usize % 3];
            let request =
                Request { pasid, privileged, execute, translated: third, ..Request::new(source, access) };
            let _ = unit.access(&request, iova, group, |_, length| assert!(length <= group));
        }
        1 => {
            let request = TranslationRequest { source, pasid, privileged, execute, no_write: third, iova };
            let _ = unit.translate(&request);
        }
        2 => {
            let (read, write, group) = (third, fourth, group as u16);
            let last = group & 1 == 0;
            let _ = unit.page_request(&PageRequest {
                source,
                pasid,
                privileged,
                execute,
                read,
                write,
                last,
                group,
                iova,
            });
        }
        _ => {
            let request = MsiMessage { address: 0xFEE0_0010 | iova.0 & 0xF_FFFF, data: group as u32 };
            let _ = unit.remap(source, request, |_| ());
        }
    }
}

#[test]
fn no_request_costs_more_than_its_bound_whatever_tables_do() {
    let mut most = 0;
    for (unit, guest) in units() {
        for yields in [0, 4, 6, 8] {
            guest.yields.store(yields, Ordering::Relaxed);
            for round in 0..3000 {
                guest.accesses();
                request(&unit, &guest);
                let accesses = guest.accesses();
                assert!(accesses <= REQUEST, "{accesses} accesses");
                most = most.max(accesses);
                if round % 50 == 0 {
                    // Everything remembered is forgotten.
                    command(&unit, 1 << 31 | 1 << 30 | 1 << 25);
                }
            }
        }
    }
    println!("{most} accesses at most");
    assert!(most > 300, "requests come far: {most}");
}

#[test]
fn a_queue_that_never_ends_ends_with_its_tail() {
    for (wide, kind) in [(0, 0x12), (1, 0x12), (0, 0x25), (0, 0x11)] {
        let (unit, guest) = machine(Capabilities::new(Profile::Full, 48));
        // The same descriptor wherever the unit looks; its second half is the same words, so only those that have
        // nothing reserved there are done.
        guest.word.store(kind, Ordering::Relaxed);
        // At the end of all addresses.
        set(&unit, IQA, (u64::MAX << 19) | 7 | wide << 11);
        command(&unit, 1 << 26);
        guest.accesses();
        set(&unit, IQT, 0x7_FFE0);
        let accesses = guest.accesses();
        assert!(accesses <= 4 << 15, "{accesses} accesses");
        let all = (wide, kind) == (0, 0x12);
        assert!(!all || accesses >= 2 * 0x7FFE, "IOTLB invalidations are done, all of them: {accesses}");
    }
}

#[test]
fn page_requests_cost_their_descriptor_and_no_more() {
    let (unit, guest) = machine(Capabilities::new(Profile::Full, 48));
    guest.scalable.store(true, Ordering::Relaxed);
    guest.width.store(48, Ordering::Relaxed);
    set(&unit, RTADDR, 1 << 10);
    command(&unit, 1 << 30);
    // At the end of all addresses.
    set(&unit, PQA, u64::MAX << 19 | 7);
    command(&unit, 1 << 31);
    let mut taken = 0;
    for _ in 0..20_000 {
        guest.accesses();
        let iova = Iova(guest.random());
        let request = PageRequest {
            source: SourceId(guest.random() as u16),
            pasid: Some(Pasid(guest.random() as u32 & 0xF_FFFF)),
            privileged: true,
            execute: true,
            read: true,
            write: true,
            last: true,
            group: 0xFFFF,
            iova,
        };
        taken += u64::from(unit.page_request(&request).is_none());
        assert!(guest.accesses() <= 14 + 8, "the context entry, the PASID entry, the descriptor");
    }
    assert_eq!(taken, (1 << 14) - 1, "until the queue is full");
}
