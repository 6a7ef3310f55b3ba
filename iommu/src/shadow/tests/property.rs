//! Random changes of a table, announced as a correct guest does: afterwards the host maps what the table
//! says, and at no moment on the way anything that neither the old table said nor the new one does.

use proptest::collection::vec;
use proptest::prelude::*;

use super::support::guest::PAGE_2M;
use super::*;

/// Two pages of 2 MiB on either side of a page of 1 GiB's edge.
const BASE: u64 = 0x4000_0000 - 2 * PAGE_2M;
const SLOTS: u64 = 4;
const SLOT_PAGES: u64 = 512;
const PAGES: u64 = SLOTS * SLOT_PAGES;
/// Where it leads, give or take one of the shifts below.
const TARGET: u64 = 0x1000_0000;

/// What a page leads to.
type Meaning = Option<(u64, Permissions)>;

#[derive(Clone, Debug)]
enum Edit {
    /// Maps pages of 4 KiB.
    Map { first: u64, count: u64, shift: u64, permissions: Permissions },
    /// Takes away pages of 4 KiB; a large page around them becomes small ones.
    Unmap { first: u64, count: u64 },
    /// Makes one large page, whatever was there.
    MapLarge { slot: u64, shift: u64, permissions: Permissions },
    /// Takes all of a slot away at once.
    UnmapLarge { slot: u64 },
}

#[derive(Clone, Copy, Debug)]
enum Announcement {
    Pages,
    Domain,
    Global,
}

#[derive(Clone, Debug)]
struct Step {
    /// All are made, then each is announced in its turn.
    edits: Vec<(Edit, Announcement)>,
    /// The host refuses one call of each announcement, this far in.
    refusal: Option<(usize, MapError)>,
}

fn edit() -> impl Strategy<Value = Edit> {
    let shift = prop_oneof![3 => Just(0), 1 => Just(PAGE_2M), 1 => Just(16 * PAGE)];
    let permissions = prop_oneof![4 => Just(BOTH), 1 => Just(READ), 1 => Just(Permissions::WRITE)];
    let pages = (0..PAGES, 1..64_u64).prop_map(|(first, count)| (first, count.min(PAGES - first)));
    prop_oneof![
        4 => (pages.clone(), shift.clone(), permissions.clone())
            .prop_map(|((first, count), shift, permissions)| Edit::Map { first, count, shift, permissions }),
        3 => pages.prop_map(|(first, count)| Edit::Unmap { first, count }),
        2 => (0..SLOTS, shift, permissions).prop_map(|(slot, shift, permissions)| {
            Edit::MapLarge { slot, shift: shift & !(PAGE_2M - 1), permissions }
        }),
        1 => (0..SLOTS).prop_map(|slot| Edit::UnmapLarge { slot }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let announcement = prop_oneof![
        4 => Just(Announcement::Pages),
        1 => Just(Announcement::Domain),
        1 => Just(Announcement::Global),
    ];
    let errors = prop_oneof![Just(MapError::Full), Just(host_error()), Just(MapError::Unusable(Iova(0)))];
    let refusal = prop_oneof![4 => Just(None), 1 => (0..6_usize, errors).prop_map(Some)];
    (vec((edit(), announcement), 1..4), refusal).prop_map(|(edits, refusal)| Step { edits, refusal })
}

impl Edit {
    /// The pages it changes, in both the table and the model.
    fn make(&self, guest: &Guest, table: &Table, model: &mut [Meaning]) -> Range<u64> {
        let address = |page: u64| BASE + page * PAGE;
        let target = |page: u64, shift: u64| TARGET + page * PAGE + shift;
        match *self {
            Self::Map { first, count, shift, permissions } => {
                for page in first..first + count {
                    guest.map(table, address(page), target(page, shift), PAGE, permissions);
                    model[page as usize] = Some((target(page, shift), permissions));
                }
                first..first + count
            }
            Self::Unmap { first, count } => {
                for page in first..first + count {
                    guest.unmap(table, address(page), PAGE);
                    model[page as usize] = None;
                }
                first..first + count
            }
            Self::MapLarge { slot, shift, permissions } => {
                let pages = slot * SLOT_PAGES..(slot + 1) * SLOT_PAGES;
                guest.map(table, address(pages.start), target(pages.start, shift), PAGE_2M, permissions);
                for page in pages.clone() {
                    model[page as usize] = Some((target(page, shift), permissions));
                }
                pages
            }
            Self::UnmapLarge { slot } => {
                let pages = slot * SLOT_PAGES..(slot + 1) * SLOT_PAGES;
                guest.unmap(table, address(pages.start), PAGE_2M);
                model[pages.start as usize..pages.end as usize].fill(None);
                pages
            }
        }
    }
}

/// The smallest aligned power of two that covers `pages`, as Linux rounds it.
fn covering(pages: &Range<u64>) -> Invalidation {
    let first = BASE / PAGE + pages.start;
    let last = BASE / PAGE + pages.end - 1;
    let address_mask = (first ^ last).checked_ilog2().map_or(0, |bit| bit as u8 + 1);
    Invalidation::IotlbPages { domain: DOMAIN, iova: Iova(first * PAGE), address_mask, hint: false }
}

fn meaning(extent: &Extent, page: u64) -> (u64, Permissions) {
    (extent.guest.0 + (BASE + page * PAGE - extent.iova.0), extent.permissions)
}

fn pages_of(extent: &Extent) -> Range<u64> {
    (extent.iova.0 - BASE) / PAGE..(extent.iova.0 + extent.length - BASE) / PAGE
}

/// What the host maps.
fn committed(host: &FakeHost) -> Vec<Meaning> {
    let mut meanings = vec![None; PAGES as usize];
    for extent in host.mappings() {
        for page in pages_of(&extent) {
            meanings[page as usize] = Some(meaning(&extent, page));
        }
    }
    meanings
}

/// Fails if a call maps what is in neither `old` nor `new`, or takes a mapping away that could stay.
fn watch(host: &FakeHost, old: Vec<Meaning>, new: Vec<Meaning>) {
    host.observe(move |call, gone| match call {
        Call::Map(extent) => {
            for page in pages_of(extent) {
                let meaning = Some(meaning(extent, page));
                let allowed = [old[page as usize], new[page as usize]];
                assert!(allowed.contains(&meaning), "page {page} became {meaning:?}, not of {allowed:?}");
            }
        }
        Call::Unmap { .. } => {
            for extent in gone {
                let changed = |page| new[page as usize] != Some(meaning(extent, page));
                assert!(pages_of(extent).any(changed), "{extent:?} was taken away for nothing");
            }
        }
        // After a failed unmap.
        Call::UnmapAll => {}
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn after_every_announcement_the_host_maps_what_the_tables_say(steps in vec(step(), 1..8)) {
        let (scene, nvme, table) = Scene::translating();
        let mut model = vec![None; PAGES as usize];
        // Pages that the host may have refused to map.
        let mut doubtful = vec![false; PAGES as usize];
        for Step { edits, refusal } in steps {
            let ranges: Vec<_> =
                edits.iter().map(|(edit, _)| edit.make(&scene.guest, &table, &mut model)).collect();
            for (done, (_, announcement)) in edits.iter().enumerate() {
                let old = committed(&nvme.host);
                watch(&nvme.host, old.clone(), model.clone());
                let calls = refusal.clone().map_or(vec![], |(nth, error)| {
                    std::iter::repeat_n(None, nth).chain([Some(error)]).collect()
                });
                nvme.host.refuse_next(calls);
                scene.announce(match announcement {
                    Announcement::Pages => covering(&ranges[done]),
                    Announcement::Domain => Invalidation::IotlbDomain(DOMAIN),
                    Announcement::Global => Invalidation::IotlbGlobal,
                });
                nvme.host.stop_observing();
                nvme.host.refuse_next([]);
                nvme.host.assert_lawful();

                let now = committed(&nvme.host);
                let pending = &ranges[done + 1..];
                for page in 0..PAGES {
                    let index = page as usize;
                    let settled = now[index] == model[index];
                    let refused = now[index].is_none() && (doubtful[index] || refusal.is_some());
                    let old_and_pending =
                        now[index] == old[index] && pending.iter().any(|range| range.contains(&page));
                    prop_assert!(
                        settled || refused || old_and_pending,
                        "page {page}: {:?} instead of {:?}", now[index], model[index]
                    );
                    doubtful[index] = !settled && refused;
                }
            }
        }
        scene.announce(Invalidation::IotlbDomain(DOMAIN));
        prop_assert_eq!(committed(&nvme.host), model);
        nvme.assert_exact();
    }
}
