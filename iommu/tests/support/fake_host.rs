//! A host of one group that never leaves its address space, by the rules of VFIO's type 1.

use std::ops::Range;

use iommu::{Extent, HostDma, MapError};

use super::world::{Act, World};

/// A call to the host that it has carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Map(Extent),
    Unmap { iova: u64, length: u64 },
    UnmapAll,
}

impl Call {
    fn of(act: &Act) -> Option<Self> {
        match *act {
            Act::Map(_, extent) => Some(Self::Map(extent)),
            Act::Unmap { iova, length, .. } => Some(Self::Unmap { iova, length }),
            Act::UnmapAll(_) => Some(Self::UnmapAll),
            _ => None,
        }
    }
}

/// The host; a clone is the same host.
#[derive(Clone, Debug)]
pub struct FakeHost {
    world: World,
}

/// The group's number.
const GROUP: usize = 0;

impl FakeHost {
    /// A host that can map these guest addresses, and its only group.
    pub fn new(memory: &[Range<u64>]) -> (Self, HostDma) {
        let world = World::new(memory);
        let (_, dma) = world.fixed();
        (Self { world }, dma)
    }

    /// Lets it map these guest addresses, too.
    pub fn show(&self, memory: Range<u64>) {
        self.world.show(memory);
    }

    /// Lets it map them no more; what is mapped stays so.
    pub fn hide(&self, memory: &Range<u64>) {
        self.world.hide(memory);
    }

    pub fn set_limit(&self, limit: usize) {
        self.world.set_limit(limit);
    }

    /// Refuses the coming calls of `map` and `unmap` one after the other, where an error stands.
    pub fn refuse_next(&self, refusals: impl IntoIterator<Item = Option<MapError>>) {
        self.world.refuse_next(refusals);
    }

    /// Calls back when a call has been carried out, with the mappings that it took away.
    pub fn observe(&self, mut observer: impl FnMut(&Call, &[Extent]) + Send + 'static) {
        self.world.observe(move |act, gone, _| {
            if let Some(call) = Call::of(act) {
                observer(&call, gone);
            }
        });
    }

    pub fn stop_observing(&self) {
        self.world.stop_observing();
    }

    /// The calls carried out since the last time this was asked.
    pub fn calls(&self) -> Vec<Call> {
        self.world.acts().iter().filter_map(Call::of).collect()
    }

    pub fn mappings(&self) -> Vec<Extent> {
        self.world.mappings(GROUP)
    }

    /// Panics if anyone has broken the kernel's rules.
    #[track_caller]
    pub fn assert_lawful(&self) {
        self.world.assert_lawful();
    }
}
