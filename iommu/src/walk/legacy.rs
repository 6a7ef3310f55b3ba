//! Legacy mode: root table, context table (§3.4.2; order of the checks §7.1.3).

use super::second_stage::Table;
use super::{AddressSpace, Fault, Mapping, View};
use crate::spec::context::{ContextEntry, ENTRY_SIZE, RootEntry, TranslationType};
use crate::spec::fault::FaultReason;
use crate::{Feature, GuestAddress, SourceId, TableMemory};

/// What a context entry says of a requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// How its untranslated requests are to be treated.
    pub(crate) space: AddressSpace,
    /// Whether it may have a device-TLB: send translation requests and translated requests.
    pub(crate) device_tlb: bool,
}

/// Looks `source` up. Only for a view that translates, in legacy mode.
pub(crate) fn context(view: &View, memory: &impl TableMemory, source: SourceId) -> Result<Context, Fault> {
    let unqualified = |reason| Fault::new(reason, false);
    let root = read_entry(memory, view.root.table(), source.bus())
        .map(RootEntry)
        .ok_or(unqualified(FaultReason::RootUnreadable))?;
    if !root.present() {
        return Err(unqualified(FaultReason::RootNotPresent));
    }
    if root.reserved(&view.capabilities) {
        return Err(unqualified(FaultReason::RootReserved));
    }

    let entry = read_entry(memory, root.context_table(), source.devfn())
        .map(ContextEntry)
        .ok_or(unqualified(FaultReason::ContextUnreadable))?;
    let fault_processing_disabled = entry.fault_processing_disabled();
    let mapping = mapping(view, entry).map_err(|reason| Fault::new(reason, fault_processing_disabled))?;
    let space = AddressSpace { domain: entry.domain(), pasid: None, fault_processing_disabled, mapping };
    Ok(Context { space, device_tlb: entry.translation_type() == TranslationType::All })
}

fn mapping(view: &View, entry: ContextEntry) -> Result<Mapping, FaultReason> {
    let capabilities = &view.capabilities;
    if !entry.present() {
        return Err(FaultReason::ContextNotPresent);
    }
    if entry.reserved(capabilities) {
        return Err(FaultReason::ContextReserved);
    }
    // The width must be one there is even where it has no meaning: software writes the largest there.
    let top = capabilities.second_stage_top(entry.address_width()).ok_or(FaultReason::ContextInvalid)?;
    let supported = match entry.translation_type() {
        TranslationType::Untranslated => true,
        TranslationType::All => capabilities.has(Feature::DeviceTlb),
        TranslationType::PassThrough => capabilities.has(Feature::PassThrough),
        TranslationType::Reserved => false,
    };
    if !supported {
        return Err(FaultReason::ContextInvalid);
    }
    Ok(match entry.translation_type() {
        TranslationType::PassThrough => Mapping::PassThrough,
        _ => Mapping::SecondStage(Table::new(entry.second_stage_table(), top, capabilities)),
    })
}

/// Reads entry `index` of a table of 16-byte entries. The half that holds the present bit is read first.
fn read_entry(memory: &impl TableMemory, table: GuestAddress, index: u8) -> Option<[u64; 2]> {
    let low = GuestAddress(table.0 | (u64::from(index) * ENTRY_SIZE));
    let high = GuestAddress(low.0 | 8);
    Some([memory.read_u64(low).ok()?, memory.read_u64(high).ok()?])
}

#[cfg(test)]
mod tests;
