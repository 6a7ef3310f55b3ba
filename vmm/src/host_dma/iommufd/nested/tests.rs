//! Arguments and order only: the fake translates nothing. Devices obey first-stage tables in the rig's session `nested`.

use iommu::{GuestAddress, HostGroup, HostIommu, HostUnit, Iova, Pasid};

use iommufd_bindings::iommufd::iommu_hw_info_vtd;

use super::super::calls::{Intel, first_stage, invalidation, unit};
use super::super::tests::{Bench, read_only_memory};
use super::*;

const WALKER: HostUnit = HostUnit { cap: u64::MAX, ecap: u64::MAX };

const TABLE: FirstStage = FirstStage {
    table: GuestAddress(0x7000),
    levels: 4,
    supervisor: false,
    write_protect: true,
    extended_accessed: false,
};

const fn intel(registers: HostUnit) -> Intel {
    Intel { registers, no_read_only_parents: true, pasid_bits: 0 }
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.fake.look(|objects| objects.unit = Some(intel(WALKER)));
    bench
}

#[test]
fn tables_are_put_into_the_words_of_the_kernel() {
    let plain = first_stage(TABLE);
    assert_eq!((plain.pgtbl_addr, plain.addr_width, plain.flags, plain.__reserved), (0x7000, 48, 1 << 2, 0));
    let all = FirstStage { levels: 5, supervisor: true, extended_accessed: true, ..TABLE };
    assert_eq!((first_stage(all).addr_width, first_stage(all).flags), (57, 0b111));
}

#[test]
fn what_is_forgotten_is_put_into_the_words_of_the_kernel() {
    let words = |what| {
        let entry = invalidation(&what);
        (entry.addr, entry.npages, entry.flags)
    };
    assert_eq!(words(Forget::Everything), (0, u64::MAX, 0));
    assert_eq!(words(Forget::Pages { iova: Iova(0x3000), count: 2, leaves: true }), (0x3000, 2, 1));
    assert_eq!(words(Forget::Pages { iova: Iova(0x3000), count: 1, leaves: false }), (0x3000, 1, 0));
}

#[test]
fn units_are_put_into_our_words() {
    let told = iommu_hw_info_vtd { flags: 0, cap_reg: 5, ecap_reg: 6, ..Default::default() };
    let registers = HostUnit { cap: 5, ecap: 6 };
    assert_eq!(unit((told, 0)), Intel { registers, no_read_only_parents: false, pasid_bits: 0 });
    let with_erratum = iommu_hw_info_vtd { flags: 1, ..told };
    assert_eq!(unit((with_erratum, 20)), Intel { registers, no_read_only_parents: true, pasid_bits: 20 });
}

#[test]
fn with_the_erratum_nothing_read_only_stands_behind_first_stages() {
    for (memory, no_read_only_parents, nests) in [
        (read_only_memory(), true, false),
        (read_only_memory(), false, true),
        (super::super::tests::memory(), true, true),
    ] {
        let bench = Bench::over(memory);
        let unit = Intel { registers: WALKER, no_read_only_parents, pasid_bits: 0 };
        bench.fake.look(|objects| objects.unit = Some(unit));
        let (mover, _devices) = bench.group(&[1]);
        assert_eq!(bench.iommufd.nests(), nests);
        if nests {
            // The fake has an eye on what stands behind it.
            let nested = bench.iommufd.nest(TABLE).unwrap();
            mover.enter(nested.id()).unwrap();
            mover.block();
        }
    }
}

#[test]
fn a_host_nests_if_every_unit_does() {
    let bench = Bench::new();
    assert!(!bench.iommufd.nests(), "there is no device");
    bench.fake.look(|objects| objects.unit = Some(intel(WALKER)));
    let (_one, _devices) = bench.group(&[1]);
    assert_eq!(bench.iommufd.nesting(), Some(WALKER));
    let without_5_levels = HostUnit { cap: !(1 << 60), ..WALKER };
    bench.fake.look(|objects| objects.unit = Some(intel(without_5_levels)));
    let (_two, _more) = bench.group(&[11]);
    assert_eq!(bench.iommufd.nesting(), Some(without_5_levels));
    assert!(bench.fake.look(|objects| objects.parents.is_empty()), "asking leaves nothing behind");
    bench.fake.look(|objects| objects.unit = Some(intel(HostUnit { cap: u64::MAX, ecap: 0 })));
    let (_three, _most) = bench.group(&[21]);
    assert!(!bench.iommufd.nests());
}

#[test]
fn a_group_enters_a_first_stage_in_front_of_guest_memory() {
    let bench = bench();
    let (mover, _devices) = bench.group(&[1, 2]);
    let nested = bench.iommufd.nest(TABLE).unwrap();
    mover.enter(nested.id()).unwrap();
    let ram = bench.iommufd.ram.ioas();
    bench.fake.look(|objects| {
        let place = objects.attached[&1];
        assert_eq!(objects.attached[&2], place);
        let (parent, table) = objects.nested[&place];
        assert_eq!((table, objects.tables[&parent].0), (TABLE, ram));
    });
    let pages = Forget::Pages { iova: Iova(0x1000), count: 1, leaves: true };
    nested.forget(&[pages, Forget::Everything]).unwrap();
    let forgotten = bench.fake.look(|objects| std::mem::take(&mut objects.forgotten));
    assert_eq!(forgotten.len(), 1, "one call for all ranges");
    assert_eq!(forgotten[0].1, [pages, Forget::Everything]);

    // Another table stands in front of the same memory.
    let other = bench.iommufd.nest(FirstStage { table: GuestAddress(0x9000), ..TABLE }).unwrap();
    mover.enter(other.id()).unwrap();
    drop(nested);
    assert_eq!(bench.fake.look(|objects| (objects.parents.len(), objects.nested.len())), (1, 1));
    mover.block();
    drop(other);
    assert!(bench.fake.look(|objects| objects.nested.is_empty()));
    assert!(bench.reaches_nothing(1));
}

#[test]
fn units_of_two_kinds_walk_one_table_each_in_its_own_way() {
    let bench = bench();
    let (mover, _devices) = bench.group(&[1, 11]);
    let nested = bench.iommufd.nest(TABLE).unwrap();
    mover.enter(nested.id()).unwrap();
    assert_eq!(bench.fake.look(|objects| (objects.parents.len(), objects.nested.len())), (2, 2));
    nested.forget(&[Forget::Everything]).unwrap();
    assert_eq!(bench.fake.look(|objects| objects.forgotten.len()), 2);
}

#[test]
fn a_table_that_the_host_refuses_leaves_nothing_behind() {
    let bench = bench();
    let (mover, _devices) = bench.group(&[1]);
    let before = bench.fake.look(|objects| objects.tables.len());
    let nested = bench.iommufd.nest(FirstStage { levels: 3, ..TABLE }).unwrap();
    for _ in 0..3 {
        assert!(mover.enter(nested.id()).is_err());
    }
    assert_eq!(bench.fake.look(|objects| (objects.tables.len(), objects.parents.len())), (before, 0));
    assert!(bench.reaches_nothing(1));
}

#[test]
fn everything_is_given_back() {
    let bench = bench();
    let fake = bench.fake.clone();
    let (mover, devices) = bench.group(&[1]);
    let nested = bench.iommufd.nest(TABLE).unwrap();
    mover.enter(nested.id()).unwrap();
    mover.block();
    drop((nested, devices, mover, bench));
    assert_eq!(fake.look(|objects| (objects.tables.len(), objects.ioases.len())), (0, 0));
}

/// The same for devices that send requests with PASID.
fn bench_with_pasids() -> Bench {
    let bench = bench();
    bench.fake.look(|objects| objects.unit = Some(Intel { pasid_bits: 20, ..intel(WALKER) }));
    bench
}

#[test]
fn a_pasid_enters_a_first_stage_beside_requests_without_one() {
    let bench = bench_with_pasids();
    assert_eq!(bench.iommufd.pasid_bits(1), 20);
    let (mover, _devices) = bench.group(&[1]);
    let [one, two] = [0x7000, 0x9000]
        .map(|table| bench.iommufd.nest(FirstStage { table: GuestAddress(table), ..TABLE }).unwrap());
    let table_of = |pasid| {
        bench.fake.look(|objects| {
            let place = objects.pasids.get(&(1, pasid))?;
            Some(objects.nested[place].1.table.0)
        })
    };
    mover.enter_pasid(Pasid(5), one.id()).unwrap();
    mover.enter_pasid(Pasid(6), two.id()).unwrap();
    assert_eq!((table_of(5), table_of(6)), (Some(0x7000), Some(0x9000)));
    assert!(bench.reaches_nothing(1), "requests without PASID have not moved");
    // One page table is enough for a PASID and for requests without.
    mover.enter(one.id()).unwrap();
    assert_eq!(bench.fake.look(|objects| objects.nested.len()), 2);
    mover.enter_pasid(Pasid(5), two.id()).unwrap();
    assert_eq!(table_of(5), Some(0x9000));
    two.forget(&[Forget::Everything]).unwrap();
    let forgotten = bench.fake.look(|objects| std::mem::take(&mut objects.forgotten));
    assert_eq!(forgotten.len(), 1);

    mover.block();
    assert_eq!(table_of(6), Some(0x9000), "it is not blocked with the others");
    for pasid in [5, 6] {
        mover.leave_pasid(Pasid(pasid));
        assert_eq!(table_of(pasid), None);
    }
    drop((one, two));
    assert!(bench.fake.look(|objects| objects.nested.is_empty()), "they are given back");
}

#[test]
fn page_tables_made_for_others_are_not_beside_those_of_pasids() {
    let bench = bench();
    let (first, _one) = bench.group(&[1]);
    let space = bench.iommufd.new_space().unwrap();
    first.enter(space.id()).unwrap();
    bench.fake.look(|objects| objects.unit = Some(Intel { pasid_bits: 20, ..intel(WALKER) }));
    let (second, _two) = bench.group(&[2]);
    second.enter(space.id()).unwrap();
    let nested = bench.iommufd.nest(TABLE).unwrap();
    second.enter_pasid(Pasid(5), nested.id()).unwrap();
    // A space may be a PASID's, whatever its kind.
    second.enter_pasid(Pasid(6), space.id()).unwrap();
    bench.fake.look(|objects| {
        assert_ne!(objects.attached[&1], objects.attached[&2]);
        assert_eq!(objects.attached[&2], objects.pasids[&(2, 6)]);
        assert_eq!(objects.tables[&objects.attached[&1]].0, objects.tables[&objects.attached[&2]].0);
    });
    second.leave_pasid(Pasid(5));
    second.leave_pasid(Pasid(6));
}

#[test]
fn where_pasids_cannot_be_told_apart_none_is_let_in() {
    let bench = bench_with_pasids();
    let (mover, _devices) = bench.group(&[1, 2]);
    let nested = bench.iommufd.nest(TABLE).unwrap();
    assert!(mover.enter_pasid(Pasid(5), nested.id()).is_err());
    bench.fake.look(|objects| objects.unit = Some(intel(HostUnit { cap: u64::MAX, ecap: 0 })));
    assert_eq!(bench.iommufd.pasid_bits(1), 0);
}

#[test]
fn a_refused_pasid_leaves_nothing_behind() {
    let bench = bench_with_pasids();
    let (mover, _devices) = bench.group(&[1]);
    let before = bench.fake.look(|objects| objects.tables.len());
    let nested = bench.iommufd.nest(FirstStage { levels: 3, ..TABLE }).unwrap();
    let space = bench.iommufd.new_space().unwrap();
    assert!(mover.enter_pasid(Pasid(5), nested.id()).is_err());
    // PASID 0 is no PASID for the kernel.
    for _ in 0..3 {
        assert!(mover.enter_pasid(Pasid(0), space.id()).is_err());
    }
    drop((nested, space));
    assert_eq!(bench.fake.look(|objects| objects.tables.len()), before);
}
