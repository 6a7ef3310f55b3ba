//! Drives a probe through VFIO by a script that lies in memory.

use std::io::Read as _;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::probe::{self, Block, SIZE, flag, register, status};
use crate::vfio::{Function, Memory, PAGE};

#[derive(clap::Args)]
pub(crate) struct Probe {
    /// The function (0000:00:06.0), bound to vfio-pci.
    address: String,
}

/// Where the script and what it works on stand for the device, in reach of every table: a first stage of four levels
/// has only 47 bits for users.
const SCRIPT: u64 = 0x0300_0000;
const DATA: u64 = 0x7EDC_0000_0000;
/// A hole next to the data.
const HOLE: u64 = DATA + PAGE as u64;
const DOORBELL_SCRIPT: u32 = 2;
const ADDITIONS: u32 = 1000;
const VECTOR: u32 = 3;

impl Probe {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let function = Function::open(&self.address)?;
        ensure!(function.read(register::IDENTITY) == probe::IDENTITY, "{} is no probe", self.address);
        let memory = Memory::new(3)?;
        function.map(SCRIPT, &memory, 0, PAGE)?;
        // The two pages of data change places on their way.
        function.map(DATA, &memory, 2 * PAGE, PAGE)?;
        function.map(DATA + 2 * PAGE as u64, &memory, PAGE, PAGE)?;
        let pattern: Vec<u8> = (0..PAGE).map(|index| (index * 7 + 3) as u8).collect();
        memory.write(2 * PAGE, &pattern);

        let blocks = [
            Block::read(DATA, PAGE).buffered(0x100),
            Block::write(DATA + 2 * PAGE as u64, PAGE, 0).buffered(0x100),
            Block::read(HOLE, 8).with(flag::GO_ON),
            Block::write(HOLE, PAGE, 0).with(flag::GO_ON),
            Block::write(DATA, 8, 0),
            Block::add(DATA, ADDITIONS),
            Block::interrupt(VECTOR),
        ];
        let mut raised = function.vector(VECTOR)?;
        let blocks = execute(&function, &memory, &blocks)?;
        for (index, block) in blocks.iter().enumerate() {
            block.expect(if [2, 3].contains(&index) { status::BLOCKED } else { status::DONE })?;
        }
        ensure!(memory.read(PAGE, PAGE) == pattern, "the bytes moved are others");
        ensure!(memory.load(2 * PAGE) == u64::from(ADDITIONS), "{} additions", memory.load(2 * PAGE));
        ensure!(memory.read(2 * PAGE + 8, PAGE - 8) == pattern[8..], "a write into the hole went beside it");
        let deadline = Instant::now() + Duration::from_secs(5);
        while raised.read(&mut [0; 8]).is_err() {
            ensure!(Instant::now() < deadline, "the interrupt does not come");
        }
        function.unmap(DATA, PAGE)?;
        let gone = execute(&function, &memory, &[Block::read(DATA, 8)])?;
        gone[0].expect(status::BLOCKED)?;
        println!("@@ probe ran a script of {} commands", blocks.len());
        let Block { total, shortest, longest, .. } = blocks[5];
        println!("@@ probe: {ADDITIONS} additions took {total} ns, each between {shortest} and {longest} ns");
        Ok(())
    }
}

/// Runs a script, and gives its blocks with their answers.
fn execute(function: &Function, memory: &Memory, blocks: &[Block]) -> anyhow::Result<Vec<Block>> {
    for (index, block) in blocks.iter().enumerate() {
        memory.write(index * SIZE, &block.bytes());
    }
    function.write_wide(register::SCRIPT, SCRIPT);
    function.write(register::SCRIPT_COUNT, blocks.len() as u32);
    function.write(register::DOORBELL, DOORBELL_SCRIPT);
    let deadline = Instant::now() + Duration::from_secs(10);
    while function.read(register::STATUS) & 1 != 0 {
        ensure!(Instant::now() < deadline, "the script does not end");
    }
    let (status, finished) = (function.read(register::STATUS), function.read(register::FINISHED));
    ensure!((status, finished) == (0, blocks.len() as u32), "status {status:#x} after {finished} commands");
    let mut bytes = [0; SIZE];
    Ok((0..blocks.len())
        .map(|index| {
            bytes.copy_from_slice(&memory.read(index * SIZE, SIZE));
            Block::from_bytes(bytes)
        })
        .collect())
}
