//! A host IOMMU by the rules of VFIO's type 1: no map over a mapping, no unmap of a part of one or of
//! nothing, a limit of entries.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iommu::{Extent, GuestAddress, HostMapper, Iova, MapError, Permissions};

/// A call to the host that it has carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Map(Extent),
    Unmap { iova: u64, length: u64 },
    UnmapAll,
}

/// Looks at each call just before it is carried out, and at the mappings that it takes away.
type Observer = Box<dyn FnMut(&Call, &[Extent]) + Send>;

#[derive(Default)]
struct State {
    mappings: BTreeMap<u64, Extent>,
    calls: Vec<Call>,
    violations: Vec<String>,
    memory: Vec<Range<u64>>,
    limit: usize,
    refusals: VecDeque<Option<MapError>>,
    observer: Option<Observer>,
}

/// The host; a clone is the same host.
#[derive(Clone)]
pub struct FakeHost(Arc<Mutex<State>>);

impl fmt::Debug for FakeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeHost").finish_non_exhaustive()
    }
}

impl FakeHost {
    /// A host that can map these guest addresses.
    pub fn new(memory: &[Range<u64>]) -> Self {
        Self(Arc::new(Mutex::new(State { memory: memory.to_vec(), limit: 65_535, ..State::default() })))
    }

    pub fn mapper(&self) -> Box<dyn HostMapper> {
        Box::new(self.clone())
    }

    pub fn set_limit(&self, limit: usize) {
        self.state().limit = limit;
    }

    /// Refuses the coming calls of `map` and `unmap` one after the other, where an error stands.
    pub fn refuse_next(&self, refusals: impl IntoIterator<Item = Option<MapError>>) {
        self.state().refusals = refusals.into_iter().collect();
    }

    pub fn observe(&self, observer: impl FnMut(&Call, &[Extent]) + Send + 'static) {
        self.state().observer = Some(Box::new(observer));
    }

    pub fn stop_observing(&self) {
        self.state().observer = None;
    }

    /// The calls carried out since the last time this was asked.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    pub fn mappings(&self) -> Vec<Extent> {
        self.state().mappings.values().copied().collect()
    }

    /// Where a device's access would go now.
    pub fn reach(&self, iova: u64) -> Option<(u64, Permissions)> {
        let state = self.state();
        let (_, extent) = state.mappings.range(..=iova).next_back()?;
        let offset = iova - extent.iova.0;
        (offset < extent.length).then_some((extent.guest.0 + offset, extent.permissions))
    }

    /// An observer that panics, which is how a test fails, leaves everything whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Panics if anyone has broken the kernel's rules.
    #[track_caller]
    pub fn assert_lawful(&self) {
        let violations = self.state().violations.clone();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

impl State {
    fn violation<T>(&mut self, what: String) -> Result<T, MapError> {
        self.violations.push(what.clone());
        Err(MapError::Host(what))
    }

    fn carry_out(&mut self, call: Call, gone: &[Extent]) {
        // A second panic would hide the first.
        if let Some(observer) = self.observer.as_mut().filter(|_| !std::thread::panicking()) {
            observer(&call, gone);
        }
        self.calls.push(call);
    }

    fn refusal(&mut self) -> Result<(), MapError> {
        self.refusals.pop_front().flatten().map_or(Ok(()), Err)
    }

    fn within(&self, iova: u64, length: u64) -> Vec<Extent> {
        let before = self.mappings.range(..iova).next_back().map(|(_, extent)| *extent);
        let before = before.filter(|extent| extent.iova.0 + extent.length > iova);
        let inside = self.mappings.range(iova..iova + length).map(|(_, extent)| *extent);
        before.into_iter().chain(inside).collect()
    }
}

impl HostMapper for FakeHost {
    fn map(
        &self,
        iova: Iova,
        guest: GuestAddress,
        length: u64,
        permissions: Permissions,
    ) -> Result<(), MapError> {
        let mut state = self.state();
        if [iova.0, guest.0, length].iter().any(|value| value % 4096 != 0) || length == 0 {
            return state.violation(format!("EINVAL: map {length:#x} at {iova} to {guest:?}"));
        }
        if permissions.is_empty() {
            return state.violation(format!("EINVAL: map without permissions at {iova}"));
        }
        if !state.within(iova.0, length).is_empty() {
            return state.violation(format!("EEXIST: map {length:#x} at {iova}"));
        }
        if iova.0 < 0xFEF0_0000 && iova.0 + length > 0xFEE0_0000 {
            return state.violation(format!("EINVAL: map in the interrupt range at {iova}"));
        }
        state.refusal()?;
        let mut at = guest.0;
        while at < guest.0 + length {
            let Some(region) = state.memory.iter().find(|region| region.contains(&at)) else {
                return Err(MapError::NotMemory(guest));
            };
            at = region.end;
        }
        if state.mappings.len() >= state.limit {
            return Err(MapError::Full);
        }
        let extent = Extent { iova, guest, length, permissions };
        state.carry_out(Call::Map(extent), &[]);
        state.mappings.insert(iova.0, extent);
        Ok(())
    }

    fn unmap(&self, iova: Iova, length: u64) -> Result<(), MapError> {
        let mut state = self.state();
        let gone = state.within(iova.0, length);
        let mut next = iova.0;
        for extent in &gone {
            if extent.iova.0 != next {
                return state.violation(format!("EINVAL: unmap {length:#x} at {iova} meets {extent:?}"));
            }
            next = extent.iova.0 + extent.length;
        }
        if next != iova.0 + length || length == 0 {
            return state.violation(format!("EINVAL: unmap {length:#x} at {iova} ends inside a mapping"));
        }
        state.refusal()?;
        state.carry_out(Call::Unmap { iova: iova.0, length }, &gone);
        for extent in gone {
            state.mappings.remove(&extent.iova.0);
        }
        Ok(())
    }

    fn unmap_all(&self) {
        let mut state = self.state();
        let gone: Vec<_> = state.mappings.values().copied().collect();
        state.carry_out(Call::UnmapAll, &gone);
        state.mappings.clear();
    }
}
