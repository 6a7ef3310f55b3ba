use super::super::config::Config;
use super::super::fake::{Event, FakeHost};
use super::super::host::Region;
use super::super::routes::Signal;
use super::*;

fn config(host: &FakeHost) -> Config {
    Config::new(host, true, Some(ExpressKind::Endpoint), 0).unwrap()
}

/// (place, ID) of each capability that the guest finds.
fn standard(config: &Config) -> Vec<(u8, u8)> {
    let mut list = Vec::new();
    let mut at = config.space.u8(0x34);
    while at != 0 && list.len() < 64 {
        list.push((at, config.space.u8(at.into())));
        at = config.space.u8(u16::from(at) + 1);
    }
    list
}

fn extended(config: &Config) -> Vec<(u16, u16)> {
    let mut list = Vec::new();
    let mut at = 0x100;
    while at != 0 && list.len() < 64 {
        let header = config.space.u32(at);
        if header == 0 {
            break;
        }
        list.push((at, header as u16));
        at = (header >> 20) as u16;
    }
    list
}

fn nvme() -> FakeHost {
    let mut host = FakeHost::new();
    host.bar(0, 4, 0x4000);
    let mut express = vec![0; 0x3A];
    express[0..2].copy_from_slice(&[0x02, 0x00]);
    express[2..6].copy_from_slice(&0x1000_8FE7_u32.to_le_bytes());
    express[0x0A..0x0E].copy_from_slice(&0x0047_5C43_u32.to_le_bytes());
    express[0x10..0x12].copy_from_slice(&[0x43, 0x30]);
    express[0x22..0x26].copy_from_slice(&0xFFFF_FFFF_u32.to_le_bytes());
    express[0x2A..0x2E].copy_from_slice(&0x0000_000E_u32.to_le_bytes());
    host.capability(0x60, 0x10, &express);
    host.capability(0xA0, 0x01, &[0x03, 0xC8, 0x08, 0x00, 0, 0]);
    host.capability(0x40, 0x05, &[0x8A, 0x01]);
    host.capability(0xC0, 0x03, &[0x80, 0x00, 1, 2, 3, 4]);
    host.capability(0xD0, 0x09, &[0x08, 1, 2, 3, 4, 5]);
    host.irqs(InterruptKind::Msi, 32, false);
    host.msix(33, true);
    host
}

#[test]
fn known_capabilities_are_shown_where_they_are_and_the_rest_is_skipped() {
    let config = config(&nvme());
    assert_eq!(standard(&config), [(0xB0, 0x11), (0xD0, 9), (0x40, 5), (0xA0, 1), (0x60, 0x10)]);
    assert_eq!(config.space.u16(6) & 0x10, 0x10);
}

#[test]
fn a_hidden_capability_reads_as_zero_and_its_registers_are_out_of_reach() {
    let mut host = nvme();
    let mut config = config(&host);
    for offset in (0xC0..0xD0).step_by(4) {
        let mut data = [0xAA; 4];
        config.read(&host, offset, &mut data);
        assert_eq!(data, [0; 4], "vital product data at {offset:#x}");
        config.write(&host, offset, &[0x00, 0x80, 0x00, 0x80]);
    }
    assert_eq!(host.log.take(), []);
    // A capability of the maker's is in reach, but its place in the list is ours.
    let mut data = [0; 4];
    config.read(&host, 0xD0, &mut data);
    assert_eq!(data, [9, 0x40, 8, 1]);
    config.write(&host, 0xD4, &[7, 7, 7, 7]);
    assert_eq!(host.log.take(), [Event::Config(0xD4, vec![7; 4])]);
    host.can_reset = false;
}

#[test]
fn a_function_whose_every_capability_is_hidden_has_no_list() {
    let mut host = FakeHost::new();
    host.capability(0x40, 0x03, &[0; 6]);
    let config = config(&host);
    assert_eq!(config.space.u8(0x34), 0);
    let mut data = [0; 2];
    config.read(&host, 6, &mut data);
    assert_eq!(data[0] & 0x10, 0);
}

#[test]
fn a_list_that_loops_ends() {
    let mut host = FakeHost::new();
    host.capability(0x40, 0x01, &[0; 6]);
    host.capability(0x50, 0x09, &[8, 0, 0, 0, 0, 0]);
    host.put(0x41, &[0x50]);
    assert_eq!(standard(&config(&host)), [(0x50, 9), (0x40, 1)]);
}

#[test]
fn dangerous_and_unknown_extended_capabilities_are_hidden() {
    let mut host = FakeHost::new();
    // AER, ARI, ATS, SR-IOV, PRI, PASID, REBAR, one from the future; between them two that may be seen.
    host.extended(0x100, 0x01, 0x140, &[0xFF; 0x20]);
    host.extended(0x140, 0x0E, 0x150, &[0xFF; 4]);
    host.extended(0x150, 0x0F, 0x160, &[0xFF; 4]);
    host.extended(0x160, 0x03, 0x170, &[1, 2, 3, 4, 5, 6, 7, 8]);
    host.extended(0x170, 0x10, 0x1B0, &[0xFF; 0x3C]);
    host.extended(0x1B0, 0x13, 0x1C0, &[0xFF; 0xC]);
    host.extended(0x1C0, 0x1B, 0x1D0, &[0xFF; 4]);
    host.extended(0x1D0, 0x15, 0x1E0, &[0xFF; 0xC]);
    host.extended(0x1E0, 0x0B, 0x200, &[0x01, 0x00, 0x01, 0x01, 0xAB, 0xCD]);
    host.extended(0x200, 0x7777, 0x000, &[0xFF; 0x10]);
    let mut config = config(&host);
    assert_eq!(extended(&config), [(0x100, 0), (0x160, 3), (0x1E0, 0x0B)]);
    let shown = [0x160..0x16C, 0x1E0..0x1F0];
    for offset in (0x104..0x300).filter(|offset| !shown.iter().any(|range| range.contains(offset))) {
        let mut data = [0xAA];
        config.read(&host, offset, &mut data);
        assert_eq!(data, [0], "at {offset:#x}");
        config.write(&host, offset, &[0xFF]);
    }
    assert_eq!(host.log.take(), []);
    let mut data = [0; 4];
    config.read(&host, 0x164, &mut data);
    assert_eq!(data, [1, 2, 3, 4]);
    config.read(&host, 0x1E8, &mut data);
    assert_eq!(data[..2], [0xAB, 0xCD], "the maker's registers are the hardware's");
}

#[test]
fn a_function_without_extended_space_has_none() {
    let mut host = FakeHost::new();
    host.put(0x100, &[0xFF; 4]);
    assert_eq!(extended(&config(&host)), []);
}

#[test]
fn an_extended_list_that_loops_ends() {
    let mut host = FakeHost::new();
    host.extended(0x100, 0x03, 0x200, &[0; 8]);
    host.extended(0x200, 0x0B, 0x100, &[0, 0, 0x10, 0x01]);
    assert_eq!(extended(&config(&host)), [(0x100, 3), (0x200, 0x0B)]);
}

#[test]
fn power_states_are_the_guests_alone() {
    let host = nvme();
    let mut config = config(&host);
    assert_eq!(config.space.u16(0xA2), 3, "no D1, no D2, no PME");
    config.write(&host, 4, &[6, 0]);
    assert!(config.may_send());
    config.write(&host, 0xA4, &[3, 0]);
    assert!(!config.may_send());
    assert_eq!(config.decoded()[0], None, "in D3hot nothing decodes");
    config.write(&host, 0xA4, &[1, 0]);
    assert_eq!(config.space.u16(0xA4) & 3, 3, "D1 does not exist");
    config.write(&host, 0xA4, &[0, 0]);
    assert!(config.may_send());
    assert_eq!(host.log.take(), [], "the hardware stays in D0");
}

#[test]
fn the_express_capability_keeps_the_fabrics_settings_from_the_guest() {
    let host = nvme();
    let mut config = config(&host);
    assert_eq!(config.space.u16(0x62), 0x0002, "an endpoint");
    assert_eq!(config.space.u32(0x64), 0x1000_8FC0, "resettable; payloads of 128 bytes");
    config.write(&host, 0x68, &[0xFF, 0x7F]);
    assert_eq!(config.space.u16(0x68), 0x7FFF, "the guest reads back what it wrote");
    assert!(!config.take_reset_request());
    config.write(&host, 0x69, &[0xA8]);
    assert!(config.take_reset_request());
    assert!(!config.take_reset_request(), "once");
    assert_eq!(config.space.u16(0x68) >> 15, 0);
    assert_eq!(config.space.u32(0x6C) & 0x3FF, 0x043, "speed and width are the hardware's");
    assert_eq!(config.space.u32(0x6C) & 0xC00, 0, "no ASPM");
    assert_eq!(config.space.u32(0x84), 0, "nothing optional in device capabilities 2");
    config.write(&host, 0x88, &[0xFF, 0xFF]);
    assert_eq!(config.space.u16(0x88), 0);
    assert_eq!(host.log.take(), []);
}

#[test]
fn the_express_capability_fits_the_guests_topology() {
    let host = nvme();
    let on_root_bus = Config::new(&host, true, Some(ExpressKind::IntegratedEndpoint), 0).unwrap();
    assert_eq!(on_root_bus.space.u16(0x62) >> 4, 9);
    assert_eq!(on_root_bus.space.u32(0x6C), 0, "an integrated endpoint has no link");

    let mut host = FakeHost::new();
    host.capability(0x60, 0x10, &[0x92, 0x00]);
    let behind_port = config(&host);
    assert_eq!(behind_port.space.u16(0x62), 0x0002);
    assert_eq!(behind_port.space.u32(0x6C) & 0x3FF, 0x11, "and one behind a port has one");
}

#[test]
fn on_a_conventional_bus_nothing_is_left_of_the_express_capability_but_the_reset() {
    let mut host = nvme();
    let mut conventional = Config::new(&host, true, None, 0).unwrap();
    assert_eq!(standard(&conventional), [(0xB0, 0x11), (0xD0, 9), (0x40, 5), (0xA0, 1), (0x60, 0x13)]);
    assert_eq!(conventional.space.u32(0x60), 0x0306_0013);
    for offset in (0x64..0xA0).step_by(4) {
        let mut data = [0xAA; 4];
        conventional.read(&host, offset, &mut data);
        assert_eq!(data, [0; 4], "registers of PCI Express at {offset:#x}");
    }
    conventional.write(&host, 0x68, &[0, 0x80]);
    assert!(!conventional.take_reset_request());
    conventional.write(&host, 0x64, &[1]);
    assert!(conventional.take_reset_request());
    assert_eq!(host.log.take(), []);

    // A function that cannot be reset has nothing to offer, and one that has the capability has it once.
    host.can_reset = false;
    assert!(!standard(&Config::new(&host, true, None, 0).unwrap()).iter().any(|(at, _)| *at == 0x60));
    host.can_reset = true;
    host.capability(0xE0, 0x13, &[6, 3, 0, 0]);
    let mut shown = standard(&Config::new(&host, true, None, 0).unwrap());
    shown.retain(|(_, id)| *id == 0x13);
    assert_eq!(shown, [(0xE0, 0x13)]);
}

#[test]
fn a_function_that_cannot_be_reset_does_not_offer_it() {
    let mut host = nvme();
    host.can_reset = false;
    host.capability(0xE0, 0x13, &[6, 3, 0, 0]);
    let mut config = config(&host);
    assert_eq!(config.space.u32(0x64) >> 28, 0);
    config.write(&host, 0x68, &[0xFF, 0xFF]);
    config.write(&host, 0xE4, &[1]);
    assert!(!config.take_reset_request());
    assert!(!standard(&config).iter().any(|(_, id)| *id == 0x13));
}

#[test]
fn advanced_features_ask_for_a_reset_too() {
    let mut host = FakeHost::new();
    host.capability(0xE0, 0x13, &[6, 3, 0, 0]);
    let mut config = config(&host);
    config.write(&host, 0xE4, &[1]);
    assert!(config.take_reset_request());
    assert_eq!(config.space.u8(0xE4), 0);
}

#[test]
fn an_msix_table_that_cannot_be_is_not_offered() {
    for (table, pending) in [(0x3FF8, 0), (1, 0), (6, 0), (0, 0x4000), (0xFFFF_FFF8, 0)] {
        let mut host = FakeHost::new();
        host.bar(0, 4, 0x4000);
        let mut body = vec![3, 0];
        body.extend_from_slice(&u32::to_le_bytes(table));
        body.extend_from_slice(&u32::to_le_bytes(pending));
        host.capability(0xB0, 0x11, &body);
        host.irqs(InterruptKind::Msix, 4, true);
        let config = config(&host);
        assert!(config.found.msix.is_none(), "table {table:#x}, pending bits {pending:#x}");
        assert_eq!(standard(&config), []);
    }
}

#[test]
fn msix_has_no_more_vectors_than_the_host() {
    let mut host = nvme();
    host.irqs(InterruptKind::Msix, 8, true);
    let config = config(&host);
    assert_eq!(config.space.u16(0xB2), 7);
    assert_eq!(config.found.msix.unwrap().table, (0, 0x2000..0x2000 + 33 * 16), "all of it is trapped");
}

#[test]
fn msi_is_laid_out_as_the_host_has_it() {
    for (control, length, data) in [(0x000_u16, 10, 8), (0x080, 14, 12), (0x100, 20, 8), (0x180, 24, 12)] {
        let mut host = FakeHost::new();
        host.capability(0xA8, 0x05, &(control | 0b101 << 1).to_le_bytes());
        host.irqs(InterruptKind::Msi, 8, false);
        let mut config = config(&host);
        let msi = config.found.msi.unwrap();
        assert_eq!(msi.length(), length);
        assert_eq!(config.space.u16(0xAA), control | 3 << 1, "eight vectors, as many as the host has");
        config.write(&host, 0xAC, &[0x0C, 0xF0, 0xE0, 0xFE]);
        config.write(&host, 0xB0, &[0x11, 0, 0, 0]);
        config.write(&host, 0xA8 + data, &[0x4F, 0x00]);
        assert_eq!(msi.granted(&config.space), 0);
        config.write(&host, 0xAA, &[0x21, 0]);
        assert_eq!(msi.granted(&config.space), 4);
        let upper = if control & 0x80 != 0 { 0x11 << 32 } else { 0 };
        let expected = iommu::MsiMessage { address: upper | 0xFEE0_F00C, data: 0x4E };
        assert_eq!(msi.signal(&config.space, 2), Signal::Send(expected));
        config.write(&host, 0xA8 + data + 4, &[4, 0, 0, 0]);
        let masked = msi.signal(&config.space, 2) == Signal::Hold;
        assert_eq!(masked, control & 0x100 != 0);
    }
}

#[test]
fn message_interrupts_that_the_host_does_not_pass_on_are_hidden() {
    let mut host = nvme();
    host.interrupts.clear();
    let ids: Vec<_> = standard(&config(&host)).iter().map(|(_, id)| *id).collect();
    assert_eq!(ids, [9, 1, 0x10]);
    let region = Region { size: 0x4000, mappable: Vec::new() };
    host.regions.insert(0, region);
}
