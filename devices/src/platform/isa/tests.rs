use std::sync::atomic::{AtomicU32, Ordering};

use iommu::SourceId;

use super::*;
use crate::platform::testing::{Ignored, RecordedLine, RecordedMessages, outb};
use crate::{InterruptSource, MmioDevice, Remapping};

struct Bench {
    pic: Arc<Pic>,
    ioapic: Arc<IoApic>,
    sent: Arc<RecordedMessages>,
    wires: IsaWires,
}

impl Bench {
    fn new() -> Self {
        let sent = RecordedMessages::new();
        let interrupts = InterruptSource::new(Remapping::Absent, sent.clone());
        let ioapic = IoApic::new(SourceId(0xF8), interrupts, Arc::new(Ignored));
        let pic = Pic::new(RecordedLine::new());
        let wires = IsaWires::new(&pic, &ioapic);
        Self { pic, ioapic, sent, wires }
    }

    fn program(&self, pin: u8, low: u32) {
        self.ioapic.write(0, &[0x10 + 2 * pin]);
        self.ioapic.write(0x10, &low.to_le_bytes());
    }
}

#[test]
fn the_timer_arrives_at_input_0_and_at_pin_2() {
    let bench = Bench::new();
    bench.program(2, 0x30);
    outb(&*bench.pic, 0x21, 0xFE);
    bench.wires.line(IsaInterrupt::TIMER).set(true);
    assert_eq!(bench.sent.taken().len(), 1);
    assert!(bench.pic.pending());
    assert_eq!(bench.pic.acknowledge(), 0x08);
}

#[test]
fn the_cascade_is_no_interrupt_of_a_device() {
    assert_eq!(IsaInterrupt::new(2), None);
    assert_eq!(IsaInterrupt::new(16), None);
    assert_eq!(IsaInterrupt::new(8), Some(IsaInterrupt::CLOCK));
}

#[test]
fn a_device_hears_of_the_end_from_either_controller() {
    let bench = Bench::new();
    let line = bench.wires.line(IsaInterrupt::SYSTEM_CONTROL);
    let ends = Arc::new(AtomicU32::new(0));
    let counted = ends.clone();
    line.on_end(Arc::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    bench.program(9, 0x8041);
    line.set(true);
    bench.ioapic.eoi(0x41);
    assert_eq!(ends.load(Ordering::Relaxed), 1);

    outb(&*bench.pic, 0x21, 0xFB);
    outb(&*bench.pic, 0xA1, 0xFD);
    assert_eq!(bench.pic.acknowledge(), 0x71);
    outb(&*bench.pic, 0xA0, 0x20);
    assert_eq!(ends.load(Ordering::Relaxed), 2);
}
