//! Translation requests (§4.1): a device asks where an address leads, to use the answer later in translated
//! requests.

use super::{DmaRemapping, Look, pass_through};
use crate::counters::Tally;
use crate::spec::INTERRUPT_RANGE;
use crate::spec::context::TableMode;
use crate::spec::fault::FaultReason;
use crate::spec::second_stage::Level;
use crate::walk::scalable::Kind;
use crate::walk::{AddressSpace, Demand, Fault, Leaf, Mapping, Rights, View};

use crate::{
    DomainId, Feature, GuestAddress, Iova, Pasid, Permissions, SourceId, TableMemory, Translation,
    TranslationError, TranslationRequest,
};

/// A translation request that gets a status for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) fault: Fault,
    pub(crate) error: TranslationError,
}

impl<M: TableMemory> DmaRemapping<M> {
    /// Answers a translation request. A page that is not there, or that the device may not use, is an
    /// answer without permissions; only tables that do not allow to ask, or that cannot be used, are a
    /// refusal.
    pub(crate) fn translation(
        &self,
        request: &TranslationRequest,
        tally: Option<&Tally>,
    ) -> Result<Translation, Refusal> {
        let _section = self.sections.enter();
        let look = Look { epoch: self.caches.epoch(), tally };
        let page = Iova(request.iova.0 & !(Level::PAGE.span() - 1));
        let answer = self.answer(look, &TranslationRequest { iova: page, ..*request });
        answer.or_else(|fault| {
            if recoverable(fault.reason) {
                return Ok(answer_at(page, Permissions::empty()));
            }
            let error =
                if blocks(fault.reason) { TranslationError::Unsupported } else { TranslationError::Aborted };
            Err(Refusal { fault, error })
        })
    }

    fn answer(&self, look: Look, request: &TranslationRequest) -> Result<Translation, Fault> {
        let view = self.view();
        if !view.translating {
            return Err(Fault { reason: FaultReason::TranslationTypeBlocked, recorded: false });
        }
        let TranslationRequest { source, pasid, privileged, .. } = *request;
        self.in_space(look, &view, Kind::DeviceTlb, (source, pasid, privileged), |space, privileged| {
            self.answer_in(space, look, request, privileged)
        })
    }

    /// The answer in the address space of the request, where it has supervisor privilege or not.
    fn answer_in(
        &self,
        space: &AddressSpace,
        look: Look,
        request: &TranslationRequest,
        privileged: bool,
    ) -> Result<Translation, Fault> {
        let TranslationRequest { pasid, iova, .. } = *request;
        if pasid.is_none() && INTERRUPT_RANGE.contains(&iova.0) {
            // Interrupt requests are never translated, and nothing but them can be sent there.
            return Ok(Translation { untranslated_only: true, ..answer_at(iova, Permissions::WRITE) });
        }

        let execute = request.execute && pasid.is_some();
        let no_write = request.no_write && self.capabilities.has(Feature::NoWrite);
        let demand = Demand::translation(privileged, execute, no_write);
        let leaf = self
            .translated_page(look, space, iova, demand)
            .map_err(|reason| Fault::new(reason, space.fault_processing_disabled))?;

        let mut permissions = leaf.rights.permissions(privileged);
        if !execute || !permissions.contains(Permissions::READ) {
            permissions -= Permissions::EXECUTE;
        }
        // Without the dirty bit there is no permission to write.
        if no_write {
            permissions -= Permissions::WRITE;
        }
        let Leaf { guest, level, .. } = without_interrupts(leaf, iova, pasid);
        Ok(Translation {
            address: guest,
            size: level.span(),
            permissions,
            privileged: privileged && pasid.is_some(),
            untranslated_only: false,
        })
    }

    /// Where the address of a translated request leads: to itself, if its requester may have a device-TLB. How
    /// its untranslated requests are treated makes no difference.
    pub(super) fn translated_space(
        &self,
        look: Look,
        view: &View,
        source: SourceId,
        pasid: Option<Pasid>,
    ) -> Result<AddressSpace, Fault> {
        if view.mode()? != TableMode::Scalable {
            return self.in_space(look, view, Kind::DeviceTlb, (source, pasid, false), |space, _| {
                Ok(AddressSpace { mapping: Mapping::PassThrough, ..*space })
            });
        }
        self.with_scalable_context(look, view, source, |context| {
            let (pasid, _) = context.select(Kind::DeviceTlb, pasid, false)?;
            Ok(AddressSpace {
                domain: DomainId(0),
                pasid: Some(pasid),
                fault_processing_disabled: context.fault_processing_disabled,
                mapping: Mapping::PassThrough,
            })
        })
    }

    /// The page that the answer is about.
    fn translated_page(
        &self,
        look: Look,
        space: &AddressSpace,
        iova: Iova,
        demand: Demand,
    ) -> Result<Leaf, FaultReason> {
        space.mapping.admits(demand)?;
        let remembered = self.remembered(look, space, iova, demand);
        let leaf = if remembered.is_some() { remembered } else { self.find(look, space, iova, demand)? };
        let Some(leaf) = leaf else {
            let guest = pass_through(space, iova, Level::PAGE.span(), &self.capabilities)?.guest;
            return Ok(Leaf { guest, level: Level::PAGE, rights: Rights::ALL });
        };
        if INTERRUPT_RANGE.contains(&leaf.output(iova).0) {
            return Err(space.interrupt_range());
        }
        Ok(leaf)
    }
}

/// An answer for the page at `iova` alone, if that leads to itself or nowhere.
const fn answer_at(iova: Iova, permissions: Permissions) -> Translation {
    Translation {
        address: GuestAddress(iova.0),
        size: Level::PAGE.span(),
        permissions,
        privileged: false,
        untranslated_only: false,
    }
}

/// What of `leaf` an answer for `iova` may promise: a page must not be used as a whole if the interrupt range is
/// part of where it leads, or of where it lies and requests there are not translated.
fn without_interrupts(leaf: Leaf, iova: Iova, pasid: Option<Pasid>) -> Leaf {
    let span = leaf.level.span();
    let has_interrupts =
        |start: u64| start < INTERRUPT_RANGE.end && INTERRUPT_RANGE.start < start.saturating_add(span);
    let untranslated = pasid.is_none() && has_interrupts(iova.0 & !(span - 1));
    if untranslated || has_interrupts(leaf.guest.0) {
        return Leaf { guest: leaf.output(iova), level: Level::PAGE, ..leaf };
    }
    leaf
}

/// Whether a device is answered that it may not do anything at the address, and nothing is recorded: it may
/// ask for the page then. It is so for what software can mend by changing the pages' entries (§7.1.3).
const fn recoverable(reason: FaultReason) -> bool {
    matches!(
        reason,
        FaultReason::AddressBeyondWidth
            | FaultReason::WriteDenied
            | FaultReason::ReadDenied
            | FaultReason::FirstStageNotPresent
            | FaultReason::ScalableSecondStageNotPresent
            | FaultReason::NotCanonical
            | FaultReason::UserDenied
            | FaultReason::ExecuteDenied
            | FaultReason::ScalableBeyondHostWidth
            | FaultReason::ScalableBeyondWidth
            | FaultReason::ScalableWriteDenied
            | FaultReason::ScalableReadDenied
    )
}

/// Whether a fault means that the requester is not to ask at all, as opposed to tables that are broken.
const fn blocks(reason: FaultReason) -> bool {
    matches!(
        reason,
        FaultReason::RootNotPresent
            | FaultReason::ContextNotPresent
            | FaultReason::TranslationTypeBlocked
            | FaultReason::TableModeInvalid
            | FaultReason::PasidInLegacyMode
            | FaultReason::ScalableRootNotPresent
            | FaultReason::ScalableContextNotPresent
            | FaultReason::DeviceTlbDisabled
            | FaultReason::PasidDisabled
            | FaultReason::PasidBeyondDirectory
            | FaultReason::PasidDirectoryNotPresent
            | FaultReason::PasidEntryNotPresent
            | FaultReason::ExecuteDisabled
            | FaultReason::SupervisorDisabled
    )
}

#[cfg(test)]
mod tests;
