//! Chapter 11: registers.

use super::support::{Bench, reg};

#[test]
fn s11_2_registers_of_64_bits_are_reached_whole_or_by_halves() {
    let bench = Bench::legacy();
    let cap = bench.get64(reg::CAP);
    assert_eq!(bench.get(reg::CAP), cap as u32);
    assert_eq!(u64::from(bench.get(reg::CAP + 4)), cap >> 32);
    bench.set(reg::RTADDR, 0x1234_5000);
    bench.set(reg::RTADDR + 4, 0x0000_0ABC);
    assert_eq!(bench.get64(reg::RTADDR), 0x0ABC_1234_5000);
}

#[test]
fn s11_2_other_accesses_do_nothing() {
    let bench = Bench::legacy();
    bench.set64(reg::RTADDR, 0xABCD_E000);
    for (offset, length) in [(0x21, 1), (0x22, 2), (0x20, 3), (0x22, 4), (0x24, 8), (0x1C, 8), (0x20, 16)] {
        bench.unit.write(offset, &[0xFF; 16][..length]);
        let mut data = [0xFF; 16];
        bench.unit.read(offset, &mut data[..length]);
        assert_eq!(data[..length], [0; 16][..length], "{length} bytes at {offset:#x}");
    }
    assert_eq!(bench.get64(reg::RTADDR), 0xABCD_E000);
}

#[test]
fn s11_3_registers_that_there_are_not_read_0() {
    let bench = Bench::legacy();
    for offset in [0x04, 0x5C, 0x98, 0x100, 0x300, 0x400, 0xE00, 0xFFC, 0x1000, 0xFFFF_FFFC] {
        bench.set(offset, u32::MAX);
        assert_eq!(bench.get(offset), 0, "{offset:#x}");
    }
}

#[test]
fn s11_4_1_a_version_that_has_register_based_invalidation() {
    let bench = Bench::legacy();
    let version = bench.get(reg::VER);
    assert!((1..6).contains(&(version >> 4)), "{version:#x}");
    assert_eq!(version >> 8, 0);
    bench.set(reg::VER, u32::MAX);
    assert_eq!(bench.get(reg::VER), version);
}

#[test]
fn s11_4_2_capabilities_do_not_change() {
    let bench = Bench::legacy();
    let cap = bench.get64(reg::CAP);
    bench.set64(reg::CAP, !cap);
    assert_eq!(bench.get64(reg::CAP), cap);
    // Fields by which software finds its way.
    assert_eq!(cap & 7, 6, "domains of 16 bits");
    assert_eq!(cap >> 8 & 0x1F, 0b00110, "tables of three and four levels");
    assert_eq!(cap >> 16 & 0x3F, 47, "addresses of 48 bits");
    assert_eq!(cap >> 34 & 0xF, 3, "pages of 2 MiB and 1 GiB");
    assert_eq!(cap & (7 << 13 | 1 << 23 | 1 << 38 | 3 << 57), 0, "reserved bits");
}

#[test]
fn s11_4_3_extended_capabilities_do_not_change() {
    let bench = Bench::legacy();
    let ecap = bench.get64(reg::ECAP);
    bench.set64(reg::ECAP, !ecap);
    assert_eq!(bench.get64(reg::ECAP), ecap);
    assert_eq!(ecap & 0b1011, 0b1011, "coherent, queue, interrupt remapping");
    let reserved = 1 << 5 | 3 << 18 | 1 << 24 | 3 << 27 | 1 << 32 | 0xF << 54 | 0x1F << 59;
    assert_eq!(ecap & reserved, 0, "reserved bits");
}

#[test]
fn s11_4_4_1_commands_are_not_read_back() {
    let (bench, _) = Bench::translating();
    assert_eq!(bench.get(reg::GCMD), 0);
}

#[test]
fn s11_4_4_2_status_follows_commands() {
    let bench = Bench::legacy();
    assert_eq!(bench.get(reg::GSTS), 0);
    bench.set64(reg::RTADDR, bench.root);
    bench.set64(reg::IRTA, bench.interrupts | 7);
    bench.set64(reg::IQA, bench.queue);
    let mut expected = 0;
    for bit in [reg::SRTP, reg::SIRTP, reg::QIE, reg::TE, reg::IRE, reg::CFI] {
        bench.command(bit, true);
        expected |= bit;
        assert_eq!(bench.get(reg::GSTS), expected);
    }
    for bit in [reg::CFI, reg::IRE, reg::TE, reg::QIE] {
        bench.command(bit, false);
        expected &= !bit;
        assert_eq!(bench.get(reg::GSTS), expected);
    }
    bench.set(reg::GSTS, 0);
    assert_eq!(bench.get(reg::GSTS), reg::SRTP | reg::SIRTP, "it is read-only");
}

#[test]
fn s11_4_5_the_root_table_address_reads_back() {
    let bench = Bench::legacy();
    bench.set64(reg::RTADDR, u64::MAX);
    let value = bench.get64(reg::RTADDR);
    assert_eq!(value & 0x3FF, 0, "reserved bits");
    assert_eq!(value >> 12 & 0xF_FFFF_FFFF, 0xF_FFFF_FFFF);
}

#[test]
fn s11_4_5_a_table_mode_that_there_is_not_blocks_every_request() {
    let bench = Bench::legacy();
    for mode in 1..4 {
        bench.translate(mode);
        assert_eq!(bench.read(0x5000), Err(0x30), "TTM {mode}");
        bench.one_fault(0x30);
    }
}

#[test]
fn s11_4_6_1_a_context_command_needs_the_half_with_its_bit() {
    let bench = Bench::legacy();
    bench.set(reg::CCMD, 0x0113_0005);
    assert_eq!(bench.get64(reg::CCMD) >> 63, 0);
    bench.set(reg::CCMD + 4, 1 << 31 | 1 << 29);
    assert_eq!(bench.get(reg::CCMD + 4) >> 27 & 3, 1, "done, globally");
}

#[test]
fn s11_4_6_1_with_the_queue_on_nothing_is_done_but_the_command_ends() {
    let (bench, _) = Bench::translating();
    bench.set64(reg::CCMD, 1 << 63 | 1 << 61);
    assert_eq!(bench.get64(reg::CCMD) >> 59 & 0x13, 0);
}

#[test]
fn s11_4_7_1_status_bits_clear_one_by_one() {
    let (bench, _) = Bench::translating();
    for number in 0..=bench.record_count() {
        assert!(bench.read(number << 12).is_err());
    }
    bench.submit(&[[0xF, 0, 0, 0]]);
    assert_eq!(bench.get(reg::FSTS) & 0xFF, reg::PFO | reg::PPF | reg::IQE);
    bench.set(reg::FSTS, 0);
    bench.set(reg::FSTS, reg::PPF);
    assert_eq!(bench.get(reg::FSTS) & 0xFF, reg::PFO | reg::PPF | reg::IQE);
    bench.set(reg::FSTS, reg::PFO);
    assert_eq!(bench.get(reg::FSTS) & 0xFF, reg::PPF | reg::IQE);
}

#[test]
fn s11_4_7_2_fault_event_registers_keep_what_they_have() {
    let bench = Bench::legacy();
    event_registers(&bench, [reg::FECTL, reg::FEDATA, reg::FEADDR, reg::FEUADDR]);
}

/// Control, data, address and upper address of an event (§11.4.7.2 and those like it).
fn event_registers(bench: &Bench, [control, data, address, upper]: [u64; 4]) {
    assert_eq!(bench.get(control), reg::IM, "masked at reset");
    bench.set(control, !reg::IM);
    assert_eq!(bench.get(control), 0, "only the mask is software's");
    for (offset, kept) in [(data, 0x0000_FFFF), (address, !3), (upper, 0xFFFF_FF00)] {
        bench.set(offset, u32::MAX);
        assert_eq!(bench.get(offset) & kept, kept, "{offset:#x}");
    }
    assert_eq!(bench.get(address) & 3, 0);
}

#[test]
fn s11_4_7_6_of_a_record_only_the_pending_bit_can_be_written() {
    let (bench, _) = Bench::translating();
    assert!(bench.read(0x5000).is_err());
    let at = bench.record_at(0);
    let before = [bench.get64(at), bench.get64(at + 8)];
    bench.set64(at, u64::MAX);
    bench.set(at + 8, u32::MAX);
    bench.set(at + 12, !(1 << 31));
    assert_eq!([bench.get64(at), bench.get64(at + 8)], before);
    bench.set(at + 12, 1 << 31);
    assert_eq!([bench.get64(at), bench.get64(at + 8)], [before[0], before[1] & !(1 << 63)]);
    assert_eq!(bench.get(reg::FSTS), 0);
}

#[test]
fn s11_4_9_1_the_head_is_hardwares() {
    let (bench, _) = Bench::translating();
    bench.set64(reg::IQH, 0x70);
    assert_eq!(bench.get64(reg::IQH), 0);
}

#[test]
fn s11_4_9_2_a_tail_written_before_the_queue_is_on_counts_then() {
    let bench = Bench::legacy();
    let word = bench.page();
    bench.set64(reg::IQA, bench.queue);
    bench.submit(&[[5 | 1 << 5 | 7 << 32, word, 0, 0]]);
    assert_eq!(bench.load(word), 0);
    bench.command(reg::QIE, true);
    assert_eq!(bench.load(word), 7);
    assert_eq!(bench.get64(reg::IQH), 16);
}

#[test]
fn s11_4_9_3_without_scalable_mode_descriptors_have_128_bits() {
    let bench = Bench::legacy();
    bench.set64(reg::IQA, u64::MAX);
    assert_eq!(bench.get64(reg::IQA) & 0xFF8, 0, "DW and the reserved bits");
    assert_eq!(bench.get64(reg::IQA) & 7, 7);
}

#[test]
fn s11_4_9_3_the_size_of_the_queue_is_two_to_the_pages() {
    let bench = Bench::legacy();
    // Pages follow each other.
    let [queue, _] = [bench.page(), bench.page()];
    bench.set64(reg::IQA, queue | 1);
    bench.command(reg::QIE, true);
    for at in (0..0x2000 - 16).step_by(16) {
        bench.store(queue + at, 5 | 1 << 6);
        bench.store(queue + at + 8, 0);
    }
    bench.set(reg::IQT, 0x1FF0);
    assert_eq!(bench.get64(reg::IQH), 0x1FF0);
    assert_eq!(bench.get(reg::FSTS), 0);
}

#[test]
fn s11_4_9_4_the_completion_status_clears_by_writing_one() {
    let (bench, _) = Bench::translating();
    bench.submit(&[[5 | 1 << 4, 0, 0, 0]]);
    bench.set(reg::ICS, 0);
    assert_eq!(bench.get(reg::ICS), 1);
    bench.set(reg::ICS, 1);
    assert_eq!(bench.get(reg::ICS), 0);
}

#[test]
fn s11_4_9_5_invalidation_event_registers_keep_what_they_have() {
    let bench = Bench::legacy();
    event_registers(&bench, [reg::IECTL, reg::IEDATA, reg::IEADDR, reg::IEUADDR]);
}

#[test]
fn s11_4_9_9_the_error_record_says_why() {
    let (bench, _) = Bench::translating();
    assert_eq!(bench.get64(reg::IQERCD), 0);
    bench.submit(&[[0xF, 0, 0, 0]]);
    assert_eq!(bench.get64(reg::IQERCD), 3);
    bench.set64(reg::IQERCD, 0);
    assert_eq!(bench.get64(reg::IQERCD), 3, "it is read-only");
}

#[test]
fn s11_4_10_the_interrupt_table_address_reads_back() {
    let bench = Bench::legacy();
    bench.set64(reg::IRTA, u64::MAX);
    assert_eq!(bench.get64(reg::IRTA) & 0xFFFF, 0xF80F);
}
