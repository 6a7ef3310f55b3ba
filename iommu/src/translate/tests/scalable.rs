//! Scalable mode as devices see it.

use crate::spec::registers::{Global, RTADDR};
use crate::spec::second_stage::Level;
use crate::testing::scalable::{
    ACCESSED, DEVICE_TLB, DIRTY, FIRST_STAGE, NESTED, P, PASIDS, PASS_THROUGH, PWU, SECOND_STAGE, SUPERVISOR,
    USER, WALK_SNOOP, WIDTH_48,
};
use crate::testing::{DATA, Machine, R, RW, SOURCE, descriptor};
use crate::{Access, Blocked, Capabilities, Feature, Iova, Pasid, Profile, Request};

const EVERYTHING: Capabilities = Capabilities::new(Profile::Full, 48).with(Feature::DeviceTlb);
const READ: Request = Request::new(SOURCE, Access::Read);
const WRITE: Request = Request::new(SOURCE, Access::Write);
const SEVEN: Pasid = Pasid(7);

/// A machine whose [`SOURCE`] may use PASIDs, and its PASID directory.
fn machine(context_flags: u64) -> (Machine, u64) {
    let machine = Machine::with(EVERYTHING);
    let directory = machine.table();
    machine.scalable_context(SOURCE, [directory | PASIDS | context_flags | 1, 0, 0, 0]);
    machine.enable_scalable();
    machine.enable_wide_queue();
    (machine, directory)
}

fn access(machine: &Machine, request: Request, iova: u64) -> Result<u64, u8> {
    let result = machine.unit.access(&request, Iova(iova), 1, |address, _| address.0);
    result.map_err(|Blocked { reason }| reason)
}

/// The address type, PASID and flags of the one fault record.
fn take_kind(machine: &Machine) -> u64 {
    let offset = EVERYTHING.fault_record_offset();
    let high = machine.read_u64(offset + 8);
    machine.take_faults();
    high & !(0xFF << 32)
}

#[test]
fn every_pasid_has_an_address_space_of_its_own() {
    let (machine, directory) = machine(0);
    let [first, second, behind] = [0; 3].map(|_| machine.table());
    machine.map_first_stage(first, 0x1000, DATA | PWU);
    machine.map(second, 0x1000, (DATA + 0x1000) | RW);
    machine.pasid_entry(directory, 7, [FIRST_STAGE | 1, 5 | WALK_SNOOP, first, 0, 0, 0, 0, 0]);
    machine.pasid_entry(directory, 8, [SECOND_STAGE | WIDTH_48 | second | 1, 6, 0, 0, 0, 0, 0, 0]);
    machine.pasid_entry(directory, 0, [PASS_THROUGH | 1, 7, 0, 0, 0, 0, 0, 0]);
    // The same first stage, behind which tables stay where they are and the page does not.
    for page in (0x10_0000..0x20_0000).step_by(0x1000) {
        machine.map(behind, page, page | RW);
    }
    machine.map(behind, DATA, (DATA + 0x2000) | RW);
    let nested = [NESTED | WIDTH_48 | behind | 1, 8 | WALK_SNOOP, first, 0, 0, 0, 0, 0];
    machine.pasid_entry(directory, 0x1FFF, nested);
    for _ in 0..2 {
        assert_eq!(access(&machine, WRITE.with_pasid(SEVEN), 0x1234), Ok(DATA + 0x234));
        assert_eq!(access(&machine, WRITE.with_pasid(Pasid(8)), 0x1234), Ok(DATA + 0x1234));
        assert_eq!(access(&machine, WRITE.with_pasid(Pasid(0x1FFF)), 0x1234), Ok(DATA + 0x2234));
        assert_eq!(access(&machine, WRITE, 0x1234), Ok(0x1234));
        assert_eq!(access(&machine, WRITE.with_pasid(Pasid(0)), 0x1234), Ok(0x1234));
    }
    for (pasid, reason) in [(9, 0x59), (0x40, 0x51), (0x2000, 0x46), (u32::MAX, 0x46)] {
        assert_eq!(access(&machine, READ.with_pasid(Pasid(pasid)), 0), Err(reason), "{pasid:#x}");
    }
}

#[test]
fn reads_leave_a_page_clean_and_the_first_write_makes_it_dirty() {
    let (machine, directory) = machine(0);
    let table = machine.table();
    machine.pasid_entry(directory, 7, [FIRST_STAGE | 1, 5 | WALK_SNOOP, table, 0, 0, 0, 0, 0]);
    let entry = machine.first_stage_entry(table, 4, 0x1000, Level::PAGE);
    machine.write_memory(entry, DATA | PWU);
    let marks = || machine.read_memory(entry) & (ACCESSED | DIRTY);
    for _ in 0..2 {
        access(&machine, READ.with_pasid(SEVEN), 0x1000).unwrap();
        assert_eq!(marks(), ACCESSED);
    }
    for _ in 0..2 {
        access(&machine, WRITE.with_pasid(SEVEN), 0x1000).unwrap();
        assert_eq!(marks(), ACCESSED | DIRTY);
    }
}

#[test]
fn privilege_counts_with_pasid_only_and_must_be_enabled() {
    let (machine, directory) = machine(0);
    let table = machine.table();
    machine.map_first_stage(table, 0x1000, DATA | P);
    machine.map_first_stage(table, 0x2000, DATA | P | USER);
    machine.pasid_entry(directory, 7, [FIRST_STAGE | 1, 5 | WALK_SNOOP, table, 0, 0, 0, 0, 0]);
    machine.pasid_entry(directory, 8, [FIRST_STAGE | 1, 5 | WALK_SNOOP, table | SUPERVISOR, 0, 0, 0, 0, 0]);
    machine.pasid_entry(directory, 0, [FIRST_STAGE | 1, 5 | WALK_SNOOP, table | SUPERVISOR, 0, 0, 0, 0, 0]);
    let with = |pasid, iova| access(&machine, READ.with_pasid(Pasid(pasid)).privileged(), iova);
    assert_eq!(with(7, 0x2000), Err(0x5D));
    assert_eq!(with(8, 0x1000), Ok(DATA));
    assert_eq!(access(&machine, READ.with_pasid(Pasid(8)), 0x1000), Err(0x81));
    assert_eq!(access(&machine, READ.with_pasid(Pasid(8)), 0x2000), Ok(DATA));
    assert_eq!(access(&machine, READ.privileged(), 0x1000), Err(0x81));
    assert_eq!(access(&machine, READ.with_pasid(Pasid(7)).executing(), 0x2000), Err(0x5C));
    // The context entry gives privilege to requests without PASID.
    machine.scalable_context(SOURCE, [directory | PASIDS | 1, 1 << 20, 0, 0]);
    machine.submit_wide(&[descriptor::context_global()]);
    assert_eq!(access(&machine, READ, 0x1000), Ok(DATA));
}

#[test]
fn the_interrupt_range_is_for_requests_without_pasid() {
    let (machine, directory) = machine(0);
    let table = machine.table();
    machine.map_first_stage(table, 0xFEE0_0000, DATA | PWU);
    machine.pasid_entry(directory, 7, [FIRST_STAGE | 1, 5 | WALK_SNOOP, table, 0, 0, 0, 0, 0]);
    machine.pasid_entry(directory, 0, [PASS_THROUGH | 1, 5, 0, 0, 0, 0, 0, 0]);
    assert_eq!(access(&machine, WRITE.with_pasid(SEVEN), 0xFEE0_0000), Ok(DATA));
    assert_eq!(access(&machine, WRITE.with_pasid(Pasid(0)), 0xFEE0_0000), Err(0x87));
    assert_eq!(access(&machine, READ, 0xFEE0_0000), Err(0x87));
}

#[test]
fn translated_requests_pass_where_a_device_tlb_is_allowed() {
    let (machine, directory) = machine(DEVICE_TLB);
    machine.pasid_entry(directory, 7, [0; 8]);
    // What untranslated requests would meet makes no difference.
    assert_eq!(access(&machine, WRITE.translated(), DATA), Ok(DATA));
    assert_eq!(access(&machine, WRITE.translated().with_pasid(SEVEN), DATA), Ok(DATA));
    assert_eq!(access(&machine, WRITE.translated().with_pasid(Pasid(0x2000)), DATA), Err(0x46));
    assert_eq!(access(&machine, WRITE.translated(), 1 << 48), Err(0x83));
    machine.take_faults();
    assert_eq!(access(&machine, WRITE.translated().with_pasid(SEVEN), 0xFEE0_0000), Err(0x87));
    assert_eq!(take_kind(&machine) >> 60 & 3, 2);

    machine.scalable_context(SOURCE, [directory | PASIDS | 1, 0, 0, 0]);
    machine.submit_wide(&[descriptor::context_global()]);
    assert_eq!(access(&machine, WRITE.translated(), DATA), Err(0x44));
}

#[test]
fn modes_follow_each_other() {
    let (machine, directory) = machine(0);
    let table = machine.table();
    machine.map(table, 0x1000, DATA | RW);
    machine.pasid_entry(directory, 0, [SECOND_STAGE | WIDTH_48 | table | 1, 6, 0, 0, 0, 0, 0, 0]);
    assert_eq!(access(&machine, WRITE, 0x1000), Ok(DATA));
    // What one mode calls a root table with context entries for half a bus is another thing to the other.
    machine.set_table_mode(0);
    assert_ne!(access(&machine, WRITE, 0x1000), Ok(DATA));
    machine.take_faults();
    machine.set_table_mode(3);
    for request in [READ, WRITE.with_pasid(SEVEN), WRITE.translated()] {
        assert_eq!(access(&machine, request, 0x1000), Err(0));
    }
    assert_eq!(machine.take_faults(), []);
    machine.set_table_mode(2);
    assert_eq!(access(&machine, WRITE, 0x1000), Err(0x30));
    assert_eq!(machine.take_faults().len(), 1);
    machine.set_table_mode(1);
    assert_eq!(access(&machine, WRITE, 0x1000), Ok(DATA));

    // The way back through legacy mode, with tables of its own.
    let root = machine.table();
    let contexts = machine.table();
    let second = machine.table();
    machine.map(second, 0x1000, (DATA + 0x3000) | R);
    machine.write_memory(root + u64::from(SOURCE.bus()) * 16, contexts | 1);
    machine.write_memory(contexts + u64::from(SOURCE.devfn()) * 16 + 8, 2 | 6 << 8);
    machine.write_memory(contexts + u64::from(SOURCE.devfn()) * 16, second | 1);
    machine.write_u64(RTADDR, root);
    machine.command(Global::ROOT_POINTER, Global::empty());
    assert_eq!(access(&machine, READ, 0x1000), Ok(DATA + 0x3000));
    assert_eq!(access(&machine, WRITE, 0x1000), Err(0x05));
    assert_eq!(access(&machine, WRITE.with_pasid(SEVEN), 0x1000), Err(0x31));
}

#[test]
fn a_mode_that_a_unit_does_not_have_is_refused() {
    for (profile, modes) in [(Profile::Legacy, &[1, 2, 3][..]), (Profile::SecondStage, &[2, 3])] {
        let machine = Machine::with(Capabilities::new(profile, 48));
        machine.enable_translation();
        for mode in modes {
            machine.set_table_mode(*mode);
            assert_eq!(access(&machine, READ, 0x1000), Err(0x30), "{profile:?} {mode}");
        }
    }
}

#[test]
fn a_fault_of_a_request_with_pasid_says_so() {
    let (machine, directory) = machine(0);
    machine.pasid_entry(directory, 7, [FIRST_STAGE | 1, 5, machine.table() | SUPERVISOR, 0, 0, 0, 0, 0]);
    assert_eq!(access(&machine, WRITE.with_pasid(SEVEN).privileged(), 0x1000), Err(0x71));
    // F, PP, PRIV, PV, SID.
    let expected = 1 << 63 | 1 << 31 | 1 << 29 | 7 << 40 | u64::from(SOURCE.0);
    assert_eq!(take_kind(&machine), expected);
}
