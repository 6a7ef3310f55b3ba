use pci::ExpressKind;

use super::super::config::Config;
use super::super::fake::FakeHost;

/// An endpoint with a capability of this version.
fn host(version: u8) -> FakeHost {
    let mut host = FakeHost::new();
    host.capability(0x60, 0x10, &[version, 0x00]);
    host
}

fn config(host: &FakeHost, kind: Option<ExpressKind>, bits: u8) -> Config {
    Config::new(host, true, kind, bits).unwrap()
}

fn endpoint(host: &FakeHost, bits: u8) -> Config {
    config(host, Some(ExpressKind::Endpoint), bits)
}

/// Where the guest finds the capability.
fn place(config: &Config) -> Option<u16> {
    let mut at = 0x100;
    for _ in 0..64 {
        let header = config.space.u32(at);
        if header as u16 == 0x1B {
            return Some(at);
        }
        at = (header >> 20) as u16;
        if at == 0 {
            break;
        }
    }
    None
}

#[test]
fn the_guest_switches_pasids_of_the_hosts_width_on() {
    let host = host(2);
    let mut config = endpoint(&host, 10);
    assert_eq!(place(&config), Some(0xFF8));
    assert_eq!(config.space.u32(0xFF8), 0x0001_001B, "it is the last one");
    assert_eq!(config.space.u16(0xFFC), 10 << 8, "neither execution nor privilege");
    assert_eq!(config.space.u32(0x84), 1 << 21 | 1 << 22, "requests may carry a prefix");
    assert_eq!(config.pasid_bits(), 0);
    config.write(&host, 0xFFE, &[0xFF, 0xFF]);
    assert_eq!(config.space.u16(0xFFE), 1);
    assert_eq!(config.pasid_bits(), 10);
    config.space.reset();
    assert_eq!(config.pasid_bits(), 0);
    assert_eq!(host.log.take(), [], "the hardware is left as the host has it");
}

#[test]
fn it_is_behind_the_others_and_not_over_one() {
    let mut host = host(2);
    // The maker's registers reach to the end but for 12 bytes.
    host.extended(0x100, 0x03, 0xF00, &[1; 8]);
    host.extended(0xF00, 0x0B, 0, &[1, 0, 0x40, 0x0F]);
    let config = endpoint(&host, 20);
    assert_eq!(place(&config), Some(0xFF8));
    let mut host = self::host(2);
    host.extended(0x100, 0x03, 0xFF0, &[1; 8]);
    host.extended(0xFF0, 0x03, 0, &[1; 8]);
    let config = endpoint(&host, 20);
    assert_eq!(place(&config), Some(0xFE8), "the last free place");
    // And where every byte is someone's, there is none.
    let mut host = self::host(2);
    host.extended(0x100, 0x0B, 0, &[1, 0, 0x00, 0xF0]);
    let mut config = endpoint(&host, 20);
    assert_eq!(place(&config), None);
    config.write(&host, 0xFFE, &[1, 0]);
    assert_eq!(config.pasid_bits(), 0);
}

#[test]
fn where_nothing_can_carry_a_pasid_there_is_no_capability() {
    let kind = Some(ExpressKind::Endpoint);
    for (host, kind, bits) in [(host(2), kind, 0), (host(1), kind, 20), (host(2), None, 20)] {
        assert_eq!(place(&config(&host, kind, bits)), None);
    }
}
