use std::io::Write;

use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::tempfile::TempFile;

use super::super::queue::{Layout, Queue};
use super::*;
use crate::testing::Bench;

const LAYOUT: Layout = Layout { size: 8, descriptors: 0x1000, available: 0x2000, used: 0x3000 };
/// Where tests put header, data and status.
const HEADER_AT: u64 = 0x4000;
const DATA_AT: u64 = 0x5000;
const STATUS_AT: u64 = 0x4800;

struct Machine {
    bench: Bench,
    queue: Queue,
    block: Block,
    image: TempFile,
    durable: Features,
}

/// A disk of eight sectors, each filled with its number.
fn machine_with(read_only: bool) -> Machine {
    let image = TempFile::new().unwrap();
    for sector in 0..8u8 {
        image.as_file().write_all(&[sector; 512]).unwrap();
    }
    let disk = Disk::open(image.as_path(), read_only).unwrap();
    Machine {
        bench: Bench::new(&[(0x1000, 0x10000)]),
        queue: Queue::new(LAYOUT).unwrap(),
        block: Block::new(disk, "a serial number that is long"),
        image,
        durable: Features::default(),
    }
}

fn machine() -> Machine {
    machine_with(false)
}

impl Machine {
    /// Submits buffers (address, length, written by the device) as one chain and processes it.
    fn submit(&mut self, buffers: &[(u64, u32, bool)]) -> Result<u32, QueueError> {
        for (index, &(address, length, written)) in buffers.iter().enumerate() {
            let last = index + 1 == buffers.len();
            let flags = u16::from(!last) | u16::from(written) << 1;
            let mut entry = address.to_le_bytes().to_vec();
            entry.extend(length.to_le_bytes());
            entry.extend(flags.to_le_bytes());
            entry.extend((index as u16 + 1).to_le_bytes());
            self.bench
                .memory
                .write_slice(&entry, GuestAddress(LAYOUT.descriptors + index as u64 * 16))
                .unwrap();
        }
        // Every chain begins at descriptor 0.
        let index: u16 = self.bench.memory.read_obj(GuestAddress(LAYOUT.available + 2)).unwrap();
        self.bench.memory.write_obj(index + 1, GuestAddress(LAYOUT.available + 2)).unwrap();
        let chain = self.queue.pop(&self.bench.master)?.unwrap();
        self.block.process(&self.bench.master, &chain, self.durable)
    }

    /// Submits a request as drivers usually lay it out; gives the status byte and the length written.
    fn request(&mut self, kind: u32, sector: u64, data: (u64, u32, bool)) -> (u8, u32) {
        let mut header = kind.to_le_bytes().to_vec();
        header.extend([0; 4]);
        header.extend(sector.to_le_bytes());
        self.bench.memory.write_slice(&header, GuestAddress(HEADER_AT)).unwrap();
        self.bench.memory.write_obj(0xEEu8, GuestAddress(STATUS_AT)).unwrap();
        let mut buffers = vec![(HEADER_AT, 16, false), data, (STATUS_AT, 1, true)];
        buffers.retain(|buffer| buffer.1 > 0);
        let written = self.submit(&buffers).unwrap();
        (self.bench.memory.read_obj(GuestAddress(STATUS_AT)).unwrap(), written)
    }

    fn data(&self, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.bench.memory.read_slice(&mut data, GuestAddress(DATA_AT)).unwrap();
        data
    }

    fn image(&self) -> Vec<u8> {
        std::fs::read(self.image.as_path()).unwrap()
    }
}

const OK: u8 = Status::Done as u8;
const FAILED: u8 = Status::Failed as u8;

#[test]
fn sectors_are_read() {
    let mut machine = machine();
    assert_eq!(machine.request(request::READ, 3, (DATA_AT, 1024, true)), (OK, 1025));
    assert_eq!(machine.data(1024), [[3; 512], [4; 512]].concat());
}

#[test]
fn sectors_are_written() {
    let mut machine = machine();
    machine.bench.memory.write_slice(&[0xAB; 512], GuestAddress(DATA_AT)).unwrap();
    assert_eq!(machine.request(request::WRITE, 7, (DATA_AT, 512, false)), (OK, 1));
    assert_eq!(machine.image()[7 * 512..], [0xAB; 512]);
    assert_eq!(machine.image()[6 * 512..7 * 512], [6; 512]);
    assert_eq!(machine.request(request::FLUSH, 0, (0, 0, false)), (OK, 1));
}

#[test]
fn sectors_that_are_not_there_are_refused() {
    let mut machine = machine();
    let before = machine.image();
    for (sector, length) in
        [(8, 512), (7, 1024), (0, 511), (u64::MAX, 512), (1 << 55, 512), (0, 8 * 512 + 512)]
    {
        assert_eq!(machine.request(request::READ, sector, (DATA_AT, length, true)), (FAILED, 1));
        assert_eq!(machine.request(request::WRITE, sector, (DATA_AT, length, false)), (FAILED, 1));
    }
    assert_eq!(machine.image(), before);
    assert_eq!(machine.request(request::READ, 0, (DATA_AT, 8 * 512, true)).0, OK);
}

#[test]
fn a_read_only_disk_refuses_writes_and_says_so() {
    let mut machine = machine_with(true);
    assert!(Features(machine.block.features()).contains(feature::READ_ONLY));
    assert_eq!(machine.request(request::WRITE, 0, (DATA_AT, 512, false)), (FAILED, 1));
    assert_eq!(machine.request(request::READ, 5, (DATA_AT, 512, true)).0, OK);
}

#[test]
fn the_serial_number_is_twenty_bytes() {
    let mut machine = machine();
    assert_eq!(machine.request(request::GET_ID, 0, (DATA_AT, 20, true)), (OK, 21));
    assert_eq!(machine.data(20), b"a serial number that");
    assert_eq!(machine.request(request::GET_ID, 0, (DATA_AT, 4, true)), (OK, 5));
}

#[test]
fn unknown_requests_are_unsupported() {
    let mut machine = machine();
    let (status, _) = machine.request(11, 0, (DATA_AT, 512, false));
    assert_eq!(status, Status::Unsupported as u8);
}

#[test]
fn any_layout_will_do() {
    let mut machine = machine();
    let header: Vec<_> = [0u64.to_le_bytes(), 2u64.to_le_bytes()].concat();
    machine.bench.memory.write_slice(&header[..5], GuestAddress(HEADER_AT)).unwrap();
    machine.bench.memory.write_slice(&header[5..], GuestAddress(HEADER_AT + 0x100)).unwrap();
    // Header in two parts; data and status in parts that do not match them.
    let buffers = [
        (HEADER_AT, 5, false),
        (HEADER_AT + 0x100, 11, false),
        (DATA_AT, 100, true),
        (DATA_AT + 100, 413, true),
    ];
    assert_eq!(machine.submit(&buffers), Ok(513));
    assert_eq!(machine.data(513), [&[2; 512][..], &[OK]].concat());
}

#[test]
fn requests_that_cannot_be_answered_break_the_queue() {
    assert!(machine().submit(&[(HEADER_AT, 16, false)]).is_err());
    assert!(machine().submit(&[(HEADER_AT, 15, false), (STATUS_AT, 1, true)]).is_err());
    assert!(machine().submit(&[(0x10_0000, 16, false), (STATUS_AT, 1, true)]).is_err());
    assert!(machine().submit(&[(HEADER_AT, 16, false), (0x10_0000, 1, true)]).is_err());
}

#[test]
fn data_out_of_reach_fails_the_request_alone() {
    let mut machine = machine();
    assert_eq!(machine.request(request::READ, 0, (0x10_0000, 512, true)), (FAILED, 1));
    assert_eq!(machine.request(request::WRITE, 0, (0x10_0000, 512, false)), (FAILED, 1));
    assert_eq!(machine.request(request::READ, 1, (DATA_AT, 512, true)).0, OK);
}

#[test]
fn transfers_are_longer_than_a_piece_but_not_endless() {
    let mut machine = machine();
    machine.image.as_file().set_len(64 << 20).unwrap();
    let disk = Disk::open(machine.image.as_path(), false).unwrap();
    machine.bench = Bench::new(&[(0x1000, 40 << 20)]);
    machine.block = Block::new(disk, "");
    assert_eq!(machine.request(request::READ, 0, (DATA_AT, 3 * PIECE as u32 + 512, true)).0, OK);
    let data = machine.data(3 * PIECE + 512);
    assert_eq!(data, machine.image()[..data.len()]);
    assert_eq!(machine.request(request::READ, 0, (DATA_AT, 32 << 20, true)).0, OK);
    assert_eq!(machine.request(request::READ, 0, (DATA_AT, (32 << 20) + 512, true)).0, FAILED);
}

#[test]
fn the_configuration_tells_size_and_limits() {
    let config = machine().block.config();
    assert_eq!(config[..8], 8u64.to_le_bytes());
    assert_eq!(config[8..12], SEGMENT_LENGTH.to_le_bytes());
    assert_eq!(config[12..16], 254u32.to_le_bytes());
}

#[test]
fn an_image_that_ends_inside_a_sector_is_refused() {
    let image = TempFile::new().unwrap();
    image.as_file().set_len(513).unwrap();
    let error = Disk::open(image.as_path(), true).unwrap_err();
    assert!(error.to_string().contains("513 bytes"), "{error}");
    assert!(matches!(Disk::open("/nowhere".as_ref(), true), Err(crate::virtio::DiskError::Open { .. })));
}
