//! Requests with PASID, on a host that nests.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::nested::{Asked, Nesting, first_stage, id, page, pages_of};
use super::scalable::{FIRST_STAGE, PASS_THROUGH, SECOND_STAGE, WIDTH_48};
use super::*;
use crate::shadow::pasids::TABLE_LIMIT;
use crate::shadow::regime::PASID_LIMIT;
use crate::spec::fault::FaultReason;
use crate::{Feature, Forget, Pasid, Profile, SpaceId};

const FIRST: Pasid = Pasid(1);
const FAR: Pasid = Pasid(130);
const TABLE: u64 = 0x7000;
const OTHER_TABLE: u64 = 0x9000;
/// Scalable context entries: PASIDs are enabled, the directory has 2^5 entries for 2^11 PASIDs.
const PASIDS_ENABLED: u64 = 1 << 3;
const DIRECTORY_OF_32: u64 = 1 << 9;

/// A function that sends requests with PASIDs of 20 bits, alone in its group, and nothing in its PASID table.
struct Stage {
    scene: Scene,
    host: Nesting,
    device: Arc<Device>,
    attachment: Attachment,
    directory: u64,
    tables: BTreeMap<u32, u64>,
    context: u64,
}

impl Stage {
    fn new() -> Self {
        let capabilities = Capabilities::builder(Profile::Nested, 48).with(Feature::Pasid).build().unwrap();
        let mut scene = Scene::with(capabilities);
        let (context_table, directory) = (scene.guest.page(), scene.guest.page());
        let tables: BTreeMap<_, _> = [0, 2].into_iter().map(|index| (index, scene.guest.page())).collect();
        for (index, table) in &tables {
            scene.guest.write(directory + u64::from(*index) * 8, table | 1);
        }
        scene.guest.write(scene.guest.root, context_table | 1);
        let context = context_table + u64::from(SOURCE.devfn()) * 32;
        scene.guest.write(context, directory | PASIDS_ENABLED | DIRECTORY_OF_32 | 1);
        scene.enable_scalable();
        let host = Nesting::new();
        let dma = HostDma::Movable { iommu: Arc::new(host.clone()), group: Box::new(host.clone()) };
        let ram = RAM.iter().map(|range| (GuestAddress(range.start), range.end - range.start)).collect();
        let device = Device::new(SOURCE);
        device.set_pasid_bits(20);
        let attachment = scene.shadow.attach(device.clone(), &scene.shadow.group(dma, ram));
        host.asked();
        Self { scene, host, device, attachment, directory, tables, context }
    }

    /// The same with one PASID behind a first-stage table.
    fn behind_a_table(pasid: Pasid) -> Self {
        let stage = Self::new();
        stage.set(pasid, TABLE);
        assert_eq!(stage.announce_entry(pasid), []);
        let entered = [Asked::Nest(id(TABLE), first_stage(TABLE)), Asked::EnterPasid(pasid, id(TABLE))];
        assert_eq!(stage.host.asked(), entered);
        assert!(stage.attachment.audit().is_exact());
        stage
    }

    fn entry(&self, pasid: Pasid) -> u64 {
        self.tables[&(pasid.0 >> 6)] + u64::from(pasid.0 & 63) * 64
    }

    fn write(&self, pasid: Pasid, low: u64, first_stage: u64) {
        let entry = self.entry(pasid);
        self.scene.guest.write(entry + 8, DOMAIN.0.into());
        self.scene.guest.write(entry + 16, first_stage);
        self.scene.guest.write(entry, low | 1);
    }

    /// Points an entry to a first-stage table of four levels.
    fn set(&self, pasid: Pasid, table: u64) {
        self.write(pasid, FIRST_STAGE, table);
    }

    fn clear(&self, pasid: Pasid) {
        self.scene.guest.write(self.entry(pasid), 0);
    }

    fn announce_entry(&self, pasid: Pasid) -> Vec<ShadowFault> {
        self.scene.announce(Invalidation::PasidCachePasid(DOMAIN, pasid))
    }

    fn asked(&self) -> Vec<Asked> {
        self.host.asked()
    }
}

#[test]
fn each_pasid_enters_the_table_of_its_own_entry_and_leaves_it() {
    let stage = Stage::behind_a_table(FIRST);
    stage.set(FAR, OTHER_TABLE);
    stage.scene.announce(pages_of(FAR, 0x1000));
    assert_eq!(stage.asked(), [], "this has not announced the entry");
    assert!(!stage.attachment.audit().missing.is_empty());
    stage.announce_entry(FAR);
    let entered =
        [Asked::Nest(id(OTHER_TABLE), first_stage(OTHER_TABLE)), Asked::EnterPasid(FAR, id(OTHER_TABLE))];
    assert_eq!(stage.asked(), entered);
    assert!(stage.attachment.audit().is_exact());

    stage.clear(FIRST);
    assert!(!stage.attachment.audit().excess.is_empty());
    stage.announce_entry(FIRST);
    assert_eq!(stage.asked(), [Asked::LeavePasid(FIRST), Asked::Release(id(TABLE))]);
    assert!(stage.attachment.audit().is_exact());
    assert_eq!(stage.attachment.statistics().moves, 2);
}

#[test]
fn an_entry_that_is_replaced_is_one_step_on_the_host() {
    let stage = Stage::behind_a_table(FIRST);
    stage.set(FIRST, OTHER_TABLE);
    stage.announce_entry(FIRST);
    let replaced = [
        Asked::Nest(id(OTHER_TABLE), first_stage(OTHER_TABLE)),
        Asked::EnterPasid(FIRST, id(OTHER_TABLE)),
        Asked::Release(id(TABLE)),
    ];
    assert_eq!(stage.asked(), replaced);
    stage.announce_entry(FIRST);
    stage.scene.announce(Invalidation::PasidCacheGlobal);
    assert_eq!(stage.asked(), [], "it is where it belongs");
}

#[test]
fn what_names_more_than_one_pasid_finds_all_that_are_there() {
    for whole in [
        Invalidation::Everything,
        Invalidation::ContextGlobal,
        Invalidation::ContextDomain(DomainId(0)),
        Invalidation::ContextDevice { source: SOURCE, mask: 0 },
        Invalidation::PasidCacheGlobal,
        Invalidation::PasidCacheDomain(DOMAIN),
    ] {
        let stage = Stage::new();
        stage.set(FIRST, TABLE);
        stage.set(FAR, TABLE);
        stage.scene.announce(Invalidation::ContextDevice { source: OTHER, mask: 0 });
        assert_eq!(stage.asked(), []);
        stage.scene.announce(whole);
        let entered = [FIRST, FAR].map(|pasid| Asked::EnterPasid(pasid, id(TABLE)));
        let asked: Vec<_> =
            stage.asked().into_iter().filter(|asked| matches!(asked, Asked::EnterPasid(..))).collect();
        assert_eq!(asked, entered, "{whole:?}");
        stage.scene.guest.write(stage.directory, 0);
        stage.scene.announce(whole);
        assert_eq!(stage.asked()[0], Asked::LeavePasid(FIRST), "{whole:?}");
        assert!(stage.attachment.audit().is_exact());
    }
}

#[test]
fn what_the_guest_takes_back_is_forgotten_for_its_pasid() {
    let stage = Stage::behind_a_table(FIRST);
    stage.scene.announce(pages_of(FIRST, 0x1000));
    assert_eq!(stage.asked(), [Asked::Forget(id(TABLE), vec![page(0x1000)])]);
    stage.scene.announce(Invalidation::PasidIotlb(DOMAIN, FIRST));
    assert_eq!(stage.asked(), [Asked::Forget(id(TABLE), vec![Forget::Everything])]);
    stage.scene.announce(pages_of(FAR, 0x1000));
    stage.scene.announce(Invalidation::PasidIotlb(DOMAIN, Pasid(0)));
    assert_eq!(stage.asked(), []);
}

#[test]
fn a_host_that_does_not_forget_loses_the_pasid_until_it_is_asked_again() {
    let stage = Stage::behind_a_table(FIRST);
    stage.host.refuse(true);
    let faults = stage.scene.announce(pages_of(FIRST, 0x1000));
    assert_eq!(stage.asked(), [Asked::LeavePasid(FIRST), Asked::Release(id(TABLE))]);
    assert_eq!(
        faults.iter().map(|fault| (fault.source, fault.pasid)).collect::<Vec<_>>(),
        [(SOURCE, Some(FIRST))]
    );
    stage.host.refuse(false);
    stage.scene.announce(pages_of(FAR, 0x1000));
    let again = [Asked::Nest(id(TABLE), first_stage(TABLE)), Asked::EnterPasid(FIRST, id(TABLE))];
    assert_eq!(stage.asked(), again, "the domain is the same");
}

#[test]
fn a_pasid_that_is_not_let_in_reaches_nothing_and_the_guest_is_told_once() {
    let stage = Stage::behind_a_table(FIRST);
    stage.host.refuse_pasids(true);
    stage.set(FIRST, OTHER_TABLE);
    let fault = ShadowFault {
        source: SOURCE,
        pasid: Some(FIRST),
        iova: Iova(0),
        access: crate::Access::Read,
        reason: FaultReason::ScalableReadDenied,
    };
    assert_eq!(stage.announce_entry(FIRST), [fault]);
    let left = [
        Asked::Nest(id(OTHER_TABLE), first_stage(OTHER_TABLE)),
        Asked::Release(id(OTHER_TABLE)),
        Asked::LeavePasid(FIRST),
        Asked::Release(id(TABLE)),
    ];
    assert_eq!(stage.asked(), left);
    assert_eq!(stage.announce_entry(FIRST), []);
    assert!(!stage.attachment.audit().refused.is_empty());
    stage.asked();
    stage.host.refuse_pasids(false);
    assert_eq!(stage.announce_entry(FIRST), []);
    assert_eq!(stage.asked().last(), Some(&Asked::EnterPasid(FIRST, id(OTHER_TABLE))));
    assert_eq!(stage.attachment.statistics().refused_moves, 2);
}

#[test]
fn second_stages_and_pass_through_are_spaces_for_pasids_too() {
    let stage = Stage::new();
    let table = stage.scene.guest.table(4);
    stage.scene.map_pages(&table, 0x10_0000, 0x20_0000, 2);
    stage.write(FIRST, table.root | SECOND_STAGE | WIDTH_48, 0);
    stage.write(FAR, PASS_THROUGH, 0);
    stage.announce_entry(FIRST);
    stage.announce_entry(FAR);
    assert_eq!(stage.asked(), [Asked::EnterPasid(FIRST, SpaceId(0))], "nobody drives it");
    stage.device.set_bus_master(true);
    stage.attachment.refresh();
    assert_eq!(stage.asked(), [Asked::EnterPasid(FAR, SpaceId(1))]);
    assert!(stage.attachment.audit().is_exact());
    // A change of the table is followed where a PASID alone is behind it.
    stage.scene.unmap_pages(&table, 0x10_0000, 2);
    assert!(!stage.attachment.audit().is_exact());
    stage.scene.announce_pages(0x10_0000, 2);
    assert!(stage.attachment.audit().is_exact());
}

#[test]
fn pasids_are_followed_while_the_function_may_send_them() {
    let stage = Stage::behind_a_table(FIRST);
    stage.device.set_pasid_bits(0);
    stage.attachment.refresh();
    assert_eq!(stage.asked(), [Asked::LeavePasid(FIRST), Asked::Release(id(TABLE))]);
    stage.announce_entry(FIRST);
    assert_eq!(stage.asked(), []);
    stage.device.set_pasid_bits(7);
    stage.set(FAR, TABLE);
    stage.attachment.refresh();
    stage.announce_entry(FAR);
    let first_alone = [Asked::Nest(id(TABLE), first_stage(TABLE)), Asked::EnterPasid(FIRST, id(TABLE))];
    assert_eq!(stage.asked(), first_alone, "130 takes 8 bits");

    // The guest's context entry has a say, too.
    let low = stage.scene.guest.read(stage.context);
    stage.scene.guest.write(stage.context, low & !PASIDS_ENABLED);
    stage.scene.announce(Invalidation::ContextDevice { source: SOURCE, mask: 0 });
    assert_eq!(stage.asked()[0], Asked::LeavePasid(FIRST));
}

#[test]
fn no_pasid_outlives_its_group() {
    let stage = Stage::behind_a_table(FIRST);
    let Stage { host, attachment, scene: _scene, .. } = stage;
    drop(attachment);
    let asked = host.asked();
    assert!(
        asked.contains(&Asked::LeavePasid(FIRST)) && asked.contains(&Asked::Release(id(TABLE))),
        "{asked:?}"
    );
}

#[test]
fn requests_without_pasid_are_those_with_pasid_0() {
    let stage = Stage::new();
    stage.set(Pasid(0), TABLE);
    stage.announce_entry(Pasid(0));
    assert_eq!(stage.asked(), [Asked::Nest(id(TABLE), first_stage(TABLE)), Asked::Enter(id(TABLE))]);

    // Where the guest wants the two apart, the host cannot.
    stage.set(FIRST, OTHER_TABLE);
    stage.scene.guest.write(stage.context + 8, FIRST.0.into());
    let faults = stage.scene.announce(Invalidation::ContextDevice { source: SOURCE, mask: 0 });
    assert_eq!(stage.asked()[0], Asked::Block);
    assert_eq!(faults.iter().map(|fault| fault.reason).collect::<Vec<_>>(), [FaultReason::PasidEntryInvalid]);
}

#[test]
fn two_functions_in_a_group_have_no_pasids() {
    let stage = Stage::behind_a_table(FIRST);
    let second = stage.scene.shadow.attach(Device::new(OTHER), stage.attachment.group());
    assert_eq!(stage.asked(), [Asked::LeavePasid(FIRST), Asked::Release(id(TABLE))]);
    drop(second);
    assert_eq!(stage.asked().last(), Some(&Asked::EnterPasid(FIRST, id(TABLE))));
}

#[test]
fn more_pasids_than_are_followed_reach_nothing() {
    let mut stage = Stage::new();
    // Every directory entry leads to one full table: 2048 PASIDs.
    for index in 0..32 {
        let table = stage.tables[&0];
        stage.scene.guest.write(stage.directory + index * 8, table | 1);
        stage.tables.insert(index as u32, table);
    }
    for pasid in 0..64 {
        stage.set(Pasid(pasid), TABLE);
    }
    let faults = stage.scene.announce(Invalidation::PasidCacheGlobal);
    let beyond = Pasid(PASID_LIMIT as u32);
    assert_eq!(faults.iter().map(|fault| fault.pasid).collect::<Vec<_>>(), [Some(beyond)]);
    let entered = stage.asked().iter().filter(|asked| matches!(asked, Asked::EnterPasid(..))).count();
    assert_eq!(entered, PASID_LIMIT - 1, "PASID 0 is not one of them");
    assert_eq!(stage.scene.announce(Invalidation::PasidCacheGlobal), [], "it has been told");
    stage.announce_entry(beyond);
    let faults = stage.announce_entry(Pasid(beyond.0 + 1));
    assert_eq!(faults.iter().map(|fault| fault.pasid).collect::<Vec<_>>(), [Some(Pasid(beyond.0 + 1))]);
}

#[test]
fn more_second_stages_than_are_followed_reach_nothing() {
    let stage = Stage::new();
    let pasids: Vec<_> = (1..=TABLE_LIMIT as u32 + 1).map(Pasid).collect();
    let (beyond, within) = pasids.split_last().unwrap();
    let mut tables = Vec::new();
    for pasid in &pasids {
        let table = stage.scene.guest.table(4);
        stage.scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
        stage.write(*pasid, table.root | SECOND_STAGE | WIDTH_48, 0);
        tables.push(table);
    }
    let faults = stage.scene.announce(Invalidation::PasidCacheGlobal);
    assert_eq!(faults.iter().map(|fault| fault.pasid).collect::<Vec<_>>(), [Some(*beyond)]);
    let entered = |stage: &Stage| -> Vec<_> {
        let asked = stage.asked();
        asked
            .iter()
            .filter_map(|it| if let Asked::EnterPasid(who, _) = it { Some(*who) } else { None })
            .collect()
    };
    assert_eq!(entered(&stage), within);
    let audit = stage.attachment.audit();
    assert_eq!(
        audit.refused.iter().map(|extent| extent.guest.0).collect::<Vec<_>>(),
        [tables.last().unwrap().root]
    );

    // Who shares a table with another takes no room, and neither does one that goes from table to table.
    stage.write(FAR, tables[0].root | SECOND_STAGE | WIDTH_48, 0);
    stage.announce_entry(FAR);
    stage.write(within[1], tables.last().unwrap().root | SECOND_STAGE | WIDTH_48, 0);
    stage.announce_entry(within[1]);
    assert_eq!(entered(&stage), [FAR, within[1], *beyond]);
    assert!(stage.attachment.audit().is_exact());
}

#[test]
fn a_host_that_refuses_every_pasid_has_few_tables_read() {
    let stage = Stage::new();
    stage.host.refuse_pasids(true);
    for pasid in 1..=3 * TABLE_LIMIT as u32 {
        stage.write(Pasid(pasid), stage.scene.guest.table(4).root | SECOND_STAGE | WIDTH_48, 0);
    }
    for _ in 0..2 {
        stage.scene.announce(Invalidation::PasidCacheGlobal);
    }
    stage.asked();
    stage.host.refuse_pasids(false);
    stage.scene.announce(Invalidation::PasidCacheGlobal);
    let spaces: Vec<_> = stage
        .asked()
        .iter()
        .filter_map(|it| if let Asked::EnterPasid(_, space) = it { Some(*space) } else { None })
        .collect();
    assert_eq!(spaces.len(), TABLE_LIMIT);
    // The host counts the spaces that it is asked for.
    assert_eq!(spaces[0], SpaceId(2 * TABLE_LIMIT as u32), "each time a few were tried");
}

#[test]
fn a_difference_of_several_pasids_is_found_once() {
    let stage = Stage::new();
    let table = stage.scene.guest.table(4);
    for pasid in [FIRST, Pasid(2), FAR] {
        stage.write(pasid, table.root | SECOND_STAGE | WIDTH_48, 0);
    }
    stage.scene.announce(Invalidation::PasidCacheGlobal);
    stage.scene.map_pages(&table, 0x10_0000, 0x20_0000, 1);
    assert_eq!(stage.attachment.audit().missing.len(), 1);
    // What is in a table that none of them is in is not read.
    let other = stage.scene.guest.table(4);
    stage.scene.map_pages(&other, 0x10_0000, 0x20_0000, 3);
    stage.write(FAR, other.root | SECOND_STAGE | WIDTH_48, 0);
    let missing: Vec<_> = stage.attachment.audit().missing.iter().map(|extent| extent.guest.0).collect();
    assert_eq!(missing, [0x20_0000, other.root]);
}

/// What a guest does to an entry.
#[derive(Clone, Copy, Debug)]
enum Step {
    Set(Pasid, u64),
    Clear(Pasid),
    Announce(Pasid),
    AnnounceAll,
    Flush(Pasid),
    Refuse(bool),
}

fn steps() -> impl Strategy<Value = Step> {
    let pasid = || prop_oneof![Just(FIRST), Just(Pasid(2)), Just(FAR)];
    let table = prop_oneof![Just(TABLE), Just(OTHER_TABLE)];
    prop_oneof![
        3 => (pasid(), table).prop_map(|(pasid, table)| Step::Set(pasid, table)),
        2 => pasid().prop_map(Step::Clear),
        4 => pasid().prop_map(Step::Announce),
        1 => Just(Step::AnnounceAll),
        1 => pasid().prop_map(Step::Flush),
        1 => any::<bool>().prop_map(Step::Refuse),
    ]
}

proptest! {
    /// After an announcement a PASID is in the space of the table that its entry names, or where the host has refused
    /// something, nowhere. No space is given back while a PASID is in it.
    #[test]
    fn pasids_are_where_their_entries_say(steps in prop::collection::vec(steps(), 1..40)) {
        let stage = Stage::new();
        let mut said = BTreeMap::new();
        let mut places = BTreeMap::new();
        let mut refuses = false;
        for step in steps {
            let mut announced = Vec::new();
            match step {
                Step::Set(pasid, table) => {
                    // The host in the tests names spaces after tables.
                    let table = table + u64::from(pasid.0) * 0x1_0000;
                    stage.clear(pasid);
                    stage.set(pasid, table);
                    said.insert(pasid, table);
                }
                Step::Clear(pasid) => {
                    stage.clear(pasid);
                    said.remove(&pasid);
                }
                Step::Announce(pasid) => {
                    stage.announce_entry(pasid);
                    announced.push(pasid);
                }
                Step::AnnounceAll => {
                    stage.scene.announce(Invalidation::PasidCacheGlobal);
                    announced.extend([FIRST, Pasid(2), FAR]);
                }
                Step::Flush(pasid) => {
                    stage.scene.announce(Invalidation::PasidIotlb(DOMAIN, pasid));
                }
                Step::Refuse(now) => {
                    stage.host.refuse_pasids(now);
                    refuses = now;
                }
            }
            for asked in stage.asked() {
                match asked {
                    Asked::EnterPasid(pasid, space) => {
                        places.insert(pasid, space);
                    }
                    Asked::LeavePasid(pasid) => {
                        places.remove(&pasid);
                    }
                    Asked::Release(space) => {
                        prop_assert!(places.values().all(|place| *place != space), "{space:?} is in use");
                    }
                    _ => {}
                }
            }
            for pasid in announced {
                let place = places.get(&pasid).copied();
                let wanted = said.get(&pasid).map(|table| id(*table));
                prop_assert!(place == wanted || refuses && place.is_none(), "{pasid:?} is in {place:?}");
            }
        }
    }
}
