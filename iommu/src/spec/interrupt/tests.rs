use super::*;

/// An entry for vector 0x35 at destination 0x12345678, open to everyone.
const OPEN: [u64; 2] = [0x1234_5678_0035_0001, 0];

fn with_validation(validation: u64, qualifier: u64, named: u64) -> InterruptEntry {
    InterruptEntry([OPEN[0], validation << 18 | qualifier << 16 | named])
}

#[test]
fn a_request_of_compatibility_format_is_known_by_one_bit() {
    let message = MsiMessage { address: 0xFEE0_1000, data: 0x4041 };
    assert_eq!(InterruptRequest::decode(message), InterruptRequest::Compatibility);
}

#[test]
fn the_index_is_handle_plus_subhandle() {
    let decode = |address, data| match InterruptRequest::decode(MsiMessage { address, data }) {
        InterruptRequest::Remappable { index, reserved } => (index, reserved),
        InterruptRequest::Compatibility => panic!(),
    };
    assert_eq!(decode(0xFEE0_0010 | 0x1234 << 5, 0xFFFF_FFFF), (0x1234, false));
    // Bit 2 is the handle's highest.
    assert_eq!(decode(0xFEE0_0014 | 1 << 5, 0), (0x8001, false));
    assert_eq!(decode(0xFEE0_0018 | 0x10 << 5, 5), (0x15, false));
    // Their sum may lie beyond any table, and does not wrap.
    assert_eq!(decode(0xFEEF_FFFC, 0xFFFF), (0x1_FFFE, false));
    assert_eq!(decode(0xFEE0_0018, 1 << 16), (0, true));
    assert_eq!(decode(1 << 32 | 0xFEE0_0010, 0), (0, true));
}

#[test]
fn the_table_has_as_many_entries_as_its_pointer_says() {
    for size in 0..16 {
        let table = TablePointer(0x10_0000 | size);
        let entries = 2_u32 << size;
        let last = u16::try_from(entries - 1).unwrap();
        assert_eq!(table.entry(last), Some(GuestAddress(0x10_0000 + u64::from(last) * 16)));
        assert!(last.checked_add(1).is_none_or(|next| table.entry(next).is_none()));
    }
    // A table at the end of the address space does not continue at its beginning.
    assert!(TablePointer(!0xFFF | 15).entry(0x8000).unwrap().0 > 0xFFFF_FFFF);
}

#[test]
fn a_message_carries_everything_that_the_entry_says() {
    let message = |low, extended| InterruptEntry([low, 0]).message(extended);
    let expected = MsiMessage { address: 0x1234_5600_FEE7_8000, data: 0x35 };
    assert_eq!(message(OPEN[0], true), expected);
    // Logical, with redirection hint, level, lowest priority.
    let all = OPEN[0] | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5;
    let expected = MsiMessage { address: 0x1234_5600_FEE7_800C, data: 0xC135 };
    assert_eq!(message(all, true), expected);
    // Without extended mode the destination has 8 bits, in another place.
    let expected = MsiMessage { address: 0xFEEA_B000, data: 0x35 };
    assert_eq!(message(0xAB << 40 | 0x35 << 16 | 1, false), expected);
}

#[test]
fn reserved_fields_of_an_entry_are_known() {
    let reserved = |low, high, extended| InterruptEntry([low, high]).reserved(extended, false);
    assert!(!reserved(OPEN[0], 0, true));
    for bit in [12, 13, 14, 15, 24, 31] {
        assert!(reserved(OPEN[0] | 1 << bit, 0, true), "{bit}");
    }
    for bit in [20, 21, 63] {
        assert!(reserved(OPEN[0], 1 << bit, true), "{bit}");
    }
    for bit in [32, 39, 48, 63] {
        assert!(reserved(1 | 1 << bit, 0, false), "{bit}");
        assert!(!reserved(1 | 1 << bit, 0, true), "{bit}");
    }
    for mode in 0..8 {
        assert_eq!(reserved(1 | mode << 5, 0, true), matches!(mode, 3 | 6), "{mode}");
    }
    // Bits for software.
    assert!(!reserved(OPEN[0] | 0xF << 8, 0, true));
}

#[test]
fn a_requester_is_validated_by_its_whole_number_or_without_some_function_bits() {
    let entry = |qualifier| with_validation(1, qualifier, 0x0113);
    for (qualifier, accepted) in [
        (0, &[0x0113][..]),
        (1, &[0x0113, 0x0117]),
        (2, &[0x0111, 0x0113, 0x0115, 0x0117]),
        (3, &[0x0110, 0x0111, 0x0112, 0x0113, 0x0114, 0x0115, 0x0116, 0x0117]),
    ] {
        for source in 0..=u16::MAX {
            assert_eq!(entry(qualifier).accepts(SourceId(source)), accepted.contains(&source), "{source:#x}");
        }
    }
}

#[test]
fn a_bus_range_has_its_start_in_the_upper_byte() {
    let entry = with_validation(2, 0, 0x0507);
    for bus in 0..=255 {
        let expected = (5..=7).contains(&bus);
        assert_eq!(entry.accepts(SourceId(bus << 8 | 0xFF)), expected, "{bus}");
    }
    // The other way round it is empty.
    let reversed = with_validation(2, 0, 0x0705);
    assert!((0..=u16::MAX).all(|source| !reversed.accepts(SourceId(source))));
}

#[test]
fn a_validation_type_without_a_meaning_is_reserved() {
    let entry = with_validation(3, 0, 0x0113);
    assert!(entry.reserved(true, false));
    assert!(!entry.accepts(SourceId(0x0113)));
    assert!(with_validation(0, 0, 0).accepts(SourceId(0x0113)));
}

/// Vector 0x35 to the descriptor at 0x12_3456_7FC0, open to everyone.
const POSTED: [u64; 2] = [0x3456_7FC0 << 32 | 0x35 << 16 | 1 << 15 | 1, 0x12 << 32];

#[test]
fn an_entry_of_posted_format_names_a_descriptor_and_a_vector() {
    let entry = InterruptEntry(POSTED);
    assert!(entry.is_posted() && !entry.urgent() && !entry.reserved(true, true));
    assert_eq!(entry.descriptor().control(), GuestAddress(0x12_3456_7FE0));
    assert_eq!(entry.vector(), 0x35);
    assert!(InterruptEntry([POSTED[0] | 1 << 14, POSTED[1]]).urgent());
}

#[test]
fn reserved_fields_of_posted_format_are_known() {
    let used = [0xFFFF_FFC0_00FF_CF03_u64, 0xFFFF_FFFF_0007_FFFF];
    for (half, used) in used.into_iter().enumerate() {
        for bit in (0..64).filter(|bit| half == 0 || !(18..20).contains(bit)) {
            let mut entry = POSTED;
            entry[half] |= 1 << bit;
            // Both modes have the same fields: where the notification goes is the descriptor's affair.
            for extended in [false, true] {
                let reserved = InterruptEntry(entry).reserved(extended, true);
                assert_eq!(reserved, used & 1 << bit == 0, "{half} {bit}");
            }
        }
    }
    let validation = |svt: u64| InterruptEntry([POSTED[0], POSTED[1] | svt << 18]).reserved(true, true);
    assert_eq!([0, 1, 2, 3].map(validation), [false, false, false, true]);
    assert!(InterruptEntry(POSTED).reserved(true, false), "a unit that does not post does not know it");
}
