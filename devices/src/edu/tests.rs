use pci::Bdf;
use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::testing::{Bench, Wire};

struct Device {
    bench: Bench,
    wire: Arc<Wire>,
    edu: Edu,
}

/// A device whose memory is at 0x1000 and whose BAR and bus mastering are on.
fn device() -> Device {
    let bench = Bench::new(&[(0x1000, 0x1000)]);
    let wire = Arc::new(Wire::default());
    let edu =
        Edu::new(bench.another_master(), wire.clone(), Some(ExpressKind::IntegratedEndpoint), Edu::DMA_MASK)
            .unwrap();
    edu.config_write(4, &[0x06, 0]);
    Device { bench, wire, edu }
}

impl Device {
    fn write(&self, offset: u64, value: u32) {
        self.edu.bar_write(0, offset, &value.to_le_bytes());
    }

    fn read(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.edu.bar_read(0, offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn config(&self, offset: u16) -> u16 {
        let mut data = [0; 2];
        self.edu.config_read(offset, &mut data);
        u16::from_le_bytes(data)
    }

    /// The offset of the capability `id`.
    fn capability(&self, id: u8) -> u16 {
        let mut at = self.config(0x34) & 0xFF;
        while self.config(at) as u8 != id {
            at = self.config(at) >> 8;
            assert_ne!(at, 0, "no capability {id:#x}");
        }
        at
    }

    /// Programs and enables MSI.
    fn enable_msi(&self, address: u32, data: u16) {
        let at = self.capability(5);
        self.edu.config_write(at + 4, &address.to_le_bytes());
        self.edu.config_write(at + 12, &data.to_le_bytes());
        self.edu.config_write(at + 2, &[1, 0]);
    }

    /// Moves 16 bytes from memory at 0x1000 to the buffer.
    fn transfer(&self) {
        for (offset, value) in [(0x80, 0x1000), (0x88, 0x40000), (0x90, 16), (0x98, 1 | 4)] {
            self.write(offset, value);
        }
    }
}

#[test]
fn it_is_what_drivers_look_for() {
    let device = device();
    assert_eq!((device.config(0), device.config(2)), (0x1234, 0x11E8));
    assert_eq!(device.edu.bars()[0].unwrap().length, 1 << 20);
    assert_eq!(device.read(0), 0x0100_00ED);
    assert_eq!(device.config(0x3C) >> 8, 1);
}

#[test]
fn the_wire_follows_the_causes() {
    let device = device();
    device.write(0x60, 3);
    assert!(device.wire.asserted());
    device.write(0x64, 1);
    assert!(device.wire.asserted());
    device.write(0x64, 2);
    assert!(!device.wire.asserted());
    assert!(device.bench.interrupts.take().is_empty());
}

#[test]
fn messages_silence_the_wire() {
    let device = device();
    device.enable_msi(0xFEE0_1000, 0x41);
    device.write(0x60, 1);
    device.write(0x60, 1);
    let message = iommu::MsiMessage { address: 0xFEE0_1000, data: 0x41 };
    assert_eq!(device.bench.interrupts.take(), [message, message]);
    assert!(!device.wire.asserted());
    device.write(0x64, 1);
    assert!(device.bench.interrupts.take().is_empty());
}

#[test]
fn no_message_and_no_transfer_without_bus_mastering() {
    let device = device();
    device.bench.memory.write_slice(&[5; 16], GuestAddress(0x1000)).unwrap();
    device.enable_msi(0xFEE0_1000, 0x41);
    device.edu.config_write(4, &[0x02, 0]);
    device.transfer();
    assert!(device.bench.interrupts.take().is_empty());
    assert_eq!(device.read(0x24), 0x100);
    // Back to memory further on: what was not read is not there.
    device.edu.config_write(4, &[0x06, 0]);
    for (offset, value) in [(0x80, 0x40000), (0x88, 0x1100), (0x90, 16), (0x98, 1 | 2)] {
        device.write(offset, value);
    }
    assert_eq!(device.bench.memory.read_obj::<u64>(GuestAddress(0x1100)).unwrap(), 0);
}

#[test]
fn a_transfer_ends_with_an_interrupt() {
    let device = device();
    device.enable_msi(0xFEE0_1000, 0x41);
    device.transfer();
    assert_eq!(device.read(0x98) & 1, 0);
    assert_eq!(device.bench.interrupts.take().len(), 1);
}

#[test]
fn a_reset_of_the_function_forgets_everything() {
    let device = device();
    device.write(0x60, 1);
    device.write(4, 9);
    let express = device.capability(0x10);
    device.edu.config_write(express + 8, &0x8000u16.to_le_bytes());
    assert!(!device.wire.asserted());
    assert_eq!((device.read(4), device.read(0x24)), (0, 0));
    assert_eq!(device.config(4), 0);
    assert_eq!(device.edu.bars()[0], None);
}

#[test]
fn interrupts_carry_the_requester_id_of_the_moment() {
    let device = device();
    assert_eq!(device.edu.function.master().source_id().0, Bdf::new(0, 4, 0).0);
    device.bench.bus.set(7);
    assert_eq!(device.edu.function.master().source_id().0, Bdf::new(7, 4, 0).0);
}
