//! What an operation on an address space has to tell, kept until no lock is held.

use tracing::{Level, debug, error, trace, warn};

use super::extent::Extent;
use super::regime::Regime;
use crate::spec::fault::FaultReason;
use crate::{Access, Iova, MapError, Permissions, SourceId};

/// A mapping the guest's tables ask for and the host cannot give: to be recorded as a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShadowFault {
    /// The function whose DMA to this address will be blocked.
    pub(crate) source: SourceId,
    /// The first address concerned.
    pub(crate) iova: Iova,
    /// The kind of access that will be missed first.
    pub(crate) access: Access,
    pub(crate) reason: FaultReason,
}

/// Why a device will not reach what the tables say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    /// The host refuses to map it.
    Mapping,
    /// It is more than is followed.
    Limit,
    /// Such tables are not followed.
    Following,
}

impl Lack {
    /// The fault that a request of this kind would meet if the tables said what the host can do.
    const fn reason(self, access: Access, scalable: bool) -> FaultReason {
        match (self, access) {
            (Self::Mapping, Access::Read) if scalable => FaultReason::ScalableReadDenied,
            (Self::Mapping, Access::Read) => FaultReason::ReadDenied,
            (Self::Mapping, _) if scalable => FaultReason::ScalableWriteDenied,
            (Self::Mapping, _) => FaultReason::WriteDenied,
            (Self::Limit, _) if scalable => FaultReason::ScalableSecondStageUnreadable,
            (Self::Limit, _) => FaultReason::SecondStageUnreadable,
            (Self::Following, _) => FaultReason::PasidEntryInvalid,
        }
    }
}

/// The most faults of one operation: a unit has no more records than this (CAP.NFR).
const FAULT_LIMIT: usize = 256;

/// The most events of one operation that are logged one by one.
const EVENT_LIMIT: usize = 4096;

/// Something worth a line in the log.
#[derive(Debug)]
enum Event {
    Mapped(Extent),
    Unmapped { iova: Iova, length: u64 },
    Emptied,
    MapFailed { extent: Extent, error: MapError, count: u64 },
    UnmapFailed { iova: Iova, length: u64, error: MapError },
    CutShort(Iova),
    Unfollowed,
}

/// Faults for the guest and events for the log.
#[derive(Debug)]
pub(super) struct Report {
    source: SourceId,
    faults: Vec<(Iova, Access, Lack)>,
    events: Vec<Event>,
    detailed: bool,
}

impl Report {
    /// An empty report on `source`.
    pub(super) fn new(source: SourceId) -> Self {
        let detailed = tracing::enabled!(Level::TRACE);
        Self { source, faults: Vec::new(), events: Vec::new(), detailed }
    }

    pub(super) fn mapped(&mut self, extent: &Extent) {
        self.detail(|| Event::Mapped(*extent));
    }

    pub(super) fn unmapped(&mut self, iova: Iova, length: u64) {
        self.detail(|| Event::Unmapped { iova, length });
    }

    pub(super) fn emptied(&mut self) {
        self.detail(|| Event::Emptied);
    }

    /// The host refused a mapping, for the `count`th time: DMA there is blocked although the tables allow it.
    pub(super) fn map_failed(&mut self, extent: &Extent, error: MapError, count: u64) {
        if extent.permissions.contains(Permissions::READ) {
            self.fault(extent.iova, Access::Read, Lack::Mapping);
        } else {
            self.fault(extent.iova, Access::Write, Lack::Mapping);
        }
        // A guest can make mappings fail as often as it likes: say it less and less often.
        if count.is_power_of_two() || self.detailed {
            self.event(Event::MapFailed { extent: *extent, error, count });
        }
    }

    pub(super) fn unmap_failed(&mut self, iova: Iova, length: u64, error: MapError) {
        self.event(Event::UnmapFailed { iova, length, error });
    }

    /// The tables map more than is followed, from `iova` on.
    pub(super) fn cut_short(&mut self, iova: Iova) {
        self.fault(iova, Access::Read, Lack::Limit);
        self.event(Event::CutShort(iova));
    }

    /// The tables are of a kind that is not followed, so nothing is mapped.
    pub(super) fn unfollowed(&mut self) {
        self.fault(Iova(0), Access::Read, Lack::Following);
        self.event(Event::Unfollowed);
    }

    fn fault(&mut self, iova: Iova, access: Access, lack: Lack) {
        if self.faults.len() < FAULT_LIMIT {
            self.faults.push((iova, access, lack));
        }
    }

    fn detail(&mut self, event: impl FnOnce() -> Event) {
        if self.detailed {
            self.event(event());
        }
    }

    fn event(&mut self, event: Event) {
        if self.events.len() < EVENT_LIMIT {
            self.events.push(event);
        }
    }

    /// Writes the log and gives the faults, under the names that `regime` has for them, if the guest wants to
    /// know of any. To be called without the address space's lock.
    pub(super) fn finish(self, regime: &Regime) -> Vec<ShadowFault> {
        let source = self.source;
        if self.events.len() == EVENT_LIMIT {
            debug!(%source, "Only the first {EVENT_LIMIT} events of this operation follow");
        }
        for event in self.events {
            match event {
                Event::Mapped(extent) => trace!(
                    %source, iova = %extent.iova, guest = %format_args!("{:#x}", extent.guest.0),
                    length = %format_args!("{:#x}", extent.length), permissions = ?extent.permissions, "map"
                ),
                Event::Unmapped { iova, length } => {
                    trace!(%source, %iova, length = %format_args!("{length:#x}"), "unmap");
                }
                Event::Emptied => trace!(%source, "unmap everything"),
                Event::MapFailed { extent, error: error @ MapError::NotMemory(_), count } => {
                    debug!(%source, iova = %extent.iova, count, "{error}");
                }
                Event::MapFailed { extent, error, count } => {
                    warn!(%source, iova = %extent.iova, count, "DMA to a mapped address will fail: {error}");
                }
                Event::UnmapFailed { iova, length, error } => {
                    error!(%source, %iova, length = %format_args!("{length:#x}"), "Unmap failed: {error}");
                }
                Event::CutShort(iova) => {
                    debug!(%source, %iova, "The guest's tables map more than is followed");
                }
                Event::Unfollowed => {
                    debug!(%source, "All DMA will fail: the guest's tables are of a kind that is not followed");
                }
            }
        }
        if !regime.recorded {
            return Vec::new();
        }
        let fault = |(iova, access, lack): (Iova, Access, Lack)| ShadowFault {
            source,
            iova,
            access,
            reason: lack.reason(access, regime.scalable),
        };
        self.faults.into_iter().map(fault).collect()
    }
}
