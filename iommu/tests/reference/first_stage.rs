//! First-stage tables of four or five levels (§3.6, §9.7), alone or translated by a second stage (§3.8).

use iommu::Access;

use super::bits::{in_interrupt_range, mask};
use super::capability::Caps;
use super::memory::{Step, Tag};
use super::second_stage::{
    self, D as SECOND_STAGE_D, Need, Page, SCALABLE, World, entry_address, under_first_stage,
};
use super::trace::Trace;

const P: u64 = 1 << 0;
const RW: u64 = 1 << 1;
const US: u64 = 1 << 2;
const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const PS: u64 = 1 << 7;
const EA: u64 = 1 << 10;
const XD: u64 = 1 << 63;

/// A tree of tables, and the bits of the PASID table entry that say how to read it.
#[derive(Clone, Copy, Debug)]
pub struct Tables {
    /// FSPTPTR.
    pub base: u64,
    pub levels: u32,
    /// What its translations are tagged with.
    pub tag: Tag,
    /// WPE: supervisor writes need R/W too.
    pub write_protect: bool,
    /// EAFE.
    pub extended_accessed: bool,
    /// PWSNP.
    pub snoops: bool,
    /// What translates the tables' own addresses and the output.
    pub second_stage: Option<second_stage::Tables>,
}

/// Who wants what.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    pub access: Access,
    pub length: u64,
    pub supervisor: bool,
    pub execute: bool,
}

/// Walks `tables` for `input`. Nothing comes back if the walk ends in a fault.
pub fn walk(world: World, trace: &mut Trace, tables: &Tables, demand: Demand, input: u64) -> Option<Page> {
    let sign = mask(63, 9 * tables.levels + 11);
    if input & sign != 0 && input & sign != sign {
        return trace.stop(&[0x80]);
    }
    if input & mask(63, world.caps.guest_width()) != 0 {
        trace.may_fault(&[0x80]);
    }
    let write = demand.access != Access::Read;
    let (mut base, mut rights, mut never, mut denied) = (tables.base, RW | US, 0, false);
    for level in (1..=tables.levels).rev() {
        let top = level == tables.levels;
        let slot = locate(world, trace, tables, entry_address(base, input, level), top)?;
        let step = Step { tag: tables.tag, input, level };
        let Some(entry) = world.memory.entry(slot.address, step) else {
            return trace.stop(&[if top { 0x73 } else { 0x70 }]);
        };
        if entry & P == 0 {
            return trace.stop(&[0x71]);
        }
        rights &= entry;
        never |= entry & XD;
        let mut lacking = Vec::new();
        if !demand.supervisor && rights & US == 0 {
            lacking.push(0x81);
        }
        if write && rights & RW == 0 && (!demand.supervisor || tables.write_protect) {
            lacking.push(0x85);
        }
        if demand.execute && never != 0 {
            lacking.push(0x82);
        }
        if reserved(world.caps, entry, level) {
            lacking.push(0x72);
            return trace.stop(&lacking);
        }
        denied |= !lacking.is_empty();
        trace.deny(&lacking);

        let leaf = level == 1 || entry & PS != 0;
        let extended = if tables.extended_accessed { EA } else { 0 };
        if !leaf {
            slot.set(trace, tables, (A | extended) & !entry)?;
            base = entry & mask(51, 12);
            continue;
        }
        let wanted = A | extended | if write && !denied { D } else { 0 };
        let size = 1 << (9 * level + 3);
        let address = entry & mask(51, 9 * level + 3) | input & (size - 1);
        let page = finish(world, trace, tables, demand, &slot, wanted & !entry, (address, size))?;
        return (!denied).then_some(page);
    }
    unreachable!("entries of the last level are leaves")
}

/// From the leaf to memory: `missing` are the bits to set in the leaf.
fn finish(
    world: World,
    trace: &mut Trace,
    tables: &Tables,
    demand: Demand,
    slot: &Slot,
    missing: u64,
    (address, size): (u64, u64),
) -> Option<Page> {
    let Some(second_stage) = &tables.second_stage else {
        if in_interrupt_range(address) {
            return trace.stop(&[0x87]);
        }
        slot.set(trace, tables, missing)?;
        let leaf = (slot.address, 0);
        return Some(Page { address, size, leaf, writable: true });
    };
    if in_interrupt_range(address) {
        trace.may_fault(&[0x87]);
    }
    // Whether the leaf is marked before or after the second stage has been asked for the page is open.
    let obstacles = slot.obstacles(tables, missing);
    trace.deny(&obstacles);
    trace.may_mark(slot.address, missing);
    if missing != 0 {
        slot.may_mark_second_stage(trace, tables);
    }
    let need = Need::of(demand.access, demand.length, demand.execute, world.caps);
    let page = second_stage::walk(world, trace, second_stage, &SCALABLE, need, address)?;
    slot.mark(trace, tables, missing);
    Some(Page { size: size.min(page.size), ..page })
}

/// Where an entry is in memory, and the second-stage page that it is in.
struct Slot {
    address: u64,
    page: Option<Page>,
}

fn locate(world: World, trace: &mut Trace, tables: &Tables, address: u64, top: bool) -> Option<Slot> {
    let Some(second_stage) = &tables.second_stage else {
        return Some(Slot { address, page: None });
    };
    let reasons = under_first_stage(top);
    let page = second_stage::walk(world, trace, second_stage, &reasons, Need::READ, address)?;
    Some(Slot { address: page.address, page: Some(page) })
}

impl Slot {
    /// What keeps the unit from setting bits.
    fn obstacles(&self, tables: &Tables, missing: u64) -> Vec<u8> {
        let mut obstacles = Vec::new();
        if missing != 0 {
            // The second stage's entry becomes dirty with the first stage's.
            let reasons: &[u8] =
                if self.second_stage_mark(tables).is_some() { &[0x90, 0x7C] } else { &[0x90] };
            if !tables.snoops {
                obstacles.extend(reasons);
            }
            if self.page.is_some_and(|page| !page.writable) {
                obstacles.push(0x77);
            }
        }
        obstacles
    }

    /// Sets bits, as far as the walk can.
    fn set(&self, trace: &mut Trace, tables: &Tables, missing: u64) -> Option<()> {
        let obstacles = self.obstacles(tables, missing);
        trace.stop_for(&obstacles)?;
        self.mark(trace, tables, missing);
        Some(())
    }

    fn mark(&self, trace: &mut Trace, tables: &Tables, missing: u64) {
        trace.mark(self.address, missing);
        if let Some(at) = self.second_stage_mark(tables).filter(|_| missing != 0) {
            trace.mark(at, SECOND_STAGE_D);
        }
    }

    fn may_mark_second_stage(&self, trace: &mut Trace, tables: &Tables) {
        if let Some(at) = self.second_stage_mark(tables) {
            trace.may_mark(at, SECOND_STAGE_D);
        }
    }

    /// The second-stage entry whose D is to be set with bits of this one.
    fn second_stage_mark(&self, tables: &Tables) -> Option<u64> {
        let (at, entry) = self.page?.leaf;
        (tables.second_stage?.marks && entry & SECOND_STAGE_D == 0).then_some(at)
    }
}

/// Whether an entry has reserved bits set (§9.7).
fn reserved(caps: &Caps, entry: u64, level: u32) -> bool {
    let mut reserved = caps.beyond_host_in_paging_entry();
    if level > 1 && entry & PS != 0 {
        if level > 3 || level == 3 && !caps.first_stage_1g() {
            return true;
        }
        reserved |= mask(9 * level + 2, 13);
    }
    entry & reserved != 0
}
