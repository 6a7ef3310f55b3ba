use proptest::prelude::*;
use vm_memory::Bytes;

use super::*;
use crate::testing::Bench;

/// Two pages of memory at 0x1000.
fn bench() -> Bench {
    Bench::new(&[(0x1000, 0x2000)])
}

fn registers() -> Registers {
    Registers::new(0x0FFF_FFFF)
}

fn read(registers: &Registers, offset: u64) -> u32 {
    let mut data = [0; 4];
    registers.read(offset, &mut data);
    u32::from_le_bytes(data)
}

fn read_wide(registers: &Registers, offset: u64) -> u64 {
    let mut data = [0; 8];
    registers.read(offset, &mut data);
    u64::from_le_bytes(data)
}

/// A transfer, programmed as a driver does.
fn transfer(registers: &mut Registers, bench: &Bench, from: u64, to: u64, count: u64, command: u64) -> bool {
    for (offset, value) in [(0x80, from), (0x88, to), (0x90, count)] {
        registers.write(offset, &value.to_le_bytes(), &bench.master);
    }
    registers.write(0x98, &command.to_le_bytes(), &bench.master)
}

#[test]
fn it_identifies_itself() {
    assert_eq!(read(&registers(), 0), 0x0100_00ED);
}

#[test]
fn liveness_inverts() {
    let (mut registers, bench) = (registers(), bench());
    registers.write(4, &0x1234_5678u32.to_le_bytes(), &bench.master);
    assert_eq!(read(&registers, 4), !0x1234_5678);
}

#[test]
fn factorials_are_modulo_a_word_and_cost_nothing() {
    let (mut registers, bench) = (registers(), bench());
    for (n, result) in [(0, 1), (5, 120), (12, 479_001_600), (13, 1_932_053_504), (34, 0), (u32::MAX, 0)] {
        assert!(!registers.write(8, &u32::to_le_bytes(n), &bench.master));
        assert_eq!(read(&registers, 8), result, "{n}!");
    }
    assert_eq!(factorial(33), (1..=33u32).fold(1, u32::wrapping_mul));
}

#[test]
fn a_factorial_interrupts_if_asked() {
    let (mut registers, bench) = (registers(), bench());
    registers.write(0x20, &0xFFu32.to_le_bytes(), &bench.master);
    assert_eq!(read(&registers, 0x20), 0x80);
    assert!(registers.write(8, &3u32.to_le_bytes(), &bench.master));
    assert_eq!(read(&registers, 0x24), 1);
}

#[test]
fn causes_add_up_until_acknowledged() {
    let (mut registers, bench) = (registers(), bench());
    assert!(registers.write(0x60, &0x10u32.to_le_bytes(), &bench.master));
    assert!(registers.write(0x60, &0x01u32.to_le_bytes(), &bench.master));
    assert!(!registers.write(0x60, &[0; 4], &bench.master));
    assert_eq!(read(&registers, 0x24), 0x11);
    registers.write(0x64, &0x10u32.to_le_bytes(), &bench.master);
    assert!(registers.pending());
    registers.write(0x64, &0x01u32.to_le_bytes(), &bench.master);
    assert!(!registers.pending());
    assert_eq!((read(&registers, 0x60), read(&registers, 0x64)), (!0, !0));
}

#[test]
fn data_goes_to_the_buffer_and_back() {
    let (mut registers, bench) = (registers(), bench());
    bench.memory.write_slice(&[0xA5; 4096], vm_memory::GuestAddress(0x1800)).unwrap();
    assert!(!transfer(&mut registers, &bench, 0x1800, 0x40000, 4096, 1));
    assert_eq!(read_wide(&registers, 0x98), 0);
    assert!(transfer(&mut registers, &bench, 0x40010, 0x1000, 16, 1 | 2 | 4));
    assert_eq!(read(&registers, 0x24), 0x100);
    let mut data = [0; 17];
    bench.memory.read_slice(&mut data, vm_memory::GuestAddress(0x1000)).unwrap();
    assert_eq!(data[..16], [0xA5; 16]);
    assert_eq!(data[16], 0);
}

#[test]
fn a_transfer_outside_of_the_buffer_moves_nothing_and_ends() {
    let (mut registers, bench) = (registers(), bench());
    for (buffer, count) in
        [(0x3FFFF, 1), (0x40000, 4097), (0x40FFF, 2), (0, 1), (u64::MAX, 1), (0x40001, u64::MAX)]
    {
        assert!(transfer(&mut registers, &bench, 0x1000, buffer, count, 1 | 4), "{buffer:#x} {count:#x}");
        assert!(transfer(&mut registers, &bench, buffer, 0x1000, count, 1 | 2 | 4));
        assert_eq!(read(&registers, 0x98) & 1, 0);
    }
    assert!(registers.buffer.iter().all(|&byte| byte == 0));
}

#[test]
fn a_refused_read_leaves_the_buffer_as_it_was() {
    let (mut registers, bench) = (registers(), bench());
    bench.memory.write_slice(&[7; 0x2000], vm_memory::GuestAddress(0x1000)).unwrap();
    // The second half is not memory.
    assert!(transfer(&mut registers, &bench, 0x2800, 0x40000, 4096, 1 | 4));
    assert!(registers.buffer.iter().all(|&byte| byte == 0));
    bench.master.set_enabled(false);
    transfer(&mut registers, &bench, 0x1000, 0x40000, 16, 1);
    assert!(registers.buffer.iter().all(|&byte| byte == 0));
}

#[test]
fn addresses_are_cut_to_the_lines_there_are() {
    let (mut registers, bench) = (registers(), bench());
    bench.memory.write_slice(&[7; 8], vm_memory::GuestAddress(0x1000)).unwrap();
    transfer(&mut registers, &bench, 0x5_1000_1000, 0x40000, 8, 1);
    assert_eq!(registers.buffer[..8], [7; 8]);
    assert_eq!(reachable(0x0FFF_FFFF, 1, 0x0FFF_FFFF), Some(0x0FFF_FFFF));
    assert_eq!(reachable(0x0FFF_FFFF, 2, 0x0FFF_FFFF), None);
    assert_eq!(reachable(u64::MAX, 2, u64::MAX), None);
}

#[test]
fn halves_of_the_wide_registers() {
    let (mut registers, bench) = (registers(), bench());
    registers.write(0x80, &0x1122_3344_5566_7788u64.to_le_bytes(), &bench.master);
    assert_eq!((read(&registers, 0x80), read(&registers, 0x84)), (0x5566_7788, 0x1122_3344));
    registers.write(0x80, &1u32.to_le_bytes(), &bench.master);
    assert_eq!(read_wide(&registers, 0x80), 1);
    registers.write(0x84, &2u32.to_le_bytes(), &bench.master);
    assert_eq!(read_wide(&registers, 0x80), 0x2_0000_0001);
}

#[test]
fn registers_are_accessed_in_their_size() {
    let (mut registers, bench) = (registers(), bench());
    let mut data = [0; 2];
    registers.read(0, &mut data);
    assert_eq!(data, [0xFF; 2]);
    assert_eq!(read(&registers, 1), !0);
    assert_eq!(read_wide(&registers, 0), !0);
    assert_eq!(read(&registers, 0x9C), 0);
    assert_eq!(read(&registers, 0xA4), !0);
    assert_eq!(read(&registers, 0x40000), !0);
    registers.write(4, &[1], &bench.master);
    registers.write(4, &1u64.to_le_bytes(), &bench.master);
    assert_eq!(read(&registers, 4), 0);
}

proptest! {
    #[test]
    fn no_write_is_too_wild(writes in prop::collection::vec((0u64..0xA0, any::<u64>(), 0usize..=8), 0..64)) {
        let (mut registers, bench) = (registers(), bench());
        for (offset, value, length) in writes {
            registers.write(offset, &value.to_le_bytes()[..length], &bench.master);
            prop_assert_eq!(read(&registers, 0x98) & 1, 0);
        }
    }
}
