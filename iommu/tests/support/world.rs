//! A host's IOMMU by the rules of the kernel, type 1 and iommufd: no map over a mapping, no unmap of a part of
//! one or of nothing, a limit of entries; groups that stay in their address space, and such as move.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iommu::{
    Extent, GuestAddress, HostDma, HostGroup, HostIommu, HostMapper, HostSpace, Iova, MapError, Permissions,
    SpaceId,
};

/// A call to the host that is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    NewSpace(SpaceId),
    DropSpace(SpaceId),
    Map(SpaceId, Extent),
    Unmap { space: SpaceId, iova: u64, length: u64 },
    UnmapAll(SpaceId),
    Enter { group: usize, space: SpaceId },
    Block { group: usize },
}

/// Looks at each call when it has been carried out, at the mappings that it took away, and at what groups reach
/// now.
pub type Observer = Box<dyn FnMut(&Act, &[Extent], &Reach) + Send>;

/// The spaces, and where groups are.
#[derive(Clone, Default)]
pub struct Reach {
    spaces: BTreeMap<SpaceId, BTreeMap<u64, Extent>>,
    groups: Vec<Option<SpaceId>>,
}

impl Reach {
    /// Where an access of the group would go now.
    pub fn of(&self, group: usize, iova: u64) -> Option<(u64, Permissions)> {
        let space = self.groups[group]?;
        let (_, extent) = self.spaces[&space].range(..=iova).next_back()?;
        let offset = iova - extent.iova.0;
        (offset < extent.length).then_some((extent.guest.0 + offset, extent.permissions))
    }

    /// What the group reaches now.
    pub fn mappings(&self, group: usize) -> Vec<Extent> {
        let Some(space) = self.groups[group] else { return Vec::new() };
        self.spaces[&space].values().copied().collect()
    }

    /// The space that a group is in.
    pub fn place(&self, group: usize) -> Option<SpaceId> {
        self.groups[group]
    }

    fn within(&self, space: SpaceId, iova: u64, length: u64) -> Vec<Extent> {
        let mappings = &self.spaces[&space];
        let before = mappings.range(..iova).next_back().map(|(_, extent)| *extent);
        let before = before.filter(|extent| extent.iova.0 + extent.length > iova);
        let inside = mappings.range(iova..iova + length).map(|(_, extent)| *extent);
        before.into_iter().chain(inside).collect()
    }
}

#[derive(Default)]
struct State {
    reach: Reach,
    next: u32,
    acts: Vec<Act>,
    violations: Vec<String>,
    memory: Vec<Range<u64>>,
    limit: usize,
    refusals: VecDeque<Option<MapError>>,
    observer: Option<Observer>,
}

/// The host; a clone is the same host.
#[derive(Clone)]
pub struct World(Arc<Mutex<State>>);

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}

impl World {
    /// A host that can map these guest addresses.
    pub fn new(memory: &[Range<u64>]) -> Self {
        Self(Arc::new(Mutex::new(State { memory: memory.to_vec(), limit: 65_535, ..State::default() })))
    }

    /// A group by the rules of type 1, in a space that it never leaves; its number.
    pub fn fixed(&self) -> (usize, HostDma) {
        let space = self.state().new_space();
        let group = self.add_group(Some(space));
        (group, HostDma::Fixed(Box::new(Space { world: self.clone(), id: space })))
    }

    /// A group by those of iommufd, blocked to begin with; its number.
    pub fn movable(&self, iommu: &Arc<dyn HostIommu>) -> (usize, HostDma) {
        let number = self.add_group(None);
        let group = Box::new(Group { world: self.clone(), number });
        (number, HostDma::Movable { iommu: iommu.clone(), group })
    }

    /// The source of address spaces.
    pub fn iommu(&self) -> Arc<dyn HostIommu> {
        Arc::new(self.clone())
    }

    /// Lets it map these guest addresses, too.
    pub fn show(&self, memory: Range<u64>) {
        self.state().memory.push(memory);
    }

    /// Lets it map them no more; what is mapped stays so.
    pub fn hide(&self, memory: &Range<u64>) {
        self.state().memory.retain(|shown| shown != memory);
    }

    fn add_group(&self, space: Option<SpaceId>) -> usize {
        let mut state = self.state();
        state.reach.groups.push(space);
        state.reach.groups.len() - 1
    }

    /// How many mappings each space may have.
    pub fn set_limit(&self, limit: usize) {
        self.state().limit = limit;
    }

    /// Refuses the coming calls that may fail one after the other, where an error stands.
    pub fn refuse_next(&self, refusals: impl IntoIterator<Item = Option<MapError>>) {
        self.state().refusals = refusals.into_iter().collect();
    }

    pub fn observe(&self, observer: impl FnMut(&Act, &[Extent], &Reach) + Send + 'static) {
        self.state().observer = Some(Box::new(observer));
    }

    pub fn stop_observing(&self) {
        self.state().observer = None;
    }

    /// The calls carried out since the last time this was asked.
    pub fn acts(&self) -> Vec<Act> {
        std::mem::take(&mut self.state().acts)
    }

    /// What groups reach now.
    pub fn reach(&self) -> Reach {
        self.state().reach.clone()
    }

    /// What the group reaches now.
    pub fn mappings(&self, group: usize) -> Vec<Extent> {
        self.state().reach.mappings(group)
    }

    /// How many spaces there are.
    pub fn spaces(&self) -> usize {
        self.state().reach.spaces.len()
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

    fn done(&mut self, act: Act, gone: &[Extent]) {
        // A second panic would hide the first.
        if let Some(observer) = self.observer.as_mut().filter(|_| !std::thread::panicking()) {
            observer(&act, gone, &self.reach);
        }
        self.acts.push(act);
    }

    fn refusal(&mut self) -> Result<(), MapError> {
        self.refusals.pop_front().flatten().map_or(Ok(()), Err)
    }

    fn new_space(&mut self) -> SpaceId {
        let id = SpaceId(self.next);
        self.next += 1;
        self.reach.spaces.insert(id, BTreeMap::new());
        id
    }

    fn mappings(&mut self, space: SpaceId) -> &mut BTreeMap<u64, Extent> {
        self.reach.spaces.get_mut(&space).expect("the space is there")
    }

    fn unmap(&mut self, space: SpaceId, gone: &[Extent]) {
        for extent in gone {
            self.mappings(space).remove(&extent.iova.0);
        }
    }
}

struct Space {
    world: World,
    id: SpaceId,
}

impl HostMapper for Space {
    fn map(
        &self,
        iova: Iova,
        guest: GuestAddress,
        length: u64,
        permissions: Permissions,
    ) -> Result<(), MapError> {
        let mut state = self.world.state();
        if [iova.0, guest.0, length].iter().any(|value| value % 4096 != 0) || length == 0 {
            return state.violation(format!("EINVAL: map {length:#x} at {iova} to {guest:?}"));
        }
        if permissions.is_empty() {
            return state.violation(format!("EINVAL: map without permissions at {iova}"));
        }
        if !state.reach.within(self.id, iova.0, length).is_empty() {
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
        if state.mappings(self.id).len() >= state.limit {
            return Err(MapError::Full);
        }
        let extent = Extent { iova, guest, length, permissions };
        state.mappings(self.id).insert(iova.0, extent);
        state.done(Act::Map(self.id, extent), &[]);
        Ok(())
    }

    fn unmap(&self, iova: Iova, length: u64) -> Result<(), MapError> {
        let mut state = self.world.state();
        let gone = state.reach.within(self.id, iova.0, length);
        let mut next = iova.0;
        for extent in &gone {
            if extent.iova.0 != next {
                return state
                    .violation(format!("EINVAL, ENOENT: unmap {length:#x} at {iova} meets {extent:?}"));
            }
            next = extent.iova.0 + extent.length;
        }
        if next != iova.0 + length || length == 0 {
            return state
                .violation(format!("EINVAL, ENOENT: unmap {length:#x} at {iova} ends inside a mapping"));
        }
        if let Err(refusal) = state.refusal() {
            // Some of it has been done by then.
            let some = &gone[..gone.len() / 2];
            state.unmap(self.id, some);
            return Err(refusal);
        }
        state.unmap(self.id, &gone);
        state.done(Act::Unmap { space: self.id, iova: iova.0, length }, &gone);
        Ok(())
    }

    fn unmap_all(&self) {
        let mut state = self.world.state();
        let gone: Vec<_> = std::mem::take(state.mappings(self.id)).into_values().collect();
        state.done(Act::UnmapAll(self.id), &gone);
    }
}

impl HostSpace for Space {
    fn id(&self) -> SpaceId {
        self.id
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let mut state = self.world.state();
        if state.reach.groups.contains(&Some(self.id)) {
            // A space of type 1 goes with its container, and takes the mappings along.
            for place in state.reach.groups.iter_mut().filter(|place| **place == Some(self.id)) {
                *place = None;
            }
            if !state.mappings(self.id).is_empty() {
                state
                    .violations
                    .push(format!("EBUSY: {:?} is dropped with a group that reaches memory", self.id));
            }
        }
        state.reach.spaces.remove(&self.id);
        state.done(Act::DropSpace(self.id), &[]);
    }
}

impl HostIommu for World {
    fn new_space(&self) -> Result<Box<dyn HostSpace>, MapError> {
        let mut state = self.state();
        state.refusal()?;
        let id = state.new_space();
        state.done(Act::NewSpace(id), &[]);
        Ok(Box::new(Space { world: self.clone(), id }))
    }
}

struct Group {
    world: World,
    number: usize,
}

impl HostGroup for Group {
    fn enter(&self, space: SpaceId) -> Result<(), MapError> {
        let mut state = self.world.state();
        if !state.reach.spaces.contains_key(&space) {
            return state.violation(format!("ENOENT: group {} enters {space:?}", self.number));
        }
        state.refusal()?;
        state.reach.groups[self.number] = Some(space);
        state.done(Act::Enter { group: self.number, space }, &[]);
        Ok(())
    }

    fn block(&self) {
        let mut state = self.world.state();
        state.reach.groups[self.number] = None;
        state.done(Act::Block { group: self.number }, &[]);
    }
}
