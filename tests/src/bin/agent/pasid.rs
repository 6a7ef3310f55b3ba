//! Drives a probe by requests with PASID: each PASID is in an address space of its own, and goes from one to another.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::iommufd::Bound;
use crate::memory::{Memory, PAGE, Registers};
use crate::probe::{self, Block, SIZE, register, status};
use crate::vfio::{enable_dma, region};

#[derive(clap::Args)]
pub(crate) struct Pasid {
    /// The function (0000:00:06.0), bound to vfio-pci.
    address: String,
}

/// Where the script stands for requests without PASID.
const SCRIPT: u64 = 0x0300_0000;
/// What stands here is another page in every address space.
const DATA: u64 = 0x7EDC_0000_0000;
const DOORBELL_SCRIPT: u32 = 2;
/// Two PASIDs in two directory entries, and one that leads nowhere.
const ONE: u32 = 5;
const TWO: u32 = 0x1_0006;
const NOWHERE: u32 = 7;

impl Pasid {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let bound = Bound::open(&self.address)?;
        enable_dma(bound.function())?;
        let bar = region(bound.function(), 0)?;
        let registers = Registers::of_file(bound.function(), bar.offset, bar.length as usize)?;
        ensure!(registers.read(register::IDENTITY) == probe::IDENTITY, "{} is no probe", self.address);
        let device = Device { registers, memory: Memory::new(5)? };

        let [plain, one, two] = [bound.new_space()?, bound.new_space()?, bound.new_space()?];
        let [plain_table, one_table, two_table] = [plain, one, two].map(|it| bound.new_table_for_pasids(it));
        bound.map(plain, SCRIPT, &device.memory, 0, PAGE)?;
        for (page, space) in [(1, plain), (2, one), (3, two)] {
            bound.map(space, DATA, &device.memory, page * PAGE, PAGE)?;
        }
        let (one_table, two_table) = (one_table?, two_table?);
        bound.attach(plain_table?, None)?;
        device.expect(None, 1, Some(1))?;
        device.expect(Some(ONE), 2, None)?;
        bound.attach(one_table, Some(ONE)).context("the first PASID")?;
        bound.attach(two_table, Some(TWO)).context("the second PASID")?;
        device.expect(Some(ONE), 3, Some(2))?;
        device.expect(Some(TWO), 4, Some(3))?;
        device.expect(None, 5, Some(1))?;
        device.expect(Some(NOWHERE), 6, None)?;
        println!("@@ pasid: {ONE:#x} and {TWO:#x} each reach a page of their own, {NOWHERE:#x} none");

        bound.unmap(two, DATA, PAGE)?;
        device.expect(Some(TWO), 7, None)?;
        device.expect(Some(ONE), 8, Some(2))?;
        // A first stage tells nobody of what is added.
        bound.map(two, DATA, &device.memory, 4 * PAGE, PAGE)?;
        device.expect(Some(TWO), 9, Some(4))?;
        println!("@@ pasid: what is unmapped for {TWO:#x} is out of its reach, and what is mapped in it");

        bound.attach(two_table, Some(ONE)).context("the first PASID, once more")?;
        device.expect(Some(ONE), 10, Some(4))?;
        bound.detach(TWO)?;
        device.expect(Some(TWO), 11, None)?;
        device.expect(Some(ONE), 12, Some(4))?;
        bound.detach(ONE)?;
        device.expect(Some(ONE), 13, None)?;
        device.expect(None, 14, Some(1))?;
        println!("@@ pasid: replaced, {ONE:#x} reaches the other page, and detached nothing");
        Ok(())
    }
}

/// The probe, and memory for its script and for all that it writes.
struct Device {
    registers: Registers,
    memory: Memory,
}

impl Device {
    /// Has the probe write `mark` and read it back; it is to reach this page, or none.
    fn expect(&self, pasid: Option<u32>, mark: u64, page: Option<usize>) -> anyhow::Result<()> {
        let before: Vec<_> = (1..5).map(|page| self.memory.load(page * PAGE)).collect();
        let of_pasid = |block: Block| pasid.map_or(block, |pasid| block.of_pasid(pasid));
        let write = self.execute(of_pasid(Block::write(DATA, 8, mark)))?;
        let read = self.execute(of_pasid(Block::read(DATA, 8)))?;
        let wanted = if page.is_some() { status::DONE } else { status::BLOCKED };
        for block in [write, read] {
            block.expect(wanted).with_context(|| format!("PASID {pasid:x?}, mark {mark}"))?;
        }
        ensure!(page.is_none() || read.value == mark, "PASID {pasid:x?} reads {}, not {mark}", read.value);
        for (index, before) in (1..5).zip(before) {
            let (found, wanted) =
                (self.memory.load(index * PAGE), if page == Some(index) { mark } else { before });
            ensure!(found == wanted, "PASID {pasid:x?}: page {index} has {found}, not {wanted}");
        }
        Ok(())
    }

    /// Runs one command, and gives its block with the answer.
    fn execute(&self, block: Block) -> anyhow::Result<Block> {
        self.memory.write(0, &block.bytes());
        self.registers.write(register::SCRIPT, SCRIPT as u32);
        self.registers.write(register::SCRIPT + 4, (SCRIPT >> 32) as u32);
        self.registers.write(register::SCRIPT_COUNT, 1);
        self.registers.write(register::DOORBELL, DOORBELL_SCRIPT);
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.registers.read(register::STATUS) & 1 != 0 {
            ensure!(Instant::now() < deadline, "the script does not end");
        }
        let mut bytes = [0; SIZE];
        bytes.copy_from_slice(&self.memory.read(0, SIZE));
        Ok(Block::from_bytes(bytes))
    }
}
