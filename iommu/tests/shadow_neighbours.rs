//! Processors with buffers beside each other, whose descriptors come to the queue together: what one of them does
//! never interrupts the DMA to the buffers of another, not for a single call to the host.

use std::sync::{Arc, Mutex};

use iommu::{GuestAddress, Permissions, SourceId};
use proptest::collection::vec;
use proptest::prelude::*;
use support::guest::{PAGE, RAM, Table};
use support::machine::*;
use support::world::World;

mod support;

/// Each buffer has a place of this many pages, aligned, as Linux gives it out.
const PLACE: u64 = 4;
const BUFFERS: usize = 24;
const BASE: u64 = 0x1000_0000 - 8 * PLACE * PAGE;
/// All of it is contiguous on both sides, so that it could be one mapping.
const TARGET: u64 = 0x2000_0000;

/// What becomes of one buffer.
#[derive(Clone, Copy, Debug)]
struct Turn {
    buffer: usize,
    /// How many pages it has if it is mapped now.
    pages: u64,
}

/// The guest, and a function by the rules of one kind of host.
struct Scene {
    machine: Machine,
    world: World,
    group: usize,
    table: Table,
    /// How many pages of each buffer are mapped.
    mapped: Vec<u64>,
    attachment: iommu::Attachment,
}

impl Scene {
    fn new(movable: bool) -> Self {
        let machine = Machine::new();
        let world = World::new(&RAM);
        let (group, dma) = if movable { world.movable(&world.iommu()) } else { world.fixed() };
        let handle = machine.unit.group(dma, vec![(GuestAddress(0), RAM[0].end)]);
        let device = support::guest::Device::new(NVME);
        let attachment = machine.unit.attach(device, &handle);
        machine.bring_up();
        let table = machine.guest.table(4);
        machine.put_behind(NVME, &table, DOMAIN);
        Self { machine, world, group, table, mapped: vec![0; BUFFERS], attachment }
    }

    fn page(buffer: usize, page: u64) -> (u64, u64) {
        let offset = (buffer as u64 * PLACE + page) * PAGE;
        (BASE + offset, TARGET + offset)
    }

    /// Writes the table for a turn: a buffer that is mapped goes, one that is not comes. Gives what announces it.
    fn write(&mut self, turn: Turn) -> Descriptor {
        let Turn { buffer, pages } = turn;
        let guest = &self.machine.guest;
        let before = std::mem::take(&mut self.mapped[buffer]);
        let count = if before == 0 { pages } else { before };
        for page in 0..count {
            let (iova, target) = Self::page(buffer, page);
            if before == 0 {
                guest.map(&self.table, iova, target, PAGE, BOTH);
            } else {
                guest.unmap(&self.table, iova, PAGE);
            }
        }
        if before == 0 {
            self.mapped[buffer] = pages;
        }
        iotlb_pages(DOMAIN, Self::page(buffer, 0).0, count.next_power_of_two(), before != 0)
    }

    /// All pages that are to be there, before and after.
    fn pages(&self, buffers: impl Iterator<Item = usize>) -> Vec<(u64, u64)> {
        buffers
            .flat_map(|buffer| (0..self.mapped[buffer]).map(move |page| Self::page(buffer, page)))
            .collect()
    }

    /// Carries out turns in one segment of the queue; nothing else may be interrupted meanwhile.
    fn submit(&mut self, turns: &[Turn], flush: bool) {
        let touched: Vec<_> = turns.iter().map(|turn| turn.buffer).collect();
        let lasting = self.pages((0..BUFFERS).filter(|buffer| !touched.contains(buffer)));
        let mut descriptors: Vec<_> = turns.iter().map(|turn| self.write(*turn)).collect();
        if flush {
            descriptors.push(iotlb_domain(DOMAIN));
        }
        let interrupted = Arc::new(Mutex::new(Vec::new()));
        let (list, group) = (interrupted.clone(), self.group);
        self.world.observe(move |act, _, reach| {
            for &(iova, target) in &lasting {
                if reach.of(group, iova) != Some((target, Permissions::READ_WRITE)) {
                    list.lock().unwrap().push((*act, iova));
                }
            }
        });
        self.machine.submit(&descriptors);
        self.world.stop_observing();
        assert_eq!(*interrupted.lock().unwrap(), [], "DMA that goes on was interrupted");

        let reach = self.world.reach();
        for buffer in 0..BUFFERS {
            for page in 0..PLACE {
                let (iova, target) = Self::page(buffer, page);
                let expected = (page < self.mapped[buffer]).then_some((target, Permissions::READ_WRITE));
                assert_eq!(reach.of(group, iova), expected, "buffer {buffer}, page {page}");
            }
        }
        self.world.assert_lawful();
        assert_eq!(self.attachment.statistics().splits, 0);
        assert!(self.attachment.audit().is_exact());
    }
}

#[test]
fn neighbours_that_were_mapped_together_are_unmapped_one_without_the_other() {
    for movable in [false, true] {
        let mut scene = Scene::new(movable);
        let [mine, yours] = [7, 8].map(|buffer| Turn { buffer, pages: PLACE });
        scene.submit(&[mine, yours], false);
        assert_eq!(scene.world.mappings(scene.group).len(), 2, "one for each");
        scene.submit(&[mine], false);
        scene.submit(&[mine], false);
        scene.submit(&[yours], false);
        // Both at once are one call, since both go.
        scene.submit(&[yours], false);
        scene.world.acts();
        scene.submit(&[mine, yours], false);
        assert_eq!(scene.world.acts().len(), 1);
    }
}

/// Two functions in two domains: what is announced for one is none of the other's business.
#[test]
fn a_busy_domain_leaves_another_alone() {
    let mut scene = Scene::new(true);
    let other = SourceId(0x0200);
    let (number, dma) = scene.world.movable(&scene.world.iommu());
    let group = scene.machine.unit.group(dma, vec![(GuestAddress(0), RAM[0].end)]);
    let _attachment = scene.machine.unit.attach(support::guest::Device::new(other), &group);
    let table = scene.machine.guest.table(4);
    scene.machine.guest.map(&table, 0x5000, 0x6000, PAGE, BOTH);
    scene.machine.put_behind(other, &table, 9);
    let place = scene.world.reach().place(number);
    scene.world.acts();
    scene.submit(&[Turn { buffer: 0, pages: 1 }, Turn { buffer: 1, pages: 3 }], true);
    assert!(!format!("{:?}", scene.world.acts()).contains(&format!("{:?}", place.unwrap())));
    assert_eq!(scene.world.mappings(number), [extent(0x5000, 0x6000, PAGE)]);
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = (0..BUFFERS, 1..=PLACE).prop_map(|(buffer, pages)| Turn { buffer, pages });
    vec(turn, 1..6).prop_map(|mut turns| {
        let mut seen = [false; BUFFERS];
        turns.retain(|turn| !std::mem::replace(&mut seen[turn.buffer], true));
        turns
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_interrupted_by_what_others_do(
        movable in any::<bool>(),
        segments in vec((turns(), proptest::bool::weighted(0.1)), 1..32),
    ) {
        let mut scene = Scene::new(movable);
        for (turns, flush) in segments {
            scene.submit(&turns, flush);
        }
    }
}
