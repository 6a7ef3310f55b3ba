//! Legacy mode: root table, context table, second stage (§3.4.3, §9.1, §9.3).

use iommu::Request;

use super::bits::{below_interrupt_range, bit, field, in_interrupt_range, mask};
use super::second_stage::{LEGACY, Need, Tables, World, levels, walk};
use super::trace::Trace;

/// A context entry that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Context {
    /// TT.
    pub translation: u64,
    /// SSPTPTR.
    pub table: u64,
    /// AW.
    pub width: u64,
    /// DID.
    pub domain: u16,
}

/// The type of requests that a context entry (TT) accepts.
pub const UNTRANSLATED: u64 = 0;
pub const ALL_TYPES: u64 = 1;
pub const PASS_THROUGH: u64 = 2;

/// Judges a request in legacy mode with the root table at `root`.
pub fn judge(
    world: World,
    trace: &mut Trace,
    root: u64,
    request: &Request,
    device_tlb: bool,
    address: u64,
    length: u64,
) -> Option<()> {
    if request.translated && in_interrupt_range(address) {
        // Whether this comes before the tables is open.
        trace.deny(&[0x0E]);
    }
    if request.pasid.is_some() {
        return trace.stop(&[0x31]);
    }
    let context = context(world, trace, root, request.source.0, device_tlb)?;
    translate(world, trace, &context, request, address, length)
}

/// Finds the context entry of `source`, for a request or, if `device_tlb`, for one that only a device with
/// translations of its own makes.
pub fn context(world: World, trace: &mut Trace, root: u64, source: u16, device_tlb: bool) -> Option<Context> {
    let at = root + 16 * u64::from(source >> 8);
    let (Some(low), Some(high)) = (world.memory.read(at), world.memory.read(at + 8)) else {
        return trace.stop(&[0x08]);
    };
    if !bit(low, 0) {
        return trace.stop(&[0x01]);
    }
    if low & (mask(11, 1) | world.caps.beyond_host()) != 0 || high != 0 {
        return trace.stop(&[0x0A]);
    }
    let at = (low & mask(63, 12)) + 16 * u64::from(source & 0xFF);
    let (Some(low), Some(high)) = (world.memory.read(at), world.memory.read(at + 8)) else {
        return trace.stop(&[0x09]);
    };
    trace.fault_processing_disabled |= bit(low, 1);
    if !bit(low, 0) {
        return trace.stop(&[0x02]);
    }
    let context = Context {
        translation: field(low, 3, 2),
        table: low & mask(63, 12),
        width: field(high, 2, 0),
        domain: field(high, 23, 8) as u16,
    };
    let mut reasons = Vec::new();
    let address_reserved = if context.translation == PASS_THROUGH { 0 } else { world.caps.beyond_host() };
    let domain_reserved = world.caps.beyond_domains() << 8;
    if low & (mask(11, 4) | address_reserved) != 0 || high & (1 << 7 | mask(63, 24) | domain_reserved) != 0 {
        reasons.push(0x0B);
    }
    match context.translation {
        UNTRANSLATED => {}
        ALL_TYPES if world.caps.device_tlb() => {}
        PASS_THROUGH if world.caps.pass_through() => {}
        _ => reasons.extend([0x03, 0x0B]),
    }
    if !world.caps.has_width(context.width) {
        reasons.push(0x03);
        if context.translation == PASS_THROUGH {
            reasons.push(0x04);
        }
    }
    if device_tlb && context.translation != ALL_TYPES {
        reasons.push(0x0D);
    }
    trace.stop_for(&reasons)?;
    Some(context)
}

/// Takes a request on from its context entry.
pub fn translate(
    world: World,
    trace: &mut Trace,
    context: &Context,
    request: &Request,
    address: u64,
    length: u64,
) -> Option<()> {
    if request.translated || context.translation == PASS_THROUGH {
        if address & world.caps.beyond_host() != 0 {
            return trace.stop(&[0x04]);
        }
        if in_interrupt_range(address) {
            return trace.stop(&[0x0E]);
        }
        trace.reach(address, below_interrupt_range(address).min((1 << world.caps.host_width) - address));
        return Some(());
    }
    let tables = Tables {
        base: context.table,
        levels: levels(context.width),
        domain: context.domain,
        marks: false,
        snoops: true,
    };
    let need = Need::of(request.access, length, false, world.caps);
    let page = walk(world, trace, &tables, &LEGACY, need, address)?;
    trace.reach(page.address, page.rest().min(below_interrupt_range(page.address)));
    Some(())
}
