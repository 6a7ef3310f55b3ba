use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::DmaRemapping;
use crate::invalidation::Invalidation;
use crate::mode::DmaMode;
use crate::spec::context::RootPointer;
use crate::spec::second_stage::Level;
use crate::testing::descriptor::{
    context_device, context_domain, context_global, iotlb_domain, iotlb_global, iotlb_pages, wait_status,
};
use crate::testing::{DATA, Interposed, LARGE, Machine, R, RW, Record, SOURCE, W};
use crate::{Access, Capabilities, DomainId, Iova, Request, SourceId};

const OTHER: SourceId = SourceId(0x0114);

/// How far a request of `length` bytes gets.
fn reach(machine: &Machine, iova: u64, length: u64) -> Result<(u64, u64), u8> {
    let request = Request::new(SOURCE, Access::Read);
    let result = machine.unit.access(&request, Iova(iova), length, |guest, length| (guest.0, length));
    result.map_err(|blocked| blocked.reason)
}

#[test]
fn while_translation_is_off_addresses_stand_for_themselves() {
    let machine = Machine::new();
    assert_eq!(reach(&machine, 0x1234, 0x10_0000), Ok((0x1234, 0x10_0000)));
    assert_eq!(reach(&machine, u64::MAX, 8), Ok((u64::MAX, 1)));
    assert_eq!(reach(&machine, 0xFEDF_FFF0, 0x1000), Ok((0xFEDF_FFF0, 0x10)));
}

#[test]
fn a_request_reaches_to_the_end_of_its_page() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, DATA | RW);
    machine.map(table, 0x2000, (DATA + 0x1000) | RW);
    let large = machine.entry(table, 4, 0x4000_0000, Level::PAGE_2M);
    machine.write_memory(large, DATA | RW | LARGE);
    for _ in 0..2 {
        assert_eq!(reach(&machine, 0x1FF0, 0x1000), Ok((DATA + 0xFF0, 0x10)));
        assert_eq!(reach(&machine, 0x2000, 0x10), Ok((DATA + 0x1000, 0x10)));
        assert_eq!(reach(&machine, 0x4000_1234, 1 << 30), Ok((DATA + 0x1234, 0x1F_EDCC)));
    }
}

#[test]
fn a_request_for_nothing_needs_permission_and_gets_nothing() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, DATA | W);
    assert_eq!(reach(&machine, 0x1000, 0), Ok((DATA, 0)));
    assert_eq!(reach(&machine, 0x1000, 1), Err(0x06));
    assert_eq!(reach(&machine, 0x2000, 0), Err(0x06));
}

#[test]
fn faults_are_recorded_with_function_address_and_kind_of_request() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, DATA | R);
    for (source, iova, access, reason) in [
        (SOURCE, 0x1234, Access::Write, 0x05),
        (SOURCE, 0x2345, Access::Read, 0x06),
        (SOURCE, 1 << 48, Access::Write, 0x04),
        (OTHER, 0x1234, Access::Read, 0x02),
        (SourceId(0xFF07), 0x1234, Access::Read, 0x01),
    ] {
        assert_eq!(machine.translate_as(source, iova, access), Err(reason));
        let record = Record { source, reason, info: iova & !0xFFF, read: access == Access::Read };
        assert_eq!(machine.take_faults(), [record]);
    }
}

#[test]
fn a_domain_whose_faults_are_not_wanted_has_none_recorded() {
    let (machine, table) = Machine::translating();
    machine.context(SOURCE, [table | 3, 2 | 5 << 8]);
    for _ in 0..2 {
        assert_eq!(machine.translate(0x1000, Access::Read), Err(0x06));
        assert_eq!(machine.translate(1 << 48, Access::Read), Err(0x04));
    }
    assert_eq!(machine.take_faults(), []);
}

#[test]
fn a_remembered_page_that_does_not_allow_a_request_is_a_recorded_fault() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, DATA | R);
    assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
    assert_eq!(machine.translate(0x1000, Access::Write), Err(0x05));
    assert_eq!(machine.take_faults()[0].reason, 0x05);
    // The page is still there for those whom it allows.
    machine.map(table, 0x1000, (DATA + 0x1000) | R);
    assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
}

#[test]
fn an_answer_given_twice_is_kept_until_anything_is_invalidated() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, DATA | R);
    let read = || machine.translate(0x1000, Access::Read);
    assert_eq!([read(), read(), read()], [Ok(DATA); 3]);
    machine.map(table, 0x1000, (DATA + 0x1000) | R);
    assert_eq!(read(), Ok(DATA));
    // It allows no more than the page does.
    assert_eq!(machine.translate(0x1000, Access::Write), Err(0x05));
    // Another domain's invalidation ends the answer, and the page in the IOTLB remains.
    machine.submit(&[iotlb_domain(6)]);
    assert_eq!([read(), read(), read()], [Ok(DATA); 3]);
    machine.submit(&[iotlb_pages(5, 0x1000, 0)]);
    assert_eq!([read(), read(), read()], [Ok(DATA + 0x1000); 3]);
    // Nor does it outlive the table, or translation.
    machine.context(SOURCE, [machine.table() | 1, 2 | 7 << 8]);
    machine.submit(&[context_global()]);
    assert_eq!(read(), Err(0x06));
}

#[test]
fn a_remembered_page_allows_no_more_than_every_level_did() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, DATA | RW);
    let upper = machine.entry(table, 4, 0x1000, Level::PAGE_2M);
    machine.write_memory(upper, machine.read_memory(upper) & !W);
    assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
    assert_eq!(machine.translate(0x1000, Access::Write), Err(0x05));
}

#[test]
fn an_address_beyond_the_contexts_width_does_not_alias_one_within() {
    let machine = Machine::new();
    let (narrow, wide) = (machine.table(), machine.table());
    machine.write_memory(machine.entry(narrow, 3, 0x1000, Level::PAGE), DATA | RW);
    machine.map(wide, 1 << 39 | 0x1000, (DATA + 0x1000) | RW);
    machine.context(SOURCE, [narrow | 1, 1 | 5 << 8]);
    machine.context(OTHER, [wide | 1, 2 | 5 << 8]);
    machine.enable_translation();
    assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
    assert_eq!(machine.translate(1 << 39 | 0x1000, Access::Read), Err(0x04));
    // Not even when another table of the same domain has put such an address into the IOTLB.
    assert_eq!(machine.translate_as(OTHER, 1 << 39 | 0x1000, Access::Read), Ok(DATA + 0x1000));
    assert_eq!(machine.translate(1 << 39 | 0x1000, Access::Read), Err(0x04));
}

#[test]
fn pass_through_reaches_what_guest_memory_can_be_and_no_interrupts() {
    let machine = Machine::with(Capabilities::legacy(39));
    machine.context(SOURCE, [2 << 2 | 1, 1 | 5 << 8]);
    machine.enable_translation();
    for _ in 0..2 {
        assert_eq!(reach(&machine, 0x1234, 0x10_0000), Ok((0x1234, 0x10_0000)));
        assert_eq!(reach(&machine, (1 << 39) - 8, 16), Ok(((1 << 39) - 8, 8)));
        assert_eq!(reach(&machine, 1 << 39, 1), Err(0x04));
        assert_eq!(reach(&machine, 0xFEDF_F000, 0x2000), Ok((0xFEDF_F000, 0x1000)));
        assert_eq!(reach(&machine, 0xFEE0_0000, 8), Err(0x0E));
    }
}

#[test]
fn the_interrupt_range_is_never_translated() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0xFEE0_0000, DATA | RW);
    machine.map(table, 0xFEEF_F000, DATA | RW);
    machine.map(table, 0xFEF0_0000, DATA | RW);
    for iova in [0xFEE0_0000, 0xFEEF_FFFF] {
        assert_eq!(machine.translate(iova, Access::Read), Err(0x0E));
        assert_eq!(machine.translate(iova, Access::Write), Err(0x29));
    }
    assert_eq!(machine.translate(0xFEF0_0000, Access::Write), Ok(DATA));
    let faults: Vec<_> = machine.take_faults().iter().map(|record| (record.reason, record.info)).collect();
    // A write has no address there, but it might have had an interrupt index.
    assert_eq!(faults, [(0x0E, 0xFEE0_0000), (0x29, 0), (0x0E, 0xFEEF_F000), (0x29, 0)]);
    // With nothing switched on there is nobody to record it.
    machine.unit.reset();
    assert!(machine.translate(0xFEE0_0000, Access::Write).is_err());
    assert_eq!(machine.take_faults(), []);
}

#[test]
fn no_translation_ends_in_the_interrupt_range() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, 0xFEE0_0000 | RW);
    machine.map(table, 0x2000, 0xFEEF_F000 | RW);
    let large = machine.entry(table, 4, 0x4000_0000, Level::PAGE_2M);
    machine.write_memory(large, 0xFEE0_0000 | RW | LARGE);
    let huge = machine.entry(table, 4, 0x8000_0000, Level::PAGE_1G);
    machine.write_memory(huge, 0xC000_0000 | RW | LARGE);
    for _ in 0..2 {
        for iova in [0x1000, 0x2FFF, 0x4000_0000, 0x400F_FFFF, 0xBEE0_0000] {
            assert_eq!(machine.translate(iova, Access::Write), Err(0x0E), "{iova:#x}");
        }
        // The rest of a large page is memory like any other; a request ends where the range begins.
        assert_eq!(reach(&machine, 0x4010_0000, 4), Ok((0xFEF0_0000, 4)));
        assert_eq!(reach(&machine, 0xBEDF_FFFC, 64), Ok((0xFEDF_FFFC, 4)));
    }
    assert_eq!(machine.take_faults()[0].reason, 0x0E);
}

#[test]
fn a_table_that_points_to_itself_does_not_hang() {
    let (machine, table) = Machine::translating();
    machine.write_memory(table, table | RW);
    assert_eq!(machine.translate(0, Access::Write), Ok(table));
    assert_eq!(machine.translate(0xFFF, Access::Write), Ok(table | 0xFFF));
}

#[test]
fn what_is_remembered_counts_until_the_invalidation_that_names_it() {
    let (machine, table) = Machine::translating();
    machine.context(OTHER, [table | 1, 2 | 6 << 8]);
    let remember = || {
        machine.map(table, 0x1000, DATA | RW);
        machine.submit(&[iotlb_global()]);
        for source in [SOURCE, OTHER] {
            assert_eq!(machine.translate_as(source, 0x1000, Access::Read), Ok(DATA));
        }
        machine.map(table, 0x1000, (DATA + 0x1000) | RW);
    };
    for (what, here, there) in [
        (iotlb_global(), true, true),
        (iotlb_domain(5), true, false),
        (iotlb_domain(6), false, true),
        (iotlb_pages(5, 0x1000, 0), true, false),
        (iotlb_pages(5, 0x0000, 1), true, false),
        (iotlb_pages(5, 0x2000, 1), false, false),
        (iotlb_pages(6, 0x7000, 18), false, true),
        (context_global(), false, false),
    ] {
        remember();
        machine.submit(&[what]);
        for (source, fresh) in [(SOURCE, here), (OTHER, there)] {
            let expected = if fresh { DATA + 0x1000 } else { DATA };
            assert_eq!(machine.translate_as(source, 0x1000, Access::Read), Ok(expected), "{what:x?}");
        }
    }
}

#[test]
fn a_context_is_remembered_until_the_invalidation_that_names_it() {
    let (machine, table) = Machine::translating();
    let other = machine.table();
    machine.map(table, 0x1000, DATA | RW);
    machine.map(other, 0x1000, (DATA + 0x1000) | RW);
    for (what, fresh) in [
        (context_global(), true),
        (context_domain(5), true),
        (context_domain(6), false),
        // With caching mode software names domain 0 for a context that was not present.
        (context_device(0, SOURCE.0.into(), 0), true),
        (context_device(5, u64::from(SOURCE.0) ^ 4, 0), false),
        (context_device(5, u64::from(SOURCE.0) ^ 4, 1), true),
        (iotlb_domain(5), false),
    ] {
        machine.context(SOURCE, [table | 1, 2 | 5 << 8]);
        machine.submit(&[context_global(), iotlb_global()]);
        assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
        machine.context(SOURCE, [other | 1, 2 | 7 << 8]);
        machine.submit(&[what]);
        let expected = if fresh { DATA + 0x1000 } else { DATA };
        assert_eq!(machine.translate(0x1000, Access::Read), Ok(expected), "{what:x?}");
    }
}

#[test]
fn small_pages_that_become_a_large_one_and_back_are_forgotten_with_their_range() {
    let (machine, table) = Machine::translating();
    let base = 0x4000_0000;
    let upper = machine.entry(table, 4, base, Level::PAGE_2M);
    for page in 0..512 {
        machine.map(table, base + page * 0x1000, (DATA + (511 - page) * 0x1000) | RW);
        assert!(machine.translate(base + page * 0x1000, Access::Write).is_ok());
    }
    let small = machine.read_memory(upper);
    machine.write_memory(upper, DATA | RW | LARGE);
    machine.submit(&[iotlb_pages(5, base, 9)]);
    for page in 0..512 {
        let offset = page * 0x1000;
        assert_eq!(machine.translate(base + offset, Access::Write), Ok(DATA + offset));
    }
    machine.write_memory(upper, small);
    machine.submit(&[iotlb_pages(5, base, 9)]);
    assert_eq!(machine.translate(base, Access::Write), Ok(DATA + 511 * 0x1000));
}

#[test]
fn a_domain_number_used_again_shows_nothing_of_its_former_domain() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, DATA | RW);
    assert_eq!(machine.translate(0x1000, Access::Read), Ok(DATA));
    let fresh = machine.table();
    machine.context(OTHER, [fresh | 1, 2 | 5 << 8]);
    machine.context(SOURCE, [0, 0]);
    machine.submit(&[context_device(5, SOURCE.0.into(), 0), iotlb_domain(5)]);
    assert_eq!(machine.translate_as(OTHER, 0x1000, Access::Read), Err(0x06));
    assert_eq!(machine.translate(0x1000, Access::Read), Err(0x02));
}

#[test]
fn one_function_does_not_use_the_tables_of_another() {
    let (machine, table) = Machine::translating();
    machine.map(table, 0x1000, DATA | RW);
    assert_eq!(machine.translate(0x1000, Access::Write), Ok(DATA));
    for function in (0..8).filter(|function| *function != SOURCE.0 & 7) {
        let source = SourceId(SOURCE.0 & !7 | function);
        assert_eq!(machine.translate_as(source, 0x1000, Access::Write), Err(0x02));
    }
}

#[test]
fn what_is_invalidated_while_it_is_looked_up_is_not_remembered() {
    let machine = Machine::new();
    let (old, new) = (machine.table(), machine.table());
    machine.map(old, 0x1000, DATA | RW);
    machine.map(new, 0x1000, (DATA + 0x1000) | RW);
    let set_context = |machine: &Machine, table: u64| machine.context(SOURCE, [table | 1, 2 | (5 << 8)]);
    set_context(&machine, old);
    let root_entry = machine.root + u64::from(SOURCE.bus()) * 16;
    let context = (machine.read_memory(root_entry) & !0xFFF) + u64::from(SOURCE.devfn()) * 16;
    let walk = (1..=4).map(|level| machine.entry(old, 4, 0x1000, Level::from_number(level).unwrap()));
    let reads: Vec<u64> =
        [root_entry, root_entry + 8, context, context + 8].into_iter().chain(walk).collect();

    let memory = Arc::new(Interposed::new(Arc::clone(&machine.memory)));
    let mode = DmaMode::default().with_root(RootPointer(machine.root)).with_translating(true);
    let machine = Arc::new(machine);
    for read in reads {
        let dma = Arc::new(DmaRemapping::new(Arc::clone(&memory), Capabilities::legacy(48)));
        dma.set_mode(mode);
        set_context(&machine, old);
        let (unit, machine) = (Arc::clone(&dma), Arc::clone(&machine));
        memory.after_read(read, move || {
            set_context(&machine, new);
            unit.invalidate(&Invalidation::ContextGlobal);
            unit.invalidate(&Invalidation::IotlbDomain(DomainId(5)));
        });
        let request = Request::new(SOURCE, Access::Read);
        let translate = || dma.access(&request, Iova(0x1000), 1, None, |guest, _| guest.0).unwrap();
        let first = translate();
        assert!(first == DATA || first == DATA + 0x1000);
        assert_eq!(translate(), DATA + 0x1000, "{read:#x}");
    }
}

#[test]
fn no_translation_is_used_after_the_wait_behind_its_invalidation() {
    const STATUS: u64 = DATA + 0x10_0000;
    let (machine, table) = Machine::translating();
    let allowed = Arc::new(AtomicBool::new(false));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let request = Request::new(SOURCE, Access::Read);
                    let _ = machine.unit.access(&request, Iova(0x1000), 1, |_, _| {
                        assert!(allowed.load(Ordering::SeqCst));
                    });
                }
            });
        }
        for round in 0..2000 {
            allowed.store(true, Ordering::SeqCst);
            machine.map(table, 0x1000, DATA | RW);
            machine.submit(&[iotlb_pages(5, 0x1000, 0)]);
            machine.map(table, 0x1000, 0);
            machine.submit(&[iotlb_pages(5, 0x1000, 0), wait_status(STATUS, round)]);
            allowed.store(false, Ordering::SeqCst);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_translated_write_to_the_interrupt_range_is_no_interrupt_request() {
    let machine = Machine::with(Capabilities::new(crate::Profile::Full, 48));
    machine.enable_translation();
    let request = Request::new(SOURCE, Access::Write).translated();
    let refused = machine.unit.access(&request, Iova(0xFEE0_0000), 4, |_, _| ()).unwrap_err();
    // The tables are asked first, and there are none.
    assert_eq!(refused.reason, 0x01);
}

mod properties;
mod remembered;
mod scalable;
