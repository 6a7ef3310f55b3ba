use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::testing::Bench;

const TABLE: Iova = Iova(0x1000);

/// Puts descriptors (address, length, flags, next) into the table.
fn bench(descriptors: &[(u64, u32, u16, u16)]) -> Bench {
    let bench = Bench::new(&[(0x1000, 0x4000)]);
    for (index, (address, length, flags, next)) in descriptors.iter().enumerate() {
        let mut entry = address.to_le_bytes().to_vec();
        entry.extend(length.to_le_bytes());
        entry.extend(flags.to_le_bytes());
        entry.extend(next.to_le_bytes());
        bench.memory.write_slice(&entry, GuestAddress(TABLE.0 + index as u64 * 16)).unwrap();
    }
    bench
}

fn read(bench: &Bench, size: u16, head: u16) -> Result<Chain, QueueError> {
    Chain::read(&bench.master, TABLE, size, head)
}

#[test]
fn buffers_come_in_order_and_by_direction() {
    let bench = bench(&[(0x3000, 16, 1, 2), (0, 0, 0, 0), (0x3100, 8, 1, 3), (0x3200, 4, 2, 0)]);
    let chain = read(&bench, 4, 0).unwrap();
    assert_eq!(chain.head(), 0);
    assert_eq!(chain.readable.parts, [(Iova(0x3000), 16), (Iova(0x3100), 8)]);
    assert_eq!(chain.writable.parts, [(Iova(0x3200), 4)]);
    assert_eq!((chain.readable.length(), chain.writable.length()), (24, 4));
}

#[test]
fn a_loop_ends() {
    let bench = bench(&[(0x3000, 16, 1, 1), (0x3000, 16, 1, 0)]);
    assert!(matches!(read(&bench, 2, 0), Err(QueueError::Chain("a loop"))));
}

#[test]
fn an_index_past_the_table_is_refused() {
    let bench = bench(&[(0x3000, 16, 1, 4)]);
    assert!(matches!(read(&bench, 4, 0), Err(QueueError::Index(4))));
    assert!(matches!(read(&bench, 4, 9), Err(QueueError::Index(9))));
}

#[test]
fn readable_after_writable_and_indirect_are_refused() {
    let bench = bench(&[(0x3000, 16, 1 | 2, 1), (0x3000, 16, 0, 0), (0x3000, 16, 4, 0)]);
    assert!(matches!(read(&bench, 4, 0), Err(QueueError::Chain(_))));
    assert!(matches!(read(&bench, 4, 2), Err(QueueError::Chain(_))));
}

#[test]
fn a_table_out_of_reach_is_an_error() {
    let bench = bench(&[]);
    let read = |table| Chain::read(&bench.master, Iova(table), 4, 3).map(drop);
    assert_eq!(read(0x10_0000), Err(QueueError::Dma(DmaError::Unreachable(0x10_0030))));
    assert_eq!(read(u64::MAX - 15), Err(QueueError::Layout));
}

#[test]
fn bytes_past_the_end_are_nowhere() {
    let bench = bench(&[(0x3000, 4, 0, 0)]);
    let chain = read(&bench, 1, 0).unwrap();
    assert!(chain.readable.read(&bench.master, 1, &mut [0; 4]).is_err());
    assert!(chain.readable.read(&bench.master, 0, &mut [0; 4]).is_ok());
    assert!(chain.writable.write(&bench.master, 0, &[0]).is_err());
    assert!(chain.readable.read(&bench.master, u64::MAX, &mut [0]).is_err());
}

proptest! {
    #[test]
    fn buffers_in_a_row_are_one(
        lengths in prop::collection::vec(0u32..40, 1..8),
        offset in 0u64..100,
        length in 0usize..100,
    ) {
        // Each buffer in its own place, filled with the bytes that one long buffer would have there.
        let bench = Bench::new(&[(0x1000, 0x4000)]);
        let mut buffers = Buffers::default();
        let mut whole = Vec::new();
        for (index, &length) in lengths.iter().enumerate() {
            let at = 0x1000 + index as u64 * 0x100;
            let bytes: Vec<_> = (0..length).map(|i| (whole.len() as u32 + i) as u8).collect();
            bench.memory.write_slice(&bytes, GuestAddress(at)).unwrap();
            buffers.push(Iova(at), length);
            whole.extend(bytes);
        }
        let mut data = vec![0; length];
        let expected = whole.get(offset as usize..).and_then(|rest| rest.get(..length));
        match buffers.read(&bench.master, offset, &mut data) {
            Ok(()) => prop_assert!(expected == Some(&data[..]) || length == 0),
            Err(_) => prop_assert!(expected.is_none()),
        }
    }
}
