//! Legacy mode: root table, context table (§3.4.2; order of the checks §7.1.3).

use super::second_stage::Table;
use super::{Fault, View};
use crate::spec::context::{ContextEntry, ENTRY_SIZE, RootEntry, TableMode, TranslationType};
use crate::spec::fault::FaultReason;
use crate::{DomainId, Feature, GuestAddress, SourceId, TableMemory};

/// How a requester's untranslated requests are to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) domain: DomainId,
    /// The context entry's FPD: faults found further on are not recorded.
    pub(crate) fault_processing_disabled: bool,
    pub(crate) mapping: Mapping,
}

/// What a domain makes of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// It stays as it is, if guest addresses have as many bits.
    PassThrough,
    /// The table decides.
    SecondStage(Table),
}

/// Looks `source` up. Only for a view that translates.
pub(crate) fn context(view: &View, memory: &impl TableMemory, source: SourceId) -> Result<Context, Fault> {
    let unqualified = |reason| Fault::new(reason, false);
    if view.root.mode() != TableMode::Legacy {
        return Err(unqualified(FaultReason::TableModeInvalid));
    }

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
    Ok(Context { domain: entry.domain(), fault_processing_disabled, mapping })
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
    match entry.translation_type() {
        TranslationType::Untranslated => {
            Ok(Mapping::SecondStage(Table::new(entry.second_stage_table(), top, capabilities)))
        }
        TranslationType::PassThrough if capabilities.has(Feature::PassThrough) => Ok(Mapping::PassThrough),
        TranslationType::PassThrough | TranslationType::All | TranslationType::Reserved => {
            Err(FaultReason::ContextInvalid)
        }
    }
}

/// Reads entry `index` of a table of 16-byte entries. The half that holds the present bit is read first.
fn read_entry(memory: &impl TableMemory, table: GuestAddress, index: u8) -> Option<[u64; 2]> {
    let low = GuestAddress(table.0 | (u64::from(index) * ENTRY_SIZE));
    let high = GuestAddress(low.0 | 8);
    Some([memory.read_u64(low).ok()?, memory.read_u64(high).ok()?])
}

#[cfg(test)]
mod tests;
