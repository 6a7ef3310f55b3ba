use proptest::prelude::*;

use super::*;
use crate::boot::testing::{TestFile, TestMachine, put};

/// A flat file with a header of these words at `offset`.
fn file(offset: usize, flags: u32, addresses: [u32; 5]) -> Vec<u8> {
    let mut file = vec![0; 4096];
    let checksum = 0_u32.wrapping_sub(MAGIC).wrapping_sub(flags);
    put(&mut file, offset, &[MAGIC, flags, checksum].map(u32::to_le_bytes).concat());
    put(&mut file, offset + 12, &addresses.map(u32::to_le_bytes).concat());
    file
}

const ADDRESSES: [u32; 5] = [0x20_0040, 0x20_0000, 0x20_0800, 0x20_2000, 0x20_0080];

fn program(file: &[u8]) -> Result<Program, Problem> {
    let header = Header::find(file)?.expect("there is a header");
    flat(&TestFile::new(file).open(), &header)
}

#[test]
fn the_header_is_found_at_multiples_of_4_in_the_first_8_kib() {
    let found = |offset| Header::find(&file(offset, 3, [0; 5])).unwrap().map(|header| header.offset as usize);
    assert_eq!(found(0), Some(0));
    assert_eq!(found(0x104), Some(0x104));
    assert_eq!(found(8192 - 12), Some(8192 - 12));
    assert_eq!(found(0x102), None);
    assert_eq!(found(8192 - 8), None);
    let mut wrong = file(0, 3, [0; 5]);
    wrong[8] ^= 1;
    assert_eq!(Header::find(&wrong).unwrap(), None, "the checksum is wrong");
}

#[test]
fn what_this_machine_does_not_have_is_refused() {
    let refused = |flags| Header::find(&file(0, flags, [0; 5])).unwrap_err().to_string();
    assert!(refused(4).starts_with("asks for a graphics mode"));
    assert!(refused(8).contains("a feature multiboot does not define"));
    assert!(Header::find(&file(0, 1 << 17, [0; 5])).is_ok(), "what need not be understood");
}

#[test]
fn the_address_fields_say_what_part_of_the_file_goes_where() {
    // The header stands at 0x140 in the file and 0x40 after the start of what is loaded.
    let segment = Segment { offset: 0x100, file_size: 0x800, address: 0x20_0000, memory_size: 0x2000 };
    let expected = Program { entry: 0x20_0080, segments: vec![segment] };
    assert_eq!(program(&file(0x140, HAS_ADDRESSES, ADDRESSES)).unwrap(), expected);
}

#[test]
fn zeros_mean_the_whole_file_and_nothing_to_clear() {
    let [header, load, _, _, entry] = ADDRESSES;
    let program = program(&file(0x140, HAS_ADDRESSES, [header, load, 0, 0, entry])).unwrap();
    assert_eq!(program.segments[0].file_size, 4096 - 0x100);
    assert_eq!(program.segments[0].memory_size, 4096 - 0x100);
}

#[test]
fn addresses_that_contradict_each_other_are_refused() {
    let refused = |addresses| program(&file(0x20, HAS_ADDRESSES, addresses)).unwrap_err().to_string();
    for addresses in [
        [0x20_0000, 0x20_0004, 0, 0, 0x20_0000],
        [0x20_0040, 0x20_0000, 0, 0, 0x20_0000],
        [0x20_0000, 0x20_0000, 0x1f_ffff, 0, 0x20_0000],
        [0x20_0000, 0x20_0000, 0, 0x1f_ffff, 0x20_0000],
    ] {
        assert!(refused(addresses).contains("contradict each other"), "{addresses:x?}");
    }
    assert!(program(&file(0, 0, [0; 5])).unwrap_err().to_string().contains("has no addresses"));
    let mut cut = file(0, HAS_ADDRESSES, ADDRESSES);
    cut.truncate(31);
    assert!(Header::find(&cut).unwrap_err().to_string().contains("cut off"));
}

proptest! {
    #[test]
    fn any_header_is_survived(flags in any::<u32>(), addresses in any::<[u32; 5]>(), at in 0_usize..1024) {
        let _ = TestMachine::new(8).boot(&file(4 * at, flags, addresses), "");
        let _ = TestMachine::new(8).boot(&file(4 * at, HAS_ADDRESSES, addresses), "");
    }
}
