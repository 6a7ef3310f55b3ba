use super::*;
use crate::testing::scalable::{
    ACCESSED, DEVICE_TLB, DIRTY, EXECUTE, FIRST_STAGE, NESTED, NO_EXECUTE, P, PASIDS, PASS_THROUGH, PWU,
    SECOND_ACCESSED, SECOND_DIRTY, SECOND_STAGE, SECOND_STAGE_DIRTY, SUPERVISOR, USER, WALK_SNOOP, WIDTH_48,
};
use crate::testing::{DATA, LARGE, Machine, R, RW, SOURCE, W, descriptor};
use crate::{Capabilities, Profile};

const EVERYTHING: Capabilities =
    Capabilities::new(Profile::Full, 48).with(Feature::DeviceTlb).with(Feature::NoWrite);
const READ_WRITE: Permissions = Permissions::READ_WRITE;

/// A machine whose [`SOURCE`] may have a device-TLB: its PASID directory, and a first stage for PASID 7.
fn machine() -> (Machine, u64, u64) {
    let machine = Machine::with(EVERYTHING);
    let (directory, table) = (machine.table(), machine.table());
    machine.scalable_context(SOURCE, [directory | DEVICE_TLB | PASIDS | 1, 0, 0, 0]);
    let options = table | SUPERVISOR | EXECUTE;
    machine.pasid_entry(directory, 7, [FIRST_STAGE | 1, 5 | WALK_SNOOP, options, 0, 0, 0, 0, 0]);
    machine.enable_scalable();
    machine.enable_wide_queue();
    (machine, directory, table)
}

const PLAIN: TranslationRequest = TranslationRequest {
    source: SOURCE,
    pasid: None,
    privileged: false,
    execute: false,
    no_write: false,
    iova: Iova(0x1000),
};
const WITH_PASID: TranslationRequest = TranslationRequest { pasid: Some(Pasid(7)), ..PLAIN };

fn nothing(iova: u64) -> Translation {
    answer_at(Iova(iova), Permissions::empty())
}

#[test]
fn an_answer_tells_page_size_and_permissions() {
    let (machine, _, table) = machine();
    for (level, large) in [(Level::PAGE, 0), (Level::PAGE_2M, LARGE), (Level::PAGE_1G, LARGE)] {
        let iova = u64::from(level.number()) << 39;
        machine.write_memory(machine.first_stage_entry(table, 4, iova, level), 1 << 40 | PWU | large);
        let inside = Iova(iova + level.span() - 1);
        let answer = machine.unit.translate(&TranslationRequest { iova: inside, ..WITH_PASID }).unwrap();
        let expected = Translation {
            address: GuestAddress(1 << 40),
            size: level.span(),
            permissions: READ_WRITE,
            privileged: false,
            untranslated_only: false,
        };
        assert_eq!(answer, expected);
    }
}

#[test]
fn permissions_are_those_of_the_privilege_that_asks() {
    let (machine, _, table) = machine();
    let read = Permissions::READ;
    for (entry, user, supervisor) in
        [(PWU, READ_WRITE, READ_WRITE), (P | USER, read, READ_WRITE), (P, Permissions::empty(), READ_WRITE)]
    {
        machine.map_first_stage(table, 0x1000, DATA | entry);
        let answer = machine.unit.translate(&WITH_PASID).unwrap();
        assert_eq!((answer.permissions, answer.privileged), (user, false));
        let request = TranslationRequest { privileged: true, ..WITH_PASID };
        let answer = machine.unit.translate(&request).unwrap();
        assert_eq!((answer.permissions, answer.privileged), (supervisor, true));
        machine.submit_wide(&[descriptor::pasid_iotlb(5, 7)]);
    }
    assert_eq!(machine.take_faults(), []);
}

#[test]
fn permission_to_execute_is_given_to_who_asks() {
    let (machine, _, table) = machine();
    machine.map_first_stage(table, 0x1000, DATA | PWU);
    machine.map_first_stage(table, 0x2000, DATA | PWU | NO_EXECUTE);
    let execute = TranslationRequest { execute: true, ..WITH_PASID };
    assert_eq!(machine.unit.translate(&execute).unwrap().permissions, Permissions::all());
    let execute = TranslationRequest { iova: Iova(0x2000), ..execute };
    assert_eq!(machine.unit.translate(&execute).unwrap().permissions, READ_WRITE);
    assert_eq!(machine.unit.translate(&WITH_PASID).unwrap().permissions, READ_WRITE);
}

#[test]
fn a_page_is_dirty_once_it_may_be_written() {
    let (machine, _, table) = machine();
    let entry = machine.first_stage_entry(table, 4, 0x1000, Level::PAGE);
    let marks = || machine.read_memory(entry) & (ACCESSED | DIRTY);
    machine.write_memory(entry, DATA | PWU);
    let no_write = TranslationRequest { no_write: true, ..WITH_PASID };
    assert_eq!(machine.unit.translate(&no_write).unwrap().permissions, Permissions::READ);
    assert_eq!(marks(), ACCESSED);
    assert_eq!(machine.unit.translate(&WITH_PASID).unwrap().permissions, READ_WRITE);
    assert_eq!(marks(), ACCESSED | DIRTY);
    assert_eq!(machine.unit.translate(&no_write).unwrap().permissions, Permissions::READ);

    machine.write_memory(entry, DATA | P | USER);
    machine.submit_wide(&[descriptor::pasid_iotlb(5, 7)]);
    assert_eq!(machine.unit.translate(&WITH_PASID).unwrap().permissions, Permissions::READ);
    assert_eq!(marks(), ACCESSED);
}

#[test]
fn without_the_feature_the_no_write_flag_means_nothing() {
    let machine = Machine::with(EVERYTHING.without(Feature::NoWrite));
    let (directory, table) = (machine.table(), machine.table());
    machine.scalable_context(SOURCE, [directory | DEVICE_TLB | PASIDS | 1, 0, 0, 0]);
    machine.pasid_entry(directory, 7, [FIRST_STAGE | 1, 5 | WALK_SNOOP, table, 0, 0, 0, 0, 0]);
    machine.enable_scalable();
    machine.map_first_stage(table, 0x1000, DATA | PWU);
    let no_write = TranslationRequest { no_write: true, ..WITH_PASID };
    assert_eq!(machine.unit.translate(&no_write).unwrap().permissions, READ_WRITE);
}

#[test]
fn what_pages_lack_is_an_answer_and_no_fault() {
    let (machine, directory, table) = machine();
    let second = machine.table();
    machine.pasid_entry(directory, 0, [SECOND_STAGE | WIDTH_48 | second | 1, 6, 0, 0, 0, 0, 0, 0]);
    machine.map(second, 0x2000, DATA | W);
    machine.map_first_stage(table, 0x2000, DATA | P);
    let ask = |request, iova| machine.unit.translate(&TranslationRequest { iova: Iova(iova), ..request });
    assert_eq!(ask(WITH_PASID, 0x1000), Ok(nothing(0x1000)));
    assert_eq!(ask(WITH_PASID, 0x2000), Ok(nothing(0x2000)));
    assert_eq!(ask(WITH_PASID, 1 << 47), Ok(nothing(1 << 47)));
    assert_eq!(ask(PLAIN, 0x1FFF), Ok(nothing(0x1000)));
    assert_eq!(ask(PLAIN, 1 << 48), Ok(nothing(1 << 48)));
    assert_eq!(ask(PLAIN, 0x2000).unwrap().permissions, Permissions::WRITE);
    assert_eq!(machine.take_faults(), []);
}

#[test]
fn tables_that_cannot_be_used_are_a_recorded_refusal() {
    let (machine, directory, table) = machine();
    machine.map_first_stage(table, 0x1000, DATA | PWU | 1 << 50);
    machine.map_first_stage(table, 0x2000, 0xFEE0_0000 | PWU);
    machine.pasid_entry(directory, 8, [FIRST_STAGE | 1, 5, 1 << 40, 0, 0, 0, 0, 0]);
    machine.pasid_entry(directory, 9, [1 | 1 << 5, 5, 0, 0, 0, 0, 0, 0]);
    machine.pasid_entry(directory, 10, [FIRST_STAGE | 1, 5 | WALK_SNOOP, table, 0, 0, 0, 0, 0]);
    let aborted = Err(TranslationError::Aborted);
    let unsupported = Err(TranslationError::Unsupported);
    let pasid = |pasid| TranslationRequest { pasid: Some(Pasid(pasid)), ..PLAIN };
    for (request, answer, reason) in [
        (WITH_PASID, aborted, 0x72),
        (TranslationRequest { iova: Iova(0x2000), ..WITH_PASID }, aborted, 0x87),
        (pasid(8), aborted, 0x73),
        (pasid(9), aborted, 0x5A),
        (pasid(11), unsupported, 0x59),
        (pasid(0x50), unsupported, 0x51),
        (pasid(0x2000), unsupported, 0x46),
        (TranslationRequest { privileged: true, ..pasid(10) }, unsupported, 0x5D),
        (TranslationRequest { execute: true, ..pasid(10) }, unsupported, 0x5C),
        (TranslationRequest { source: crate::SourceId(0), ..PLAIN }, unsupported, 0x39),
    ] {
        assert_eq!(machine.unit.translate(&request), answer, "{request:?}");
        let faults = machine.take_faults();
        assert_eq!(faults.len(), 1);
        assert_eq!((faults[0].reason, faults[0].info), (reason, request.iova.0), "{request:?}");
    }
}

#[test]
fn a_context_entry_decides_who_may_ask() {
    let (machine, directory, _) = machine();
    machine.pasid_entry(directory, 0, [PASS_THROUGH | 1, 5, 0, 0, 0, 0, 0, 0]);
    let answer = machine.unit.translate(&PLAIN).unwrap();
    assert_eq!((answer.address.0, answer.size, answer.permissions), (0x1000, 0x1000, READ_WRITE));
    machine.scalable_context(SOURCE, [directory | 1, 0, 0, 0]);
    machine.submit_wide(&[descriptor::context_global()]);
    assert_eq!(machine.unit.translate(&PLAIN), Err(TranslationError::Unsupported));
    assert_eq!(machine.take_faults()[0].reason, 0x44);
}

#[test]
fn a_fault_record_shows_a_translation_request() {
    let (machine, _, _) = machine();
    let request = TranslationRequest { pasid: Some(Pasid(0xB)), privileged: true, execute: true, ..PLAIN };
    machine.unit.translate(&request).unwrap_err();
    let high = machine.read_u64(EVERYTHING.fault_record_offset() + 8);
    // F, T1 (a read), AT = 01b, PV, PP, EXE, PRIV.
    let expected = 1 << 63 | 1 << 62 | 1 << 60 | 0xB << 40 | 1 << 31 | 1 << 30 | 1 << 29;
    assert_eq!(high & !(0xFF << 32) & !0xFFFF, expected);
}

#[test]
fn legacy_mode_answers_where_its_context_entry_allows() {
    let machine = Machine::with(EVERYTHING);
    let table = machine.table();
    machine.map(table, 0x1000, DATA | R);
    for (kind, reason) in [(0, Some(0x0D)), (1, None), (2, Some(0x0D))] {
        machine.context(SOURCE, [table | kind << 2 | 1, 2 | 5 << 8]);
        machine.enable_translation();
        let answer = machine.unit.translate(&PLAIN);
        assert_eq!(
            answer.map(|answer| answer.permissions).ok(),
            reason.is_none().then_some(Permissions::READ)
        );
        let reasons: Vec<_> = machine.take_faults().iter().map(|fault| fault.reason).collect();
        assert_eq!(reasons, reason.into_iter().collect::<Vec<_>>());
    }
    assert_eq!(machine.unit.translate(&WITH_PASID), Err(TranslationError::Unsupported));
}

#[test]
fn without_translation_and_in_abort_mode_there_is_no_answer() {
    let (machine, _, _) = machine();
    machine.set_table_mode(3);
    assert_eq!(machine.unit.translate(&PLAIN), Err(TranslationError::Aborted));
    let machine = Machine::with(EVERYTHING);
    assert_eq!(machine.unit.translate(&PLAIN), Err(TranslationError::Unsupported));
    assert_eq!(machine.take_faults(), []);
}

#[test]
fn the_interrupt_range_is_for_untranslated_requests() {
    let (machine, directory, table) = machine();
    machine.pasid_entry(directory, 0, [PASS_THROUGH | 1, 5, 0, 0, 0, 0, 0, 0]);
    let at = |request, iova| machine.unit.translate(&TranslationRequest { iova: Iova(iova), ..request });
    let answer = at(PLAIN, 0xFEE1_2345).unwrap();
    let expected =
        Translation { untranslated_only: true, ..answer_at(Iova(0xFEE1_2000), Permissions::WRITE) };
    assert_eq!(answer, expected);
    // With PASID it is a range like any other.
    assert_eq!(at(WITH_PASID, 0xFEE1_2345), Ok(nothing(0xFEE1_2000)));
    // A large page with the range in it is not given as a whole.
    let entry = machine.first_stage_entry(table, 4, 0, Level::PAGE_2M);
    machine.write_memory(entry, 0xFEE0_0000 | LARGE | PWU);
    let answer = at(WITH_PASID, 0x10_0000).unwrap();
    assert_eq!((answer.address.0, answer.size), (0xFEF0_0000, 0x1000));
    assert_eq!(at(WITH_PASID, 0xF_F000), Err(TranslationError::Aborted));
}

#[test]
fn a_nested_answer_is_as_large_as_the_smaller_page() {
    let (machine, directory, table) = machine();
    let second = machine.table();
    for level in [0, 1 << 30] {
        machine.write_memory(machine.entry(second, 4, level, Level::PAGE_1G), level | RW | LARGE);
    }
    machine.write_memory(machine.entry(second, 4, 2 << 30, Level::PAGE_2M), 1 << 40 | RW | LARGE);
    machine.pasid_entry(directory, 9, [NESTED | WIDTH_48 | second | 1, 6 | WALK_SNOOP, table, 0, 0, 0, 0, 0]);
    let request = TranslationRequest { pasid: Some(Pasid(9)), ..PLAIN };
    for (target, level, size, address) in
        [(1 << 30, Level::PAGE_2M, 2 << 20, 1 << 30), (2 << 30, Level::PAGE_1G, 2 << 20, 1 << 40)]
    {
        let iova = u64::from(level.number()) << 39;
        machine.write_memory(machine.first_stage_entry(table, 4, iova, level), target | LARGE | PWU);
        let answer = machine.unit.translate(&TranslationRequest { iova: Iova(iova), ..request }).unwrap();
        assert_eq!((answer.size, answer.address.0), (size, address));
    }
}

#[test]
fn a_large_page_around_the_interrupt_range_is_whole_only_with_pasid() {
    let (machine, directory, table) = machine();
    let second = machine.table();
    machine.pasid_entry(directory, 0, [SECOND_STAGE | WIDTH_48 | second | 1, 6, 0, 0, 0, 0, 0, 0]);
    machine.write_memory(machine.entry(second, 4, 0xC000_0000, Level::PAGE_1G), 1 << 40 | RW | LARGE);
    let entry = machine.first_stage_entry(table, 4, 0xC000_0000, Level::PAGE_1G);
    machine.write_memory(entry, 1 << 40 | LARGE | PWU);
    for (request, address, size) in
        [(PLAIN, 1 << 40 | 0x3F00_0000, Level::PAGE), (WITH_PASID, 1 << 40, Level::PAGE_1G)]
    {
        let answer = machine.unit.translate(&TranslationRequest { iova: Iova(0xFF00_0000), ..request });
        let answer = answer.unwrap();
        assert_eq!((answer.address.0, answer.size), (address, size.span()));
    }
}

#[test]
fn a_nested_page_is_dirty_only_if_both_stages_may_write_it() {
    let (machine, directory, table) = machine();
    let second = machine.table();
    machine.write_memory(machine.entry(second, 4, 0, Level::PAGE_1G), RW | LARGE);
    let entry = machine.entry(second, 4, 1 << 30, Level::PAGE_2M);
    let marks = || machine.read_memory(entry) & (SECOND_ACCESSED | SECOND_DIRTY);
    let kind = NESTED | WIDTH_48 | SECOND_STAGE_DIRTY;
    machine.pasid_entry(directory, 9, [kind | second | 1, 6 | WALK_SNOOP, table, 0, 0, 0, 0, 0]);
    let request = TranslationRequest { pasid: Some(Pasid(9)), ..PLAIN };
    machine.write_memory(entry, 1 << 40 | RW | LARGE);
    for (iova, flags, permissions, expected) in [
        (0x1000, P | USER, Permissions::READ, SECOND_ACCESSED),
        (0x2000, PWU, READ_WRITE, SECOND_ACCESSED | SECOND_DIRTY),
    ] {
        machine.map_first_stage(table, iova, 1 << 30 | flags);
        let answer = machine.unit.translate(&TranslationRequest { iova: Iova(iova), ..request }).unwrap();
        assert_eq!(answer.permissions, permissions);
        assert_eq!(marks(), expected);
    }
}
