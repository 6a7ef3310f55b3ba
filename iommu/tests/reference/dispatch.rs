//! Where a request to memory goes first (§3.4.2, §3.15): the interrupt range, no translation, or a table mode.

use iommu::Request;

use super::bits::{below_interrupt_range, field, in_interrupt_range, mask};
use super::legacy;
use super::scalable;
use super::second_stage::World;
use super::trace::{Outcome, Trace};

/// TTM (§11.4.5).
pub const LEGACY: u64 = 0;
pub const SCALABLE: u64 = 1;
pub const ABORT: u64 = 3;

/// Every permitted outcome of a request under the root table address register `root`, with translation on.
pub fn judge(world: World, root: u64, request: &Request, address: u64, length: u64) -> Vec<Outcome> {
    judge_for(world, root, request, request.translated, address, length)
}

/// The same; `device_tlb` tells that only devices with translations of their own may ask.
pub fn judge_for(
    world: World,
    root: u64,
    request: &Request,
    device_tlb: bool,
    address: u64,
    length: u64,
) -> Vec<Outcome> {
    let mut trace = Trace::default();
    if in_interrupt_range(address) && request.pasid.is_none() && !request.translated {
        // Not a write of four bytes, so malformed, or a read of what is no memory; the reason is open.
        trace.may_fault(&[0x06, 0x0E, 0x20, 0x29, 0x86, 0x87]);
        return trace.outcomes;
    }
    let tables = root & mask(63, 12);
    match field(root, 11, 10) {
        LEGACY => legacy::judge(world, &mut trace, tables, request, device_tlb, address, length),
        SCALABLE if world.caps.scalable() => {
            scalable::judge(world, &mut trace, tables, request, device_tlb, address, length)
        }
        ABORT if world.caps.abort_mode() => {
            trace.abort();
            None
        }
        _ => trace.stop(&[0x30]),
    };
    if request.pasid.is_none() && !request.translated {
        trace.limit(below_interrupt_range(address));
    }
    trace.outcomes
}
