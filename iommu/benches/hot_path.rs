//! What every request costs, and what an invalidation costs: `cargo bench -p iommu`.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use criterion::{Criterion, criterion_group, criterion_main};
use iommu::{Access, Capabilities, GuestAddress, Iova, MsiMessage, Request, SourceId, Unit};
use vm_memory::{Bytes, GuestMemoryMmap};

type Memory = Arc<GuestMemoryMmap>;

const SOURCE: SourceId = SourceId(0x0100);
const OTHER: SourceId = SourceId(0x0208);

// Where the tables lie in guest memory.
const ROOT: u64 = 0x1_0000;
const CONTEXT: u64 = 0x1_1000;
const LEVEL_4: u64 = 0x1_2000;
const LEVEL_3: u64 = 0x1_3000;
const LEVEL_2: u64 = 0x1_4000;
const QUEUE: u64 = 0x1_5000;
const INTERRUPTS: u64 = 0x1_6000;
const STATUS: u64 = 0x1_8000;
/// Tables of small pages, each for 2 MiB.
const LEVEL_1: u64 = 0x10_0000;
const DATA: u64 = 0x80_0000;

/// More small pages than the IOTLB holds.
const PAGES: u64 = 32 * 512;

fn write(memory: &Memory, address: u64, value: u64) {
    memory.write_obj(value.to_le(), GuestAddress(address)).expect("Inside memory");
}

/// A unit with everything on, one domain of small pages in four levels for two functions.
fn unit() -> (Memory, Arc<Unit<Memory>>) {
    let ranges = [(GuestAddress(0), 16 << 20)];
    let memory = Arc::new(GuestMemoryMmap::from_ranges(&ranges).expect("16 MiB"));
    for source in [SOURCE, OTHER] {
        write(&memory, ROOT + u64::from(source.bus()) * 16, CONTEXT | 1);
        write(&memory, CONTEXT + u64::from(source.devfn()) * 16, LEVEL_4 | 1);
        write(&memory, CONTEXT + u64::from(source.devfn()) * 16 + 8, 5 << 8 | 2);
    }
    write(&memory, LEVEL_4, LEVEL_3 | 3);
    write(&memory, LEVEL_3, LEVEL_2 | 3);
    for table in 0..PAGES / 512 {
        write(&memory, LEVEL_2 + table * 8, (LEVEL_1 + table * 0x1000) | 3);
    }
    for page in 0..PAGES {
        write(&memory, LEVEL_1 + page * 8, (DATA + page % 512 * 0x1000) | 3);
    }
    write(&memory, INTERRUPTS + 7 * 16, 3 << 32 | 0x41 << 16 | 1);
    write(&memory, INTERRUPTS + 7 * 16 + 8, 1 << 18 | u64::from(SOURCE.0));

    let unit = Arc::new(Unit::new(Arc::clone(&memory), Capabilities::legacy(48)));
    let command = |value: u32| unit.write(0x18, &value.to_le_bytes());
    unit.write(0x90, &QUEUE.to_le_bytes());
    command(1 << 26);
    unit.write(0xB8, &(INTERRUPTS | 1 << 11 | 7).to_le_bytes());
    command(1 << 26 | 1 << 24);
    command(1 << 26 | 1 << 25);
    unit.write(0x20, &ROOT.to_le_bytes());
    command(1 << 26 | 1 << 25 | 1 << 30);
    command(1 << 26 | 1 << 25 | 1 << 31);
    (memory, unit)
}

fn translate(unit: &Unit<Memory>, source: SourceId, iova: u64) -> u64 {
    let reached =
        unit.access(&Request::new(source, Access::Write), Iova(black_box(iova)), 64, |guest, _| guest.0);
    reached.expect("The page is mapped")
}

fn translation(criterion: &mut Criterion) {
    let (_, unit) = unit();
    criterion.bench_function("IOTLB hit", |bencher| {
        bencher.iter(|| translate(&unit, SOURCE, 0x1234));
    });

    criterion.bench_function("IOTLB hit while another thread hits too", |bencher| {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    black_box(translate(&unit, OTHER, 0x5678));
                }
            });
            bencher.iter(|| translate(&unit, SOURCE, 0x1234));
            done.store(true, Ordering::Relaxed);
        });
    });

    criterion.bench_function("IOTLB miss, four levels, cached context", |bencher| {
        let mut page = 0;
        bencher.iter(|| {
            page = (page + 1) % PAGES;
            translate(&unit, SOURCE, page << 12)
        });
    });
}

fn interrupt(criterion: &mut Criterion) {
    let (_, unit) = unit();
    let request = MsiMessage { address: 0xFEE0_0010 | 7 << 5, data: 0 };
    criterion.bench_function("Interrupt remapped", |bencher| {
        bencher.iter(|| unit.remap(SOURCE, black_box(request)).expect("The entry is present"));
    });
}

fn invalidation(criterion: &mut Criterion) {
    let (memory, unit) = unit();
    let mut tail = 0;
    let mut submit = |descriptors: &[[u64; 2]]| {
        for [low, high] in descriptors {
            write(&memory, QUEUE + tail, *low);
            write(&memory, QUEUE + tail + 8, *high);
            tail = (tail + 16) % 0x1000;
        }
        unit.write(0x88, &(tail as u32).to_le_bytes());
    };
    let page = [2 | 3 << 4 | 5 << 16, 0x1000];
    let wait = [5 | 1 << 5 | 1 << 32, STATUS];
    criterion.bench_function("Page-selective descriptor and wait, nothing cached", |bencher| {
        bencher.iter(|| submit(&[page, wait]));
    });
    criterion.bench_function("Page-selective descriptor and wait, and the page used again", |bencher| {
        bencher.iter(|| {
            submit(&[page, wait]);
            translate(&unit, SOURCE, 0x1234)
        });
    });
}

criterion_group!(hot_path, translation, interrupt, invalidation);
criterion_main!(hot_path);
