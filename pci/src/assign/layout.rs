//! Fitting BARs and bridge windows into the windows above them.

use std::ops::Range;
use std::sync::Arc;

use super::AssignError;
use super::registers::{Registers, SizedBar};
use crate::header::type1;
use crate::{Bdf, Function, Windows};

/// Which addresses something needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pool {
    /// Memory below 4 GiB.
    Low,
    /// Memory above 4 GiB, by preference.
    High,
    /// Ports.
    Ports,
}

/// The granularity of a bridge's memory windows, and of its port window.
const MEMORY_GRANULE: u64 = 1 << 20;
const PORT_GRANULE: u64 = 1 << 12;
/// Where a function can no longer be reached with 32 address bits, and with the ports there are.
const END_OF_LOW_MEMORY: u64 = 1 << 32;
const END_OF_PORTS: u64 = 1 << 16;

/// Something that needs addresses.
pub(super) struct Item {
    bdf: Bdf,
    size: u64,
    alignment: u64,
    /// From the start of what it lies in; once that is placed, the address.
    offset: u64,
    target: Target,
}

/// What has to learn the address.
pub(super) enum Target {
    /// A BAR.
    Bar { function: Arc<dyn Function>, bar: SizedBar },
    /// A window of a bridge, and what lies in it.
    Window { bridge: Arc<dyn Function>, pool: Pool, items: Vec<Item> },
}

/// What is needed of each pool.
#[derive(Default)]
pub(super) struct Pools {
    low: Vec<Item>,
    high: Vec<Item>,
    ports: Vec<Item>,
}

impl Item {
    pub(super) fn new(bdf: Bdf, size: u64, alignment: u64, target: Target) -> Self {
        Self { bdf, size, alignment, offset: 0, target }
    }
}

impl Pools {
    pub(super) fn push(&mut self, pool: Pool, item: Item) {
        match pool {
            Pool::Low => self.low.push(item),
            Pool::High => self.high.push(item),
            Pool::Ports => self.ports.push(item),
        }
    }

    pub(super) fn into_each(self) -> [(Pool, Vec<Item>); 3] {
        [(Pool::Low, self.low), (Pool::High, self.high), (Pool::Ports, self.ports)]
    }
}

/// A bridge's window that holds `items` and is at least as large as `least`: one with nothing in it is needed
/// too, so that it gets closed. What comes later finds the window aligned for a BAR of half its size, and for one
/// that fills it where its size is a power of two.
pub(super) fn window(
    bdf: Bdf,
    bridge: Arc<dyn Function>,
    pool: Pool,
    mut items: Vec<Item>,
    least: u64,
) -> Result<Item, AssignError> {
    let granule = if pool == Pool::Ports { PORT_GRANULE } else { MEMORY_GRANULE };
    let largest = u64::MAX - granule;
    let end = lay_out(&mut items, pool, 0..largest)?.max(least.min(largest));
    let aligned = 1_u64.checked_shl(least.checked_ilog2().unwrap_or(0)).unwrap_or(1);
    let alignment = items.iter().map(|item| item.alignment).fold(granule.max(aligned), u64::max);
    Ok(Item::new(bdf, end.next_multiple_of(granule), alignment, Target::Window { bridge, pool, items }))
}

/// Gives addresses to everything the root bus needs, and tells them.
pub(super) fn place(windows: &Windows, mut pools: Pools) -> Result<(), AssignError> {
    let mut low = windows.memory32.clone();
    low.end = low.end.min(END_OF_LOW_MEMORY);
    let mut ports = windows.ports.clone();
    ports.end = ports.end.min(END_OF_PORTS);
    if windows.memory64.is_empty() {
        // Then everything has to be below.
        pools.low.append(&mut pools.high);
    }
    for ((pool, mut items), window) in
        pools.into_each().into_iter().zip([low, windows.memory64.clone(), ports])
    {
        lay_out(&mut items, pool, window)?;
        for item in items {
            item.tell(0);
        }
    }
    Ok(())
}

/// Lays items out one after the other, those with the largest alignment first so that no gaps arise between
/// them; gives the end of the last.
fn lay_out(items: &mut [Item], pool: Pool, within: Range<u64>) -> Result<u64, AssignError> {
    items.sort_by_key(|item| std::cmp::Reverse(item.alignment));
    let mut next = within.start;
    for item in items.iter_mut().filter(|item| item.size > 0) {
        let no_room = AssignError::NoRoom { function: item.bdf, size: item.size, space: pool.name() };
        let start = next.checked_next_multiple_of(item.alignment).ok_or(no_room)?;
        let end = start.checked_add(item.size).filter(|end| *end <= within.end).ok_or(no_room)?;
        item.offset = start;
        next = end;
    }
    Ok(next)
}

impl Item {
    /// Writes the address to the registers: `base` is where the window it lies in starts.
    fn tell(self, base: u64) {
        let address = base + self.offset;
        match self.target {
            Target::Bar { function, bar } => {
                let registers = Registers(function.as_ref());
                registers.write_u32(bar.register, address as u32);
                if bar.wide {
                    registers.write_u32(bar.register + 4, (address >> 32) as u32);
                }
            }
            Target::Window { bridge, pool, items } => {
                write_window(&Registers(bridge.as_ref()), pool, address, self.size);
                for item in items {
                    item.tell(address);
                }
            }
        }
    }
}

/// Opens a window of a bridge; of size 0, closes it.
fn write_window(bridge: &Registers<'_>, pool: Pool, base: u64, size: u64) {
    // A window whose base lies above its limit is closed.
    let (base, last) = if size == 0 { (u64::MAX, 0) } else { (base, base + (size - 1)) };
    match pool {
        Pool::Low => {
            bridge.write_u16(type1::MEMORY_BASE, (base >> 16) as u16);
            bridge.write_u16(type1::MEMORY_LIMIT, (last >> 16) as u16);
        }
        Pool::High => {
            bridge.write_u16(type1::PREFETCHABLE_BASE, (base >> 16) as u16);
            bridge.write_u16(type1::PREFETCHABLE_LIMIT, (last >> 16) as u16);
            bridge.write_u32(type1::PREFETCHABLE_BASE_UPPER, (base >> 32) as u32);
            bridge.write_u32(type1::PREFETCHABLE_LIMIT_UPPER, (last >> 32) as u32);
        }
        Pool::Ports => {
            bridge.write_u8(type1::IO_BASE, (base >> 8) as u8);
            bridge.write_u8(type1::IO_LIMIT, (last >> 8) as u8);
        }
    }
}
