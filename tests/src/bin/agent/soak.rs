//! Maps and unmaps at random what a drive can reach, from two threads, while the drive reads on and on.
//!
//! The pages of the two threads and of the reader are neighbours, so that every invalidation names a range beside what
//! is in use. What was just mapped must be reachable, and what was just unmapped must not.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};

use crate::nvme::drive::{BLOCK, Drive};
use crate::vfio::{Container, Memory, PAGE};

const HUGE: usize = 2 << 20;
/// Threads that map.
const MAPPERS: u64 = 2;
/// Memory that each of them maps from.
const POOL: usize = 8 * HUGE;
/// Where the queues are for the drive.
const QUEUES: u64 = 0x1000_0000;
/// Addresses in slots of 2 MiB: the reader's and the mappers' by turns.
const SLOTS: u64 = 0x1_0000_0000;
/// How many slots each of them has.
const EACH: u64 = 16;
/// Where a mapper maps many single pages and takes them away at once.
const SCATTERED: u64 = 0x4_0000_0000;
/// Bytes of such a place, per mapper, and how many pages it maps there.
const SCATTER: u64 = 1 << 30;
const SINGLES: usize = 256;
/// What the reader reads at once.
const CHUNK: usize = 16 * PAGE;

#[derive(clap::Args)]
pub(crate) struct Soak {
    /// The drive, bound to vfio-pci.
    address: String,
    /// How long, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Also send the drive where nothing is mapped any more. The host's kernel log says so each time.
    #[arg(long)]
    stray: bool,
    /// What all choices follow from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What all threads share.
struct Shared {
    container: Container,
    drive: Mutex<Drive>,
    /// What the drive has in its first page.
    first: Vec<u8>,
    stray: bool,
    end: Instant,
    /// Something went wrong: nobody goes on.
    over: AtomicBool,
    maps: AtomicU64,
    unmaps: AtomicU64,
    reads: AtomicU64,
    strays: AtomicU64,
}

impl Soak {
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let container = Container::new()?;
        let drive = Drive::start(&container, &self.address, QUEUES)?;
        let buffer = Memory::new(CHUNK / PAGE + 1)?;
        // The reader's slots are those that no mapper has; its buffer is at the end of one, its list before the next.
        let data = SLOTS + MAPPERS * HUGE as u64 + (HUGE - CHUNK) as u64;
        let list = SLOTS + (2 * MAPPERS + 1) * HUGE as u64;
        container.map(data, &buffer, 0, CHUNK)?;
        container.map(list, &buffer, CHUNK, PAGE)?;
        for page in 1..CHUNK / PAGE {
            let entry = data + (page * PAGE) as u64;
            buffer.write(CHUNK + (page - 1) * 8, &entry.to_le_bytes());
        }
        let blocks = drive.blocks(&buffer, 0, data)?;
        let status = drive.read(0, (PAGE / BLOCK) as u32, data, 0)?;
        ensure!(status == 0, "the first read ended with status {status:#x}");
        let shared = Shared {
            container,
            drive: Mutex::new(drive),
            first: buffer.read(0, PAGE),
            stray: self.stray,
            end: Instant::now() + Duration::from_secs(self.seconds),
            over: false.into(),
            maps: 0.into(),
            unmaps: 0.into(),
            reads: 0.into(),
            strays: 0.into(),
        };
        let results = std::thread::scope(|scope| {
            let mappers: Vec<_> = (0..MAPPERS)
                .map(|index| {
                    scope.spawn({
                        let shared = &shared;
                        move || shared.ended(mapper(shared, index, self.seed))
                    })
                })
                .collect();
            let reader = shared.ended(reader(&shared, &buffer, data, list, blocks));
            let mut results = vec![reader];
            for mapper in mappers {
                results.push(mapper.join().unwrap_or_else(|_| Err(anyhow!("a thread has panicked"))));
            }
            results
        });
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        println!(
            "@@ figure soak: {} s, {} maps, {} unmaps, {} reads, {} where nothing was mapped",
            self.seconds,
            count(&shared.maps),
            count(&shared.unmaps),
            count(&shared.reads),
            count(&shared.strays)
        );
        results.into_iter().collect::<anyhow::Result<()>>()?;
        println!("@@ soak: every read came, and nothing else");
        Ok(())
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        Instant::now() < self.end && !self.over.load(Ordering::Relaxed)
    }

    /// What a thread ended with; the others end as well if that was badly.
    fn ended(&self, result: anyhow::Result<()>) -> anyhow::Result<()> {
        if result.is_err() {
            self.over.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Has the drive put its first page at `iova`; whether it says that it has.
    fn read_first(&self, iova: u64) -> anyhow::Result<bool> {
        let drive = self.drive.lock().map_err(|_| anyhow!("a thread has panicked"))?;
        Ok(drive.read(0, (PAGE / BLOCK) as u32, iova, 0)? == 0)
    }
}

/// Reads the drive from end to end, again and again. What it read once must stay the same.
fn reader(shared: &Shared, buffer: &Memory, data: u64, list: u64, blocks: u64) -> anyhow::Result<()> {
    let at_once = (CHUNK / BLOCK) as u64;
    let mut known = BTreeMap::new();
    let mut told = Instant::now();
    for first in (0..blocks / at_once).cycle().map(|chunk| chunk * at_once) {
        if !shared.goes_on() {
            return Ok(());
        }
        let status = {
            let drive = shared.drive.lock().map_err(|_| anyhow!("a thread has panicked"))?;
            drive.read(first, at_once as u32, data, list)?
        };
        ensure!(status == 0, "reading block {first} ended with status {status:#x}");
        let sum = (0..CHUNK).step_by(8).fold(0_u64, |sum, at| sum.rotate_left(1) ^ buffer.load(at));
        ensure!(*known.entry(first).or_insert(sum) == sum, "block {first} and those after it changed");
        let reads = shared.reads.fetch_add(1, Ordering::Relaxed) + 1;
        if told.elapsed() > Duration::from_mins(1) {
            println!("@@ soak: {reads} reads, {} maps so far", shared.maps.load(Ordering::Relaxed));
            told = Instant::now();
        }
    }
    Ok(())
}

/// A slot's mappings: where, how long, and from which offset of the pool.
type Mappings = Vec<(u64, usize, usize)>;

/// Maps and unmaps until the end, and then everything away.
fn mapper(shared: &Shared, index: u64, seed: u64) -> anyhow::Result<()> {
    let memory = Memory::untouched(POOL / PAGE + HUGE / PAGE)?;
    memory.advise(libc::MADV_HUGEPAGE)?;
    let start = (memory.address().next_multiple_of(HUGE as u64) - memory.address()) as usize;
    for offset in (0..memory.len()).step_by(PAGE) {
        memory.write(offset, &[0]);
    }
    let mut mapper = Mapper { shared, memory, start, random: Random(seed << 8 | (index + 1)) };
    let mut slots: Vec<Mappings> = vec![Vec::new(); EACH as usize];
    while shared.goes_on() {
        let slot = mapper.random.below(EACH);
        let iova = SLOTS + (slot * (MAPPERS + 1) + index) * HUGE as u64;
        let mappings = &mut slots[slot as usize];
        match mapper.random.below(16) {
            0 => mapper.scatter(SCATTERED + index * SCATTER)?,
            _ if mappings.is_empty() => *mappings = mapper.fill(iova)?,
            1..=6 => mapper.clear(iova, std::mem::take(mappings))?,
            7..=12 => mapper.take_apart(std::mem::take(mappings))?,
            _ => {
                mapper.clear(iova, std::mem::take(mappings))?;
                *mappings = mapper.fill(iova)?;
            }
        }
    }
    for (slot, mappings) in slots.into_iter().enumerate().filter(|(_, mappings)| !mappings.is_empty()) {
        let iova = SLOTS + (slot as u64 * (MAPPERS + 1) + index) * HUGE as u64;
        mapper.clear(iova, mappings)?;
    }
    Ok(())
}

struct Mapper<'a> {
    shared: &'a Shared,
    memory: Memory,
    /// Where the pool begins in the memory: at a multiple of 2 MiB.
    start: usize,
    random: Random,
}

impl Mapper<'_> {
    /// Fills a slot that is empty: all of it by a huge page, a part of it, or single pages here and there.
    fn fill(&mut self, slot: u64) -> anyhow::Result<Mappings> {
        const PAGES: u64 = (HUGE / PAGE) as u64;
        let mut mappings = Vec::new();
        match self.random.below(3) {
            0 => {
                let offset = self.start + self.random.below((POOL / HUGE) as u64) as usize * HUGE;
                mappings.push((slot, HUGE, offset));
            }
            1 => {
                let first = self.random.below(PAGES);
                let length = (1 + self.random.below(PAGES - first)) as usize * PAGE;
                let room = ((POOL - length) / PAGE) as u64 + 1;
                let offset = self.start + self.random.below(room) as usize * PAGE;
                mappings.push((slot + first * PAGE as u64, length, offset));
            }
            _ => {
                let mut page = self.random.below(4);
                while page < PAGES && mappings.len() < 24 {
                    mappings.push((slot + page * PAGE as u64, PAGE, self.any_page()));
                    page += 1 + self.random.below(40);
                }
            }
        }
        for &(iova, length, offset) in &mappings {
            self.shared.container.map(iova, &self.memory, offset, length)?;
        }
        self.shared.maps.fetch_add(mappings.len() as u64, Ordering::Relaxed);
        let &(iova, length, offset) = mappings.last().context("nothing was mapped")?;
        if self.random.below(4) == 0 {
            let page = self.random.below((length / PAGE) as u64) as usize * PAGE;
            self.memory.write(offset + page, &[0xA5; 64]);
            ensure!(self.shared.read_first(iova + page as u64)?, "a read to {iova:#x} failed");
            let found = self.memory.read(offset + page, PAGE);
            ensure!(found == self.shared.first, "what was mapped at {iova:#x} was not reached");
        }
        Ok(mappings)
    }

    /// Takes all of a slot away at once.
    fn clear(&mut self, slot: u64, mappings: Mappings) -> anyhow::Result<()> {
        self.unmap(slot, HUGE, &mappings)?;
        self.check_unreachable(mappings)
    }

    /// Takes the mappings of a slot away one by one.
    fn take_apart(&mut self, mappings: Mappings) -> anyhow::Result<()> {
        for &(iova, length, offset) in &mappings {
            self.unmap(iova, length, &[(iova, length, offset)])?;
        }
        self.check_unreachable(mappings)
    }

    fn unmap(&self, iova: u64, length: usize, mappings: &[(u64, usize, usize)]) -> anyhow::Result<()> {
        let unmapped = self.shared.container.unmap(iova, length)?;
        let expected: usize = mappings.iter().map(|mapping| mapping.1).sum();
        ensure!(
            unmapped == expected as u64,
            "{unmapped:#x} bytes were unmapped at {iova:#x}, not {expected:#x}"
        );
        self.shared.unmaps.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Now and then sends the drive to a page that was taken away.
    fn check_unreachable(&mut self, mappings: Mappings) -> anyhow::Result<()> {
        if !self.shared.stray || self.random.below(32) != 0 {
            return Ok(());
        }
        let (iova, _, offset) = mappings.into_iter().next().context("nothing was mapped")?;
        let canary = vec![0xC5; PAGE];
        self.memory.write(offset, &canary);
        self.shared.read_first(iova)?;
        ensure!(self.memory.read(offset, PAGE) == canary, "what was unmapped at {iova:#x} was written");
        self.shared.strays.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Many single pages far apart, and one request that takes all of them away.
    fn scatter(&mut self, place: u64) -> anyhow::Result<()> {
        let stride = SCATTER / SINGLES as u64;
        for single in 0..SINGLES as u64 {
            let iova = place + single * stride + self.random.below(stride / PAGE as u64) * PAGE as u64;
            let offset = self.any_page();
            self.shared.container.map(iova, &self.memory, offset, PAGE)?;
        }
        self.shared.maps.fetch_add(SINGLES as u64, Ordering::Relaxed);
        let unmapped = self.shared.container.unmap(place, SCATTER as usize)?;
        ensure!(unmapped == (SINGLES * PAGE) as u64, "{unmapped:#x} bytes were unmapped");
        self.shared.unmaps.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn any_page(&mut self) -> usize {
        self.start + self.random.below((POOL / PAGE) as u64) as usize * PAGE
    }
}

/// Numbers that look random and are the same every time (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
