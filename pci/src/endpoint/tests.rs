use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;
use crate::{Bar, BarKind, BarSpace, ExpressKind, Identity, InterruptPin};

const IDENTITY: Identity = Identity {
    vendor: 0x1234,
    device: 0x11E8,
    revision: 0x10,
    class: 0x00FF00,
    subsystem_vendor: 0x1AF4,
    subsystem: 0x1100,
};

// The order in which `everything` adds its capabilities.
const POWER: u16 = 0x40;
const EXPRESS: u16 = 0x48;
const MSI: u16 = 0x84;
const MSIX: u16 = 0x9C;

#[derive(Default)]
struct Line {
    level: AtomicBool,
    changes: AtomicU32,
}

fn everything() -> (Endpoint, Arc<Line>) {
    let line = Arc::new(Line::default());
    let share = line.clone();
    let mut builder = EndpointBuilder::new(&IDENTITY);
    builder.bar(0, Bar { kind: BarKind::Memory32, size: 0x4000 }).unwrap();
    builder.interrupt_pin(InterruptPin::A, move |level| {
        share.level.store(level, Ordering::Relaxed);
        share.changes.fetch_add(1, Ordering::Relaxed);
    });
    builder.power_management().unwrap().express(ExpressKind::Endpoint, true).unwrap();
    builder.msi(1, true).unwrap().msix(2, (0, 0x2000), (0, 0x3000)).unwrap();
    (builder.build(), line)
}

fn write16(endpoint: &Endpoint, at: u16, value: u16) -> Effects {
    endpoint.config_write(at, &value.to_le_bytes())
}

fn read16(endpoint: &Endpoint, at: u16) -> u16 {
    let mut data = [0; 2];
    endpoint.config_read(at, &mut data);
    u16::from_le_bytes(data)
}

#[test]
fn the_header_tells_who_it_is() {
    let (endpoint, _) = everything();
    let mut header = [0; 16];
    endpoint.config_read(0, &mut header);
    assert_eq!(header, [0x34, 0x12, 0xE8, 0x11, 0, 0, 0x10, 0, 0x10, 0, 0xFF, 0, 0, 0, 0, 0]);
    assert_eq!((read16(&endpoint, 0x2C), read16(&endpoint, 0x2E)), (0x1AF4, 0x1100));
    assert_eq!(read16(&endpoint, 0x3C), 0x0100);
    let ids = [POWER, EXPRESS, MSI, MSIX].map(|at| read16(&endpoint, at) & 0xFF);
    assert_eq!(ids, [0x01, 0x10, 0x05, 0x11]);
}

#[test]
fn bus_master_is_told_and_needs_d0() {
    let (endpoint, _) = everything();
    assert!(!endpoint.bus_master());
    assert!(write16(&endpoint, 0x04, 0x0004).bus_master);
    assert!(!write16(&endpoint, POWER + 4, 3).bus_master);
    assert!(write16(&endpoint, POWER + 4, 0).bus_master);
    assert!(!write16(&endpoint, 0x04, 0).bus_master);
}

#[test]
fn bus_master_needs_a_way_up() {
    let (endpoint, _) = everything();
    assert!(write16(&endpoint, 0x04, 0x0004).bus_master);
    assert!(!endpoint.set_upstream(false).bus_master);
    endpoint.reset();
    assert!(!write16(&endpoint, 0x04, 0x0004).bus_master);
    assert!(endpoint.set_upstream(true).bus_master);
}

#[test]
fn bars_decode_nothing_in_d3() {
    let (endpoint, _) = everything();
    let _ = write16(&endpoint, 0x04, 0x0002);
    let _ = endpoint.config_write(0x10, &0xC000_0000u32.to_le_bytes());
    let range = BarRange { space: BarSpace::Memory, base: 0xC000_0000, length: 0x4000 };
    assert_eq!(endpoint.bars()[0], Some(range));
    let _ = write16(&endpoint, POWER + 4, 3);
    assert_eq!(endpoint.bars()[0], None);
    let _ = write16(&endpoint, POWER + 4, 0);
    assert_eq!(endpoint.bars()[0], Some(range));
}

#[test]
fn a_function_level_reset_is_handed_to_the_model() {
    let (endpoint, _) = everything();
    let _ = write16(&endpoint, 0x04, 0x0006);
    assert!(write16(&endpoint, EXPRESS + 8, 0x8000).reset);
    endpoint.reset();
    assert_eq!(read16(&endpoint, 0x04), 0);
    assert!(!write16(&endpoint, 0x04, 0x0006).reset);
}

#[test]
fn msix_goes_before_msi_before_intx() {
    let (endpoint, _) = everything();
    assert_eq!(endpoint.raise(0), Delivery::Off);
    let _ = write16(&endpoint, MSI + 2, 1);
    let _ = endpoint.config_write(MSI + 12, &0x31u16.to_le_bytes());
    assert_eq!(endpoint.raise(0), Delivery::Send(Message { address: 0, data: 0x31 }));
    let effects = write16(&endpoint, MSIX + 2, 0x8000);
    assert_eq!(effects.vectors, 0..2);
    assert_eq!(endpoint.raise(0), Delivery::Pending);
}

#[test]
fn the_msix_table_is_reached_through_its_bar() {
    let (endpoint, _) = everything();
    let _ = write16(&endpoint, MSIX + 2, 0x8000);
    assert_eq!(endpoint.raise(1), Delivery::Pending);
    let mut pending = [0; 4];
    assert!(endpoint.bar_read(0, 0x3000, &mut pending));
    assert_eq!(pending, [2, 0, 0, 0]);
    let effects = endpoint.bar_write(0, 0x2018, &0x55u64.to_le_bytes()).unwrap();
    assert_eq!(effects.messages, [Message { address: 0, data: 0x55 }]);
    assert_eq!(effects.vectors, 1..2);
    let mut entry = [0; 8];
    assert!(endpoint.bar_read(0, 0x2018, &mut entry));
    assert_eq!(u64::from_le_bytes(entry), 0x55);
    assert!(!endpoint.bar_read(0, 0x1FF8, &mut entry));
    assert!(endpoint.bar_write(0, 0x2020, &[0]).is_none());
    assert!(endpoint.bar_write(1, 0x2000, &[0]).is_none());
}

#[test]
fn unmasking_msi_in_configuration_space_hands_the_message_back() {
    let (endpoint, _) = everything();
    let _ = endpoint.config_write(MSI + 16, &[1]);
    let _ = write16(&endpoint, MSI + 2, 1);
    assert_eq!(endpoint.raise(0), Delivery::Pending);
    let effects = endpoint.config_write(MSI + 16, &[0]);
    assert_eq!(effects.messages.len(), 1);
    assert_eq!(effects.vectors, 0..1);
}

#[test]
fn intx_follows_whatever_can_keep_it_quiet() {
    let (endpoint, line) = everything();
    let level = || line.level.load(Ordering::Relaxed);
    endpoint.set_intx(true);
    assert!(level());
    let quieters = [(0x04, 1 << 10), (MSI + 2, 1), (MSIX + 2, 0x8000), (POWER + 4, 3)];
    for (register, value) in quieters {
        let _ = write16(&endpoint, register, value);
        assert!(!level(), "register {register:#x}");
        assert_eq!(read16(&endpoint, 0x06) & 8, 8, "the status bit stays");
        let _ = write16(&endpoint, register, 0);
        assert!(level(), "register {register:#x}");
    }
    endpoint.set_intx(true);
    assert_eq!(line.changes.load(Ordering::Relaxed), 1 + 2 * quieters.len() as u32);
    endpoint.reset();
    assert!(!level());
}

#[test]
fn msix_structures_must_lie_in_memory_bars_and_apart() {
    let mut builder = EndpointBuilder::new(&IDENTITY);
    builder.bar(0, Bar { kind: BarKind::Memory32, size: 0x1000 }).unwrap();
    builder.bar(1, Bar { kind: BarKind::Port, size: 0x100 }).unwrap();
    let mut refused = |table, pending| builder.msix(16, table, pending).is_err();
    assert!(refused((2, 0), (0, 0x800)));
    assert!(refused((1, 0), (0, 0x800)));
    assert!(refused((0, 4), (0, 0x800)));
    assert!(refused((0, 0xF08), (0, 0)));
    assert!(refused((0, 0), (0, 0x80)));
    assert!(!refused((0, 0), (0, 0x100)));
}

#[test]
fn translation_services_are_what_software_enables() {
    let mut builder = EndpointBuilder::new(&IDENTITY);
    builder.express(ExpressKind::IntegratedEndpoint, true).unwrap();
    builder.ats().unwrap().pasid().unwrap().page_requests(64).unwrap();
    let endpoint = builder.build();
    // Requests may carry a prefix: bit 21 of Device Capabilities 2.
    assert_eq!(read16(&endpoint, 0x40 + 0x26), 0b110_0000);
    assert_eq!([0x100, 0x108, 0x110].map(|at| read16(&endpoint, at)), [0x0F, 0x1B, 0x13]);
    assert_eq!(endpoint.translation_services(), TranslationServices::default());
    let _ = write16(&endpoint, 0x106, 1 << 15);
    let _ = write16(&endpoint, 0x10E, 0b011);
    let _ = write16(&endpoint, 0x11C, 100);
    let _ = write16(&endpoint, 0x114, 1);
    let expected = TranslationServices {
        translations: true,
        page_requests: 64,
        pasids: true,
        execute: true,
        privileged: false,
    };
    assert_eq!(endpoint.translation_services(), expected);
    endpoint.show_page_response(false, true);
    assert_eq!(read16(&endpoint, 0x116), 1 << 15 | 0b11);
    endpoint.reset();
    assert_eq!(endpoint.translation_services(), TranslationServices::default());
}

#[test]
fn execute_and_privilege_mean_nothing_without_pasids() {
    let mut builder = EndpointBuilder::new(&IDENTITY);
    builder.pasid().unwrap();
    let endpoint = builder.build();
    let _ = write16(&endpoint, 0x106, 0b110);
    assert_eq!(endpoint.translation_services(), TranslationServices::default());
}
