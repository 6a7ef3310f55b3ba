//! Whether a unit can be in a state: what it does later stands on that, whoever wrote the bytes.

use super::{State, StateError};
use crate::fault::{FaultReporting, STOPS_QUEUE};
use crate::mode::{DmaMode, InterruptMode};
use crate::queue::Ring;
use crate::registers::Registers;
use crate::spec::counters::{EVERY_COUNTER, FREEZE_STATUS};
use crate::spec::registers::{
    CCMD, EVENT_MASKED, EVENT_PENDING, FECTL, FSTS, FaultStatus, GSTS, Global, ICS, IECTL, IOTLB, IQERCD,
    IQH, IQT, IRTA, PECTL, PMEN, PROTECTED_GRANULE, PRS, PageRequestStatus, RTADDR, RUN, WAIT_COMPLETE,
};
use crate::spec::{self, PAGE_ADDRESS, bits, mask};
use crate::{Capabilities, Feature, counters, protected};

// The upper halves of registers of 64 bits.
const CCMD_HIGH: u64 = CCMD + 4;
const IOTLB_HIGH: u64 = IOTLB + 4;
const IQERCD_HIGH: u64 = IQERCD + 4;

/// Refuses a state that contradicts itself. `fresh` are registers after power-on.
pub(super) fn check(state: &State, fresh: &Registers, faults: &FaultReporting) -> Result<(), StateError> {
    let sound = [
        (registers(state, fresh, faults), "its registers"),
        (modes(state, fresh), "its modes"),
        (protection(state), "its protected regions"),
        (queue(state), "its queue"),
        (fault_ring(state, faults), "its fault records"),
        (counters(state), "its counters"),
    ];
    match sound.into_iter().find(|(sound, _)| !sound) {
        Some((_, part)) => Err(StateError::Impossible(part)),
        None => Ok(()),
    }
}

/// Only bits that can change differ from those after power-on.
fn registers(state: &State, fresh: &Registers, faults: &FaultReporting) -> bool {
    state.words.iter().zip((0..).step_by(4)).all(|(word, offset)| {
        let changing = match offset {
            _ if !fresh.has(offset) => 0,
            // A command is done before anybody can look.
            CCMD_HIGH | IOTLB_HIGH => {
                (fresh.writable(offset) | granularity_done(offset)) & !((RUN >> 32) as u32)
            }
            _ => fresh.writable(offset) | set_by_unit(offset, &state.capabilities, faults),
        };
        (word ^ fresh.get(offset)) & !changing == 0
    })
}

/// CAIG and IAIG: what a command has done.
const fn granularity_done(offset: u64) -> u32 {
    if offset == CCMD_HIGH { 3 << 27 } else { 3 << 25 }
}

/// The bits that the unit itself sets in the word at `offset`.
fn set_by_unit(offset: u64, capabilities: &Capabilities, faults: &FaultReporting) -> u32 {
    match offset {
        GSTS => (Global::supported(capabilities) - Global::WRITE_BUFFER).bits(),
        FSTS => FaultStatus::all().bits() | 0xFF << FaultStatus::INDEX_SHIFT,
        FECTL | IECTL | PECTL => EVENT_MASKED | EVENT_PENDING,
        PRS => PageRequestStatus::all().bits(),
        ICS => WAIT_COMPLETE,
        IQH => mask(18, 4) as u32,
        IQERCD => 0xF,
        IQERCD_HIGH => u32::MAX,
        PMEN => protected::STATUS | protected::ENABLE,
        // The last word of a record has PASID, reason, type and F; before it come source and more of the
        // type, before that the address.
        _ if faults.is_record(offset) => match offset % 16 {
            0 => !0xFFF,
            8 => 0xF000_FFFF,
            _ => u32::MAX,
        },
        _ => spec::counters::set_by_unit(offset, capabilities),
    }
}

/// The modes have no bits that their registers could not have, or that are not their own, and the status register
/// tells of them.
fn modes(state: &State, fresh: &Registers) -> bool {
    let status = Global::from_bits_retain(word(state, GSTS));
    let told = [
        (Global::TRANSLATION, state.dma.translating()),
        (Global::INTERRUPT_REMAPPING, state.interrupts.remapping()),
        (Global::COMPATIBILITY, state.interrupts.compatibility()),
        (Global::QUEUE, state.queue.ring.is_some()),
    ];
    let writable = |register| [register, register + 4].map(|offset| u64::from(fresh.writable(offset)));
    let [[root, root_high], [table, table_high]] = [RTADDR, IRTA].map(writable);
    state.dma.0 & !(root_high << 32 | root | DmaMode::TRANSLATING) == 0
        && state.interrupts.0 & !(table_high << 32 | table | InterruptMode::OWN) == 0
        && told.into_iter().all(|(bit, on)| status.contains(bit) == on)
}

/// Regions are in force only if PMEN says so, and are such as the registers can name.
fn protection(state: &State) -> bool {
    let on = match word(state, PMEN) {
        0 => false,
        value if value == protected::ENABLE | protected::STATUS => true,
        _ => return false,
    };
    let features = [Feature::ProtectedLowMemory, Feature::ProtectedHighMemory];
    let possible = on && features.iter().any(|feature| state.capabilities.has(*feature));
    possible == on
        && features.iter().zip(&state.protected).all(|(feature, range)| {
            let present = on && state.capabilities.has(*feature);
            let whole = (range.start | range.end).is_multiple_of(PROTECTED_GRANULE);
            if present { whole && range.end > 0 && range.end <= 1 << 52 } else { *range == (0..0) }
        })
}

fn queue(state: &State) -> bool {
    let queue = &state.queue;
    let shown = u64::from(word(state, IQH));
    let Some(Ring { base, size, width, head }) = queue.ring else {
        return !queue.stopping && queue.unanswered.is_none() && shown == 0;
    };
    // Only a queue that has been left for later has anything to remember.
    let done = u64::from(word(state, IQT)) == head
        || FaultStatus::from_bits_truncate(word(state, FSTS)).intersects(STOPS_QUEUE);
    let has = |feature| state.capabilities.has(feature);
    let wide = has(Feature::Scalable) || has(Feature::AbortMode);
    base.0 & !PAGE_ADDRESS == 0
        && (0..8).any(|order| size == 0x1000 << order)
        && (width == 16 || width == 32 && wide)
        && head < size
        && head.is_multiple_of(width)
        && shown == head
        && !(done && (queue.stopping || queue.unanswered.is_some()))
}

/// FSTS tells of the records, and the next one to use is one.
fn fault_ring(state: &State, faults: &FaultReporting) -> bool {
    let status = word(state, FSTS);
    let pending = faults.last_words().any(|offset| word(state, offset) >> 31 == 1);
    let first = bits(status.into(), 15, 8) as usize;
    (status & FaultStatus::PENDING.bits() != 0) == pending
        && first < faults.count()
        && state.next_fault < faults.count()
}

/// All counters are frozen or none, and none has more bits than there are; without any there is nothing.
fn counters(state: &State) -> bool {
    let counters::State { enabled, values } = state.counters;
    let present = state.capabilities.has(Feature::PerformanceMonitoring);
    let (most, last) = if present { (EVERY_COUNTER, counters::LAST) } else { (0, 0) };
    enabled & !most == 0
        && values.iter().all(|value| *value <= last)
        && matches!(word(state, FREEZE_STATUS), 0 | EVERY_COUNTER)
}

fn word(state: &State, offset: u64) -> u32 {
    state.words.get(offset as usize / 4).copied().unwrap_or(0)
}
