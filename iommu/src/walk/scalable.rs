//! Scalable mode: root table, context table, PASID directory, PASID table (§3.4.3; order of the checks
//! §7.1.3).

use super::{AddressSpace, Fault, Mapping, Marks, View, first_stage, second_stage};
use crate::spec::context::{ENTRY_SIZE, SCALABLE_ENTRY_SIZE, ScalableContextEntry, ScalableRootEntry};
use crate::spec::fault::FaultReason;
use crate::spec::pasid::{self, DirectoryEntry, PasidEntry, TranslationType};
use crate::{Capabilities, Feature, GuestAddress, Pasid, SourceId, TableMemory};

/// What a context entry says of a requester.
#[expect(clippy::struct_excessive_bools, reason = "The entry is made of independent bits")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) pasid_directory: GuestAddress,
    /// The highest PASID that the directory has a place for.
    pub(crate) last_pasid: Pasid,
    /// The PASID of requests without one, and whether they have supervisor privilege.
    pub(crate) rid_pasid: Pasid,
    pub(crate) rid_privileged: bool,
    /// Whether the requester may have a device-TLB, use PASIDs, send page requests.
    pub(crate) device_tlb: bool,
    pub(crate) pasid_enabled: bool,
    pub(crate) page_requests: bool,
    pub(crate) fault_processing_disabled: bool,
}

/// What kind of request asks for an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An untranslated request to memory.
    Untranslated,
    /// A translated request, or a translation request.
    DeviceTlb,
    /// A page request.
    PageRequest,
}

impl Context {
    /// The address space that a request asks for, and whether it has supervisor privilege there.
    pub(crate) fn select(
        &self,
        kind: Kind,
        pasid: Option<Pasid>,
        privileged: bool,
    ) -> Result<(Pasid, bool), Fault> {
        let fault = |reason| Err(Fault::new(reason, self.fault_processing_disabled));
        if kind == Kind::DeviceTlb && !self.device_tlb {
            return fault(FaultReason::DeviceTlbDisabled);
        }
        if pasid.is_some() && !self.pasid_enabled {
            return fault(FaultReason::PasidDisabled);
        }
        if pasid.is_some_and(|pasid| pasid > self.last_pasid) {
            return fault(FaultReason::PasidBeyondDirectory);
        }
        if kind == Kind::PageRequest && !self.page_requests {
            return fault(FaultReason::PageRequestDisabled);
        }
        Ok(match pasid {
            Some(pasid) => (pasid, privileged),
            None => (self.rid_pasid, self.rid_privileged),
        })
    }
}

/// Looks `source` up. Only for a view that translates, in scalable mode.
pub(crate) fn context(view: &View, memory: &impl TableMemory, source: SourceId) -> Result<Context, Fault> {
    let unqualified = |reason| Fault::new(reason, false);
    let half = u64::from(source.devfn() >> 7);
    let address = view.root.table().0 | (u64::from(source.bus()) * ENTRY_SIZE) | (half * 8);
    let root = memory.read_u64(GuestAddress(address)).map(ScalableRootEntry);
    let root = root.map_err(|_| unqualified(FaultReason::ScalableRootUnreadable))?;
    if !root.present() {
        return Err(unqualified(FaultReason::ScalableRootNotPresent));
    }
    if root.reserved(&view.capabilities) {
        return Err(unqualified(FaultReason::ScalableRootReserved));
    }

    let address = root.context_table().0 | (u64::from(source.devfn() & 0x7F) * SCALABLE_ENTRY_SIZE);
    let entry = read_words(memory, address).map(ScalableContextEntry);
    let entry = entry.ok_or(unqualified(FaultReason::ScalableContextUnreadable))?;
    let fault_processing_disabled = entry.fault_processing_disabled();
    let fault = |reason| Err(Fault::new(reason, fault_processing_disabled));
    if !entry.present() {
        return fault(FaultReason::ScalableContextNotPresent);
    }
    if entry.reserved(&view.capabilities) {
        return fault(FaultReason::ScalableContextReserved);
    }
    if entry.rid_pasid() > entry.last_pasid() {
        return fault(FaultReason::ScalableContextInvalid);
    }
    Ok(Context {
        pasid_directory: entry.pasid_directory(),
        last_pasid: entry.last_pasid(),
        rid_pasid: entry.rid_pasid(),
        rid_privileged: entry.rid_privileged(),
        device_tlb: entry.device_tlb(),
        pasid_enabled: entry.pasid_enabled(),
        page_requests: entry.page_requests(),
        fault_processing_disabled,
    })
}

/// Looks up the address space `pasid`, which [`Context::select`] gave.
pub(crate) fn address_space(
    view: &View,
    memory: &impl TableMemory,
    context: &Context,
    pasid: Pasid,
) -> Result<AddressSpace, Fault> {
    let mut disabled = context.fault_processing_disabled;
    let index = u64::from(pasid.0 >> pasid::TABLE_BITS) * pasid::DIRECTORY_ENTRY_SIZE;
    let directory = memory.read_u64(GuestAddress(context.pasid_directory.0.wrapping_add(index)));
    let directory = directory.map_err(|_| Fault::new(FaultReason::PasidDirectoryUnreadable, disabled))?;
    let directory = DirectoryEntry(directory);
    disabled |= directory.fault_processing_disabled();
    if !directory.present() {
        return Err(Fault::new(FaultReason::PasidDirectoryNotPresent, disabled));
    }
    if directory.reserved(&view.capabilities) {
        return Err(Fault::new(FaultReason::PasidDirectoryReserved, disabled));
    }

    let index = u64::from(pasid.0) % (1 << pasid::TABLE_BITS) * pasid::ENTRY_SIZE;
    let entry = read_words(memory, directory.pasid_table().0 | index).map(PasidEntry);
    let entry = entry.ok_or(Fault::new(FaultReason::PasidEntryUnreadable, disabled))?;
    disabled |= entry.fault_processing_disabled();
    let mapping = mapping(&view.capabilities, entry).map_err(|reason| Fault::new(reason, disabled))?;
    let tagged = !matches!(mapping, Mapping::SecondStage(_));
    Ok(AddressSpace {
        domain: entry.domain(),
        pasid: tagged.then_some(pasid),
        fault_processing_disabled: disabled,
        mapping,
    })
}

/// What [`present`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Present {
    /// In ascending order.
    pub(crate) pasids: Vec<Pasid>,
    /// From here on nothing was looked at.
    pub(crate) cut_short: Option<Pasid>,
}

/// The PASIDs up to `last` whose entries are present, whether or not these make sense. No more than `limit` tables are
/// read, and no more than `limit` PASIDs found.
pub(crate) fn present(
    view: &View,
    memory: &impl TableMemory,
    context: &Context,
    last: Pasid,
    limit: usize,
) -> Present {
    let mut pasids = Vec::new();
    let mut tables = 0;
    for table in 0..=last.0 >> pasid::TABLE_BITS {
        let first = table << pasid::TABLE_BITS;
        let index = u64::from(table) * pasid::DIRECTORY_ENTRY_SIZE;
        let directory = memory.read_u64(GuestAddress(context.pasid_directory.0.wrapping_add(index)));
        let Ok(directory) = directory.map(DirectoryEntry) else { continue };
        if !directory.present() || directory.reserved(&view.capabilities) {
            continue;
        }
        if tables == limit {
            return Present { pasids, cut_short: Some(Pasid(first)) };
        }
        tables += 1;
        for pasid in first..=last.0.min(first | ((1 << pasid::TABLE_BITS) - 1)) {
            let address = directory.pasid_table().0 | (u64::from(pasid - first) * pasid::ENTRY_SIZE);
            let entry = memory.read_u64(GuestAddress(address)).unwrap_or(0);
            if entry & 1 == 0 {
                continue;
            }
            if pasids.len() == limit {
                return Present { pasids, cut_short: Some(Pasid(pasid)) };
            }
            pasids.push(Pasid(pasid));
        }
    }
    Present { pasids, cut_short: None }
}

fn mapping(capabilities: &Capabilities, entry: PasidEntry) -> Result<Mapping, FaultReason> {
    if !entry.present() {
        return Err(FaultReason::PasidEntryNotPresent);
    }
    if entry.reserved(capabilities) {
        return Err(FaultReason::PasidEntryReserved);
    }
    let kept = if entry.walk_snoop() { Marks::Kept } else { Marks::Forbidden };
    let first = || {
        let top = entry.first_stage_top(capabilities).ok_or(FaultReason::PasidEntryInvalid)?;
        Ok(first_stage::Table {
            root: entry.first_stage_table(),
            top,
            width: capabilities.guest_address_width(),
            options: entry.first_stage_options(),
            marks: kept,
        })
    };
    let second = || {
        let top = capabilities.second_stage_top(entry.address_width());
        let top = top.ok_or(FaultReason::PasidEntryInvalid)?;
        let marks = if entry.second_stage_dirty() { kept } else { Marks::Absent };
        Ok(second_stage::Table::scalable(entry.second_stage_table(), top, capabilities, marks))
    };
    match entry.translation_type() {
        TranslationType::FirstStage if capabilities.has(Feature::FirstStage) => {
            Ok(Mapping::FirstStage(first()?))
        }
        TranslationType::SecondStage if capabilities.has(Feature::SecondStage) => {
            Ok(Mapping::SecondStage(second()?))
        }
        TranslationType::Nested if capabilities.has(Feature::Nested) => {
            Ok(Mapping::Nested(first()?, second()?))
        }
        TranslationType::PassThrough if capabilities.has(Feature::PassThrough) => Ok(Mapping::PassThrough),
        _ => Err(FaultReason::PasidEntryInvalid),
    }
}

/// Reads an entry of `N` words; the word with the present bit first.
fn read_words<const N: usize>(memory: &impl TableMemory, address: u64) -> Option<[u64; N]> {
    let mut words = [0; N];
    for (index, word) in words.iter_mut().enumerate() {
        *word = memory.read_u64(GuestAddress(address | (index as u64 * 8))).ok()?;
    }
    Some(words)
}

#[cfg(test)]
mod tests;
