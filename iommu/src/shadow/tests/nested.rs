//! First-stage tables on a host whose own unit walks them.

use super::scalable::{FIRST_STAGE, RID_PASID, SECOND_STAGE, WIDTH_48};
use super::support::world::World;
use super::*;
use crate::spec::fault::FaultReason;
use crate::{FirstStage, Forget, HostGroup, HostIommu, HostSpace, NestedSpace, Pasid, Profile, SpaceId};

const PASID_ENTRY: Invalidation = Invalidation::PasidCachePasid(DOMAIN, RID_PASID);
const TABLE: u64 = 0x7000;
const OTHER_TABLE: u64 = 0x9000;

/// What the host is asked for, of first-stage tables and of moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nest(SpaceId, FirstStage),
    Release(SpaceId),
    Forget(SpaceId, Vec<Forget>),
    Enter(SpaceId),
    Block,
    EnterPasid(Pasid, SpaceId),
    LeavePasid(Pasid),
}

/// A host that nests. Its other spaces are those of the world.
#[derive(Clone)]
pub(super) struct Nesting(Arc<Inner>);

struct Inner {
    world: Arc<dyn HostIommu>,
    asked: Mutex<Vec<Asked>>,
    refuses: Mutex<bool>,
    refuses_pasids: Mutex<bool>,
}

impl Nesting {
    pub(super) fn new() -> Self {
        let world = World::new(&RAM).iommu();
        let (asked, refuses, refuses_pasids) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { world, asked, refuses, refuses_pasids }))
    }

    fn note(&self, asked: Asked) {
        lock(&self.0.asked).push(asked);
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *lock(&self.0.asked))
    }

    pub(super) fn refuse(&self, refuses: bool) {
        *lock(&self.0.refuses) = refuses;
    }

    /// Refuses to let PASIDs into spaces.
    pub(super) fn refuse_pasids(&self, refuses: bool) {
        *lock(&self.0.refuses_pasids) = refuses;
    }

    fn refusal(&self) -> Result<(), MapError> {
        if *lock(&self.0.refuses) { Err(host_error()) } else { Ok(()) }
    }
}

impl HostIommu for Nesting {
    fn new_space(&self) -> Result<Box<dyn HostSpace>, MapError> {
        self.0.world.new_space()
    }

    fn nests(&self) -> bool {
        true
    }

    fn nest(&self, table: FirstStage) -> Result<Box<dyn NestedSpace>, MapError> {
        self.refusal()?;
        let id = SpaceId(1000 + table.table.0 as u32);
        self.note(Asked::Nest(id, table));
        Ok(Box::new(Walk { host: self.clone(), id }))
    }
}

impl HostGroup for Nesting {
    fn enter(&self, space: SpaceId) -> Result<(), MapError> {
        self.note(Asked::Enter(space));
        Ok(())
    }

    fn block(&self) {
        self.note(Asked::Block);
    }

    fn enter_pasid(&self, pasid: Pasid, space: SpaceId) -> Result<(), MapError> {
        if *lock(&self.0.refuses_pasids) {
            return Err(host_error());
        }
        self.note(Asked::EnterPasid(pasid, space));
        Ok(())
    }

    fn leave_pasid(&self, pasid: Pasid) {
        self.note(Asked::LeavePasid(pasid));
    }
}

struct Walk {
    host: Nesting,
    id: SpaceId,
}

impl NestedSpace for Walk {
    fn id(&self) -> SpaceId {
        self.id
    }

    fn forget(&self, what: &[Forget]) -> Result<(), MapError> {
        self.host.refusal()?;
        self.host.note(Asked::Forget(self.id, what.to_vec()));
        Ok(())
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        self.host.note(Asked::Release(self.id));
    }
}

pub(super) fn first_stage(table: u64) -> FirstStage {
    FirstStage {
        table: GuestAddress(table),
        levels: 4,
        supervisor: false,
        write_protect: false,
        extended_accessed: false,
    }
}

pub(super) fn id(table: u64) -> SpaceId {
    SpaceId(1000 + table as u32)
}

pub(super) fn pages_of(pasid: Pasid, iova: u64) -> Invalidation {
    Invalidation::PasidIotlbPages { domain: DOMAIN, pasid, iova: Iova(iova), address_mask: 0, hint: true }
}

pub(super) fn page(iova: u64) -> Forget {
    Forget::Pages { iova: Iova(iova), count: 1, leaves: true }
}

/// The function alone in a group of a host that nests, in scalable mode without an entry for it.
fn scene() -> (Scene, Nesting, Attachment) {
    let (scene, fixed, _) = Scene::scalable_with(Capabilities::new(Profile::Nested, 48));
    drop(fixed);
    let host = Nesting::new();
    let dma = HostDma::Movable { iommu: Arc::new(host.clone()), group: Box::new(host.clone()) };
    let ram = RAM.iter().map(|range| (GuestAddress(range.start), range.end - range.start)).collect();
    let group = scene.shadow.group(dma, ram);
    let attachment = scene.shadow.attach(Device::new(SOURCE), &group);
    host.asked();
    (scene, host, attachment)
}

/// The same behind a first-stage table.
fn behind_a_table() -> (Scene, Nesting, Attachment) {
    let (scene, host, attachment) = scene();
    scene.set_first_stage(TABLE, DOMAIN.0);
    assert_eq!(scene.announce(PASID_ENTRY), []);
    assert_eq!(host.asked(), [Asked::Nest(id(TABLE), first_stage(TABLE)), Asked::Enter(id(TABLE))]);
    assert!(attachment.audit().is_exact());
    (scene, host, attachment)
}

impl Scene {
    /// Puts the function behind a first-stage table of four levels.
    fn set_first_stage(&self, table: u64, domain: u16) {
        self.set_first_stage_word(table);
        self.set_pasid_entry(FIRST_STAGE, domain);
    }
}

#[test]
fn the_host_walks_a_first_stage_from_its_announcement_on() {
    let (scene, host, attachment) = scene();
    scene.set_first_stage(TABLE, DOMAIN.0);
    scene.announce(pages_of(RID_PASID, 0x1000));
    assert_eq!(host.asked(), [], "this has not announced the entry");
    assert!(!attachment.audit().missing.is_empty());
    scene.announce(PASID_ENTRY);
    assert_eq!(host.asked(), [Asked::Nest(id(TABLE), first_stage(TABLE)), Asked::Enter(id(TABLE))]);

    // The new one is entered before the old one is given back.
    scene.set_first_stage(OTHER_TABLE, DOMAIN.0);
    assert!(!attachment.audit().is_exact());
    scene.announce(PASID_ENTRY);
    let replaced = [
        Asked::Nest(id(OTHER_TABLE), first_stage(OTHER_TABLE)),
        Asked::Enter(id(OTHER_TABLE)),
        Asked::Release(id(TABLE)),
    ];
    assert_eq!(host.asked(), replaced);
    assert!(attachment.audit().is_exact());

    scene.clear_pasid_entry();
    assert!(!attachment.audit().excess.is_empty());
    scene.announce(PASID_ENTRY);
    assert_eq!(host.asked(), [Asked::Block, Asked::Release(id(OTHER_TABLE))]);
    assert!(attachment.audit().is_exact());
}

#[test]
fn what_the_guest_takes_back_is_forgotten_before_it_is_told() {
    let (scene, host, attachment) = behind_a_table();
    scene.announce(pages_of(RID_PASID, 0x1000));
    assert_eq!(host.asked(), [Asked::Forget(id(TABLE), vec![page(0x1000)])]);
    for whole in [
        Invalidation::PasidIotlb(DOMAIN, RID_PASID),
        Invalidation::IotlbDomain(DOMAIN),
        Invalidation::IotlbGlobal,
        Invalidation::Everything,
    ] {
        scene.announce(whole);
        assert_eq!(host.asked(), [Asked::Forget(id(TABLE), vec![Forget::Everything])], "{whole:?}");
    }
    for of_another in [
        pages_of(Pasid(RID_PASID.0 + 1), 0x1000),
        Invalidation::PasidIotlb(DomainId(DOMAIN.0 + 1), RID_PASID),
        PASID_ENTRY,
    ] {
        scene.announce(of_another);
        assert_eq!(host.asked(), [], "{of_another:?}");
    }
    assert_eq!(attachment.statistics().forgets, 5);
}

#[test]
fn what_is_announced_before_one_wait_is_one_call() {
    let (scene, host, attachment) = behind_a_table();
    let batch = [0x1000, 0x5000, 0x3000].map(|iova| pages_of(RID_PASID, iova));
    assert_eq!(scene.shadow.apply(&scene.view, &batch), []);
    assert_eq!(host.asked(), [Asked::Forget(id(TABLE), vec![page(0x1000), page(0x5000), page(0x3000)])]);
    assert_eq!(attachment.statistics().forgets, 1);
}

#[test]
fn a_host_that_does_not_forget_reaches_nothing_until_it_is_asked_again() {
    let (scene, host, _attachment) = behind_a_table();
    host.refuse(true);
    let faults = scene.announce(pages_of(RID_PASID, 0x1000));
    assert_eq!(host.asked(), [Asked::Block, Asked::Release(id(TABLE))]);
    assert_eq!(faults.len(), 1, "{faults:?}");
    scene.announce(pages_of(RID_PASID, 0x2000));
    host.refuse(false);
    host.asked();
    scene.announce(pages_of(RID_PASID, 0x2000));
    assert_eq!(host.asked(), [Asked::Nest(id(TABLE), first_stage(TABLE)), Asked::Enter(id(TABLE))]);
}

#[test]
fn second_stages_are_followed_on_such_a_host_too() {
    let (scene, host, attachment) = behind_a_table();
    let table = scene.guest.table(4);
    scene.map_pages(&table, 0x10_0000, 0x20_0000, 2);
    scene.set_pasid_entry(table.root | SECOND_STAGE | WIDTH_48, DOMAIN.0);
    scene.announce(PASID_ENTRY);
    assert_eq!(host.asked(), [Asked::Enter(SpaceId(0)), Asked::Release(id(TABLE))]);
    assert!(attachment.audit().is_exact());
    assert_eq!(attachment.statistics().maps, 2);
}

#[test]
fn a_host_that_does_not_nest_blocks_what_is_behind_a_first_stage() {
    let (scene, fixed, _) = Scene::scalable_with(Capabilities::new(Profile::Nested, 48));
    scene.set_first_stage(TABLE, DOMAIN.0);
    let faults = scene.announce(PASID_ENTRY);
    assert_eq!(faults.iter().map(|fault| fault.reason).collect::<Vec<_>>(), [FaultReason::PasidEntryInvalid]);
    fixed.assert_exact();
}
