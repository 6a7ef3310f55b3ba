use std::time::{Duration, Instant};

use iommu::{GuestAddress, MsiMessage};
use vm_memory::Bytes;

use super::*;
use crate::testing::Bench;

mod services;

/// Where its script lies.
const SCRIPT: u64 = 0x8000;

struct Device {
    bench: Bench,
    probe: Probe,
}

/// A probe over 1 MiB of memory and no unit, with its BARs and bus mastering on.
fn device() -> Device {
    with(Bench::new(&[(0, 1 << 20)]))
}

fn with(bench: Bench) -> Device {
    let probe = Probe::new(bench.another_master(), Some(ExpressKind::IntegratedEndpoint)).unwrap();
    probe.config_write(4, &[0x06, 0]);
    Device { bench, probe }
}

/// A command block: operation, flags, PASID, selector, address, length, offset, operand, compare, repetitions, stride.
#[derive(Clone, Copy, Default)]
struct Block {
    operation: u32,
    flags: u32,
    pasid: u32,
    selector: u32,
    address: u64,
    length: u32,
    offset: u32,
    operand: u64,
    compare: u64,
    repetitions: u32,
    stride: u64,
}

impl Block {
    fn bytes(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[..4].copy_from_slice(&self.operation.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.flags.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.pasid.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.selector.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.address.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.length.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.offset.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.operand.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.compare.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.repetitions.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.stride.to_le_bytes());
        bytes
    }
}

/// Status, reason and value of an answer.
type Answer = (u32, u32, u64);

impl Device {
    fn write(&self, offset: u64, value: u32) {
        self.probe.bar_write(0, offset, &value.to_le_bytes());
    }

    fn read(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.probe.bar_read(0, offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn wait(&self) {
        let begin = Instant::now();
        while self.read(at::STATUS) & status::BUSY != 0 {
            assert!(begin.elapsed() < Duration::from_secs(10), "the run does not end");
            std::thread::yield_now();
        }
    }

    fn start(&self, block: &Block) {
        for (bytes, offset) in block.bytes().chunks_exact(4).zip((at::BLOCK..).step_by(4)) {
            self.probe.bar_write(0, offset, bytes);
        }
        self.write(at::DOORBELL, 1);
    }

    fn run(&self, block: &Block) -> Answer {
        self.start(block);
        self.wait();
        let value = u64::from(self.read(0xC8)) | u64::from(self.read(0xCC)) << 32;
        (self.read(0xC0), self.read(0xC4), value)
    }

    fn script(&self, blocks: &[Block]) {
        for (block, address) in blocks.iter().zip((SCRIPT..).step_by(128)) {
            self.bench.memory.write_slice(&block.bytes(), GuestAddress(address)).unwrap();
        }
        self.probe.bar_write(0, at::SCRIPT, &SCRIPT.to_le_bytes());
        self.write(at::SCRIPT_COUNT, blocks.len() as u32);
        self.write(at::DOORBELL, 2);
        self.wait();
    }

    /// The status that block `index` of the script was given.
    fn status(&self, index: u64) -> u32 {
        self.memory(SCRIPT + index * 128 + 64)
    }

    fn memory<T: vm_memory::ByteValued>(&self, address: u64) -> T {
        self.bench.memory.read_obj(GuestAddress(address)).unwrap()
    }
}

const DONE: Answer = (1, 0, 0);

#[test]
fn it_is_what_drivers_look_for() {
    let device = device();
    let mut ids = [0; 4];
    device.probe.config_read(0, &mut ids);
    assert_eq!(ids, [0x34, 0x12, 0xB0, 0x50]);
    assert_eq!((device.read(0), device.read(4), device.read(8)), (0x424F_5250, 1, 0x1_0000));
    assert_eq!(device.probe.bars()[0].unwrap().length, 0x2_0000);
}

#[test]
fn memory_goes_to_the_buffer_and_back() {
    let device = device();
    let data: Vec<u8> = (0..5000).map(|n| (n % 251) as u8).collect();
    device.bench.memory.write_slice(&data, GuestAddress(0x1_0003)).unwrap();
    let block = Block { operation: 1, address: 0x1_0003, length: 5000, offset: 0x80, ..Block::default() };
    assert_eq!(device.run(&block), (1, 0, 0x0706_0504_0302_0100));
    let mut first = [0; 8];
    device.probe.bar_read(0, BUFFER_BASE + 0x80 + 17, &mut first);
    assert_eq!(first[..], data[17..25]);
    device.probe.bar_write(0, BUFFER_BASE + 0x80, &[0xEE]);
    assert_eq!(device.run(&Block { operation: 2, address: 0x2_0000, ..block }), DONE);
    let mut back = vec![0; 5000];
    device.bench.memory.read_slice(&mut back, GuestAddress(0x2_0000)).unwrap();
    assert_eq!(back[0], 0xEE);
    assert_eq!(back[1..], data[1..]);
}

#[test]
fn a_burst_writes_every_stride() {
    let device = device();
    let block = Block {
        operation: 2,
        flags: 1 << 8,
        address: 0x1_0000,
        length: 8,
        operand: 0x1122,
        repetitions: 5,
        stride: 0x1000,
        ..Block::default()
    };
    assert_eq!(device.run(&block), DONE);
    for page in 0..6 {
        let expected = if page < 5 { 0x1122 } else { 0 };
        assert_eq!(device.memory::<u64>(0x1_0000 + page * 0x1000), expected);
    }
    assert_eq!(device.read(0xF0), 5);
    let long = |offset| u64::from(device.read(offset)) | u64::from(device.read(offset + 4)) << 32;
    let (total, shortest, longest) = (long(0xD8), long(0xE0), long(0xE8));
    assert!(shortest > 0 && shortest <= longest && longest < total, "{shortest} {longest} {total}");
}

#[test]
fn atomic_operations_give_what_was_there() {
    let device = device();
    let block = Block { operation: 3, address: 0x1_0000, length: 8, operand: 7, ..Block::default() };
    device.bench.memory.write_obj(u64::MAX, GuestAddress(0x1_0000)).unwrap();
    assert_eq!(device.run(&block), (1, 0, u64::MAX));
    assert_eq!(device.run(&Block { operation: 4, ..block }), (1, 0, 6));
    assert_eq!(device.run(&Block { operation: 5, operand: 9, compare: 8, ..block }), (1, 0, 7));
    assert_eq!(device.run(&Block { operation: 5, operand: 9, compare: 7, ..block }), (1, 0, 7));
    assert_eq!(device.memory::<u64>(0x1_0000), 9);
    // Four bytes leave the next four alone.
    let narrow = Block { operation: 3, length: 4, operand: u64::MAX - 9, ..block };
    assert_eq!(device.run(&narrow), (1, 0, 9));
    assert_eq!(device.memory::<u64>(0x1_0000), 0xFFFF_FFFF);
    assert_eq!(device.run(&Block { address: 0x1_0004, ..block }), (5, 0, 0));
}

#[test]
fn commands_that_make_no_sense_do_nothing() {
    let device = device();
    let write =
        Block { operation: 2, flags: 1 << 8, operand: 1, length: 8, address: 0x1_0000, ..Block::default() };
    let wrong = [
        Block { operation: 99, ..write },
        Block { flags: 1 << 31, ..write },
        Block { length: 0x1_0001, ..write },
        Block { offset: 0xFFF9, ..write },
        Block { offset: u32::MAX, ..write },
        Block { pasid: 1 << 20, ..write },
        Block { repetitions: u32::MAX, ..write },
        Block { operation: 3, length: 2, ..write },
        Block { operation: 6, selector: 1 << 16, ..write },
    ];
    for (index, block) in wrong.iter().enumerate() {
        assert_eq!(device.run(block), (2, 0, 0), "number {index}");
    }
    assert_eq!(device.memory::<u64>(0x1_0000), 0);
    assert_eq!(device.run(&write), DONE);
}

#[test]
fn nothing_is_sent_that_is_not_enabled() {
    let device = device();
    let write = Block { operation: 2, length: 8, address: 0x1_0000, ..Block::default() };
    for flags in [1, 1 << 1, 1 << 2, 1 << 3] {
        assert_eq!(device.run(&Block { flags, ..write }), (3, 0, 0), "flags {flags:#x}");
    }
    device.probe.config_write(4, &[0x02, 0]);
    assert_eq!(device.run(&write), (3, 0, 0));
}

#[test]
fn interrupts_come_by_msix_or_by_any_write() {
    let device = device();
    let write = Block {
        operation: 2,
        flags: 1 << 8,
        address: 0xFEE0_1000,
        length: 4,
        operand: 0x55,
        ..Block::default()
    };
    assert_eq!(device.run(&write), DONE);
    assert_eq!(device.bench.interrupts.take(), [MsiMessage { address: 0xFEE0_1000, data: 0x55 }]);
    assert_eq!(device.run(&Block { length: 8, ..write }), (6, 0, 0));

    // Vector 3, and MSI-X enabled.
    device.probe.bar_write(2, 0x30, &0xFEE0_2000u32.to_le_bytes());
    device.probe.bar_write(2, 0x38, &0x66u32.to_le_bytes());
    device.probe.bar_write(2, 0x3C, &0u32.to_le_bytes());
    let mut at = 0x40;
    while config(&device, at) as u8 != 0x11 {
        at = config(&device, at) >> 8;
    }
    device.probe.config_write(at + 2, &0x8000u16.to_le_bytes());
    let message = MsiMessage { address: 0xFEE0_2000, data: 0x66 };
    assert_eq!(device.run(&Block { operation: 6, selector: 3, ..Block::default() }), DONE);
    assert_eq!(device.bench.interrupts.take(), [message]);
    // And at the end of a run, when told to.
    device.write(at::INTERRUPT, 1 << 31 | 3);
    assert_eq!(device.run(&Block::default()), DONE);
    let begin = Instant::now();
    while device.bench.interrupts.take() != [message] {
        assert!(begin.elapsed() < Duration::from_secs(10), "no interrupt at the end of a run");
    }
}

fn config(device: &Device, offset: u16) -> u16 {
    let mut data = [0; 2];
    device.probe.config_read(offset, &mut data);
    u16::from_le_bytes(data)
}

#[test]
fn a_script_runs_until_a_command_fails() {
    let device = device();
    let write =
        Block { operation: 2, flags: 1 << 8, address: 0x1_0000, length: 8, operand: 1, ..Block::default() };
    let lost = Block { address: 1 << 40, ..write };
    let tolerated = Block { flags: 1 << 8 | 1 << 9, ..lost };
    device.script(&[write, tolerated, Block { operand: 2, ..write }, lost, write]);
    assert_eq!([0, 1, 2, 3, 4].map(|index| device.status(index)), [1, 5, 1, 5, 0]);
    assert_eq!((device.read(at::STATUS), device.read(at::FINISHED)), (0, 4));
    assert_eq!(device.memory::<u64>(0x1_0000), 2);
}

#[test]
fn a_script_may_change_itself() {
    let device = device();
    // The first command makes the second one's length 4.
    let change = Block {
        operation: 2,
        flags: 1 << 8,
        address: SCRIPT + 128 + 24,
        length: 4,
        operand: 4,
        ..Block::default()
    };
    let write =
        Block { operation: 2, flags: 1 << 8, address: 0x1_0000, length: 8, operand: u64::MAX, ..change };
    device.script(&[change, write]);
    assert_eq!(device.memory::<u64>(0x1_0000), 0xFFFF_FFFF);
}

#[test]
fn a_script_that_is_not_there_ends_the_run() {
    let device = device();
    device.probe.bar_write(0, at::SCRIPT, &(1u64 << 40).to_le_bytes());
    device.write(at::SCRIPT_COUNT, u32::MAX);
    device.write(at::DOORBELL, 2);
    device.wait();
    assert_eq!(device.read(at::STATUS), status::SCRIPT_FAILED);
}

/// A command that takes much longer than a test may.
const LONG: Block = Block {
    operation: 1,
    flags: 0,
    pasid: 0,
    selector: 0,
    address: 0,
    length: 0x1_0000,
    offset: 0,
    operand: 0,
    compare: 0,
    repetitions: 1 << 20,
    stride: 0,
};

#[test]
fn what_is_running_can_be_stopped() {
    let device = device();
    device.start(&LONG);
    // A second doorbell is not heard meanwhile.
    device.write(at::DOORBELL, 1);
    assert_eq!(device.read(at::STATUS), status::BUSY);
    device.write(at::DOORBELL, 4);
    assert_eq!(device.read(at::STATUS), 0);
    // What was stopped gives no answer to what comes after it.
    assert_eq!(device.run(&Block { operation: 99, ..LONG }), (2, 0, 0));
}

#[test]
fn a_reset_ends_everything() {
    let device = device();
    device.write(at::SCRIPT_COUNT, 7);
    device.probe.bar_write(0, BUFFER_BASE, &[1]);
    device.start(&LONG);
    device.probe.reset();
    assert_eq!((device.read(at::STATUS), device.read(at::SCRIPT_COUNT)), (0, 0));
    device.probe.config_write(4, &[0x06, 0]);
    assert_eq!(device.run(&Block { length: 1, ..Block::default() }), DONE);
    let mut byte = [9];
    device.probe.bar_read(0, BUFFER_BASE, &mut byte);
    assert_eq!(byte, [0]);
}

#[test]
fn it_goes_away_while_it_works() {
    let device = device();
    device.start(&LONG);
    drop(device.probe);
}

#[test]
fn a_unit_judges_its_requests() {
    let (bench, _unit) = Bench::behind_unit(&[(0x8000, 0x2_0000)]);
    let device = with(bench);
    let write =
        Block { operation: 2, flags: 1 << 8, operand: 3, length: 8, address: 0x8000, ..Block::default() };
    assert_eq!(device.run(&write), DONE);
    assert_eq!(device.memory::<u64>(0x2_0000), 3);
    assert_eq!(device.run(&Block { address: 0x9000, ..write }), (4, 5, 0));
}
