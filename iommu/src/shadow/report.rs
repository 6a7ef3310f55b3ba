//! What an operation on an address space has to tell, kept until no lock is held.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{Level, debug, error, trace, warn};

use super::extent::Extent;
use crate::spec::fault::FaultReason;
use crate::{Access, Iova, MapError, Pasid, Permissions, SourceId};

/// A mapping the guest's tables ask for and the host cannot give: to be recorded as a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShadowFault {
    /// The function whose DMA to this address will be blocked.
    pub(crate) source: SourceId,
    /// The address space that it asks for; none in requests without PASID.
    pub(crate) pasid: Option<Pasid>,
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
    /// Functions that the host cannot tell apart are treated differently.
    Sameness,
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
            (Self::Sameness, _) if scalable => FaultReason::PasidEntryInvalid,
            (Self::Sameness, _) => FaultReason::ContextInvalid,
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
    MapFailed { extent: Extent, error: MapError },
    UnmapFailed { iova: Iova, length: u64, error: MapError },
    CutShort(Iova),
    Unfollowed,
    Contradiction,
    MoveFailed(MapError),
}

/// Someone who is told: a function whose DMA is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hearer {
    pub(super) source: SourceId,
    /// None for its requests without PASID.
    pub(super) pasid: Option<Pasid>,
    /// Whether its tables are those of scalable mode; faults have other names there.
    pub(super) scalable: bool,
    /// Whether the guest wants to know of its faults.
    pub(super) recorded: bool,
}

/// Faults for the guest and events for the log, from an operation on one address space or one group.
#[derive(Debug)]
pub(super) struct Report {
    faults: Vec<(Iova, Access, Lack)>,
    events: Vec<Event>,
    /// What the guest is not told of if it cannot be mapped.
    excused: Vec<Extent>,
    detailed: bool,
}

impl Default for Report {
    fn default() -> Self {
        let detailed = tracing::enabled!(Level::TRACE);
        Self { faults: Vec::new(), events: Vec::new(), excused: Vec::new(), detailed }
    }
}

impl Report {
    pub(super) fn is_empty(&self) -> bool {
        self.faults.is_empty() && self.events.is_empty()
    }

    /// That one of these cannot be mapped is no fault from here on.
    pub(super) fn excuse(&mut self, extents: Vec<Extent>) {
        self.excused = extents;
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

    /// The host refused a mapping: DMA there is blocked although the tables allow it.
    pub(super) fn map_failed(&mut self, extent: &Extent, error: MapError) {
        self.lacking(extent);
        self.event(Event::MapFailed { extent: *extent, error });
    }

    /// The host has refused a mapping before, and someone comes who has not been told.
    pub(super) fn lacking(&mut self, extent: &Extent) {
        if self.excused.iter().any(|excused| excused.range().contains(&extent.start())) {
            return;
        }
        let reads = extent.permissions.contains(Permissions::READ);
        self.fault(extent.iova, if reads { Access::Read } else { Access::Write }, Lack::Mapping);
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

    /// The functions of a group are to be treated differently, so nothing is mapped for any.
    pub(super) fn contradicted(&mut self) {
        self.fault(Iova(0), Access::Read, Lack::Sameness);
        self.event(Event::Contradiction);
    }

    /// The host has no address space for the group or does not let it in, so nothing is mapped for it.
    pub(super) fn move_failed(&mut self, error: MapError) {
        self.fault(Iova(0), Access::Read, Lack::Mapping);
        self.event(Event::MoveFailed(error));
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

    /// The faults, under the names that they have for each of those who are told.
    fn faults<'a>(&'a self, hearers: &'a [Hearer]) -> impl Iterator<Item = ShadowFault> + 'a {
        let wanted = hearers.iter().filter(|hearer| hearer.recorded);
        wanted.flat_map(|hearer| {
            self.faults.iter().map(|&(iova, access, lack)| ShadowFault {
                source: hearer.source,
                pasid: hearer.pasid,
                iova,
                access,
                reason: lack.reason(access, hearer.scalable),
            })
        })
    }

    fn log(self, sources: &Sources<'_>, log: &Log) {
        if self.events.len() == EVENT_LIMIT {
            debug!(%sources, "Only the first {EVENT_LIMIT} events of this operation follow");
        }
        for event in self.events {
            event.log(sources, log);
        }
    }
}

impl Event {
    fn log(self, sources: &Sources<'_>, log: &Log) {
        match self {
            Self::Mapped(extent) => trace!(
                %sources, iova = %extent.iova, guest = %format_args!("{:#x}", extent.guest.0),
                length = %format_args!("{:#x}", extent.length), permissions = ?extent.permissions, "map"
            ),
            Self::Unmapped { iova, length } => {
                trace!(%sources, %iova, length = %format_args!("{length:#x}"), "unmap");
            }
            Self::Emptied => trace!(%sources, "unmap everything"),
            Self::MapFailed { extent, error: error @ MapError::NotMemory(_) } => {
                debug!(%sources, iova = %extent.iova, "{error}");
            }
            Self::MapFailed { extent, error } => {
                if let Some(count) = log.refused.due() {
                    warn!(%sources, iova = %extent.iova, count, "DMA to a mapped address will fail: {error}");
                }
            }
            Self::UnmapFailed { iova, length, error } => {
                if let Some(count) = log.unmaps.due() {
                    let length = format_args!("{length:#x}");
                    error!(%sources, %iova, %length, count, "Unmap failed: {error}");
                }
            }
            Self::CutShort(iova) => {
                debug!(%sources, %iova, "The guest's tables map more than is followed");
            }
            Self::Unfollowed => {
                debug!(%sources, "All DMA will fail: the guest's tables are of a kind that is not followed");
            }
            Self::Contradiction => {
                if let Some(count) = log.contradictions.due() {
                    warn!(
                        %sources, count,
                        "All DMA of these functions fails: the host cannot tell them apart, and the guest \
                         has them in different domains; have the guest put them in one domain, as it does \
                         behind one PCIe-to-PCI bridge, or assign only one of them"
                    );
                }
            }
            Self::MoveFailed(error) => {
                if let Some(count) = log.moves.due() {
                    warn!(%sources, count, "All DMA will fail until the guest flushes again: {error}");
                }
            }
        }
    }
}

/// The functions that a line in the log is about.
struct Sources<'a>(&'a [Hearer]);

impl fmt::Display for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, hearer) in self.0.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { "," }, hearer.source)?;
            if let Some(pasid) = hearer.pasid {
                write!(f, " with PASID {:#x}", pasid.0)?;
            }
        }
        Ok(())
    }
}

/// How often there was something to say that a guest can cause as often as it likes: it is said less and less
/// often.
#[derive(Debug, Default)]
pub(super) struct Log {
    refused: Occasions,
    unmaps: Occasions,
    contradictions: Occasions,
    moves: Occasions,
}

#[derive(Debug, Default)]
struct Occasions(AtomicU64);

impl Occasions {
    /// Which occasion this is, if it is one to speak.
    fn due(&self) -> Option<u64> {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        count.is_power_of_two().then_some(count)
    }
}

/// Reports with those they are for, to be given out once no lock is held.
#[derive(Debug, Default)]
pub(super) struct Told(Vec<(Vec<Hearer>, Report)>);

impl Told {
    pub(super) fn add(&mut self, hearers: Vec<Hearer>, report: Report) {
        self.0.push((hearers, report));
    }

    /// Writes the log and gives the faults.
    pub(super) fn finish(self, log: &Log) -> Vec<ShadowFault> {
        let mut faults = Vec::new();
        for (hearers, report) in self.0 {
            let room = FAULT_LIMIT.saturating_sub(faults.len());
            faults.extend(report.faults(&hearers).take(room));
            report.log(&Sources(&hearers), log);
        }
        faults
    }
}
