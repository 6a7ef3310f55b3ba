use proptest::prelude::*;

use super::super::fake::{Event, FakeHost};
use super::super::host::InterruptKind;
use super::*;

fn config(host: &FakeHost) -> Config {
    Config::new(host, true, Some(ExpressKind::Endpoint), 0).unwrap()
}

fn read(config: &Config, host: &FakeHost, offset: u16) -> u32 {
    let mut data = [0; 4];
    config.read(host, offset, &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn the_header_is_the_devices_with_addresses_of_the_guest() {
    let mut host = FakeHost::new();
    host.put(0x2C, &[0xF4, 0x1A, 0x00, 0x11]);
    host.put(0x10, &0xFEB0_0004_u32.to_le_bytes());
    host.regions.insert(0, super::super::host::Region { size: 0x4000, mappable: Vec::new() });
    let config = config(&host);
    assert_eq!(read(&config, &host, 0x00), 0x0010_1B36);
    assert_eq!(read(&config, &host, 0x08), 0x0108_0202);
    assert_eq!(read(&config, &host, 0x2C), 0x1100_1AF4);
    assert_eq!(read(&config, &host, 0x10), 0x4, "the host's address is not shown");
    assert_eq!(config.space.u8(register::HEADER_TYPE), 0, "alone, it is no multi-function device");
    assert_eq!(config.space.u8(register::INTERRUPT_PIN), 1);
}

/// It has neither a pin nor power states, and its physical function holds its IDs and its Memory Space bit.
#[test]
fn a_virtual_function_is_a_function_like_others() {
    let mut host = FakeHost::new();
    host.bar(0, 0xC, 0x4000);
    let mut config = Config::new(&host, false, Some(ExpressKind::Endpoint), 0).unwrap();
    assert_eq!(config.space.u8(register::INTERRUPT_PIN), 0);
    assert_eq!(config.decoded()[0], None, "whatever the hardware decodes, the guest's bit counts");
    config.write(&host, 0x10, &0x8000_0000_u32.to_le_bytes());
    config.write(&host, 4, &[6, 0]);
    assert_eq!(config.decoded()[0].map(|range| range.base), Some(0x8000_0000));
    assert!(config.may_send(), "there is no power state to be off in");
}

#[test]
fn bars_have_the_size_and_kind_of_the_hosts() {
    let mut host = FakeHost::new();
    host.bar(0, 0xC, 0x4000);
    host.bar(2, 0x4, 1 << 33);
    host.bar(4, 0x0, 0x100);
    host.bar(5, 0x1, 0x40);
    host.regions.insert(6, super::super::host::Region { size: 0x1_8000, mappable: Vec::new() });
    let mut config = config(&host);
    let mut size = |offset: u16| {
        config.write(&host, offset, &[0xFF; 4]);
        read(&config, &host, offset)
    };
    assert_eq!(size(0x10), 0xFFFF_C00C);
    assert_eq!(size(0x14), 0xFFFF_FFFF);
    assert_eq!(size(0x18), 0x0000_0004);
    assert_eq!(size(0x1C), 0xFFFF_FFFE);
    assert_eq!(size(0x20), 0xFFFF_FF00, "smaller than a page, and still what it is");
    assert_eq!(size(0x24), 0xFFFF_FFC1);
    assert_eq!(size(0x30), 0xFFFE_0001, "a ROM of an odd size takes the next power of two");
}

#[test]
fn bars_decode_as_the_guests_command_register_says() {
    let mut host = FakeHost::new();
    host.bar(0, 4, 0x4000);
    host.bar(5, 1, 0x40);
    let mut config = config(&host);
    config.write(&host, 0x10, &0x8000_0000_u32.to_le_bytes());
    config.write(&host, 0x14, &1_u32.to_le_bytes());
    config.write(&host, 0x24, &0xC000_u32.to_le_bytes());
    assert_eq!(config.decoded(), [None; BAR_COUNT]);
    config.write(&host, 4, &[2, 0]);
    assert_eq!(config.decoded()[0].unwrap().base, 0x1_8000_0000);
    assert_eq!(config.decoded()[5], None);
    config.write(&host, 4, &[1, 0]);
    assert_eq!(config.decoded()[5].unwrap().base, 0xC000);
    assert_eq!(host.log.take(), [], "none of this is the hardware's business");
}

#[test]
fn the_status_register_is_the_hardwares_but_for_the_list_of_capabilities() {
    let mut host = FakeHost::new();
    host.put(6, &[0x18, 0x20]);
    let mut config = config(&host);
    assert_eq!(read(&config, &host, 4) >> 16, 0x2008);
    config.write(&host, 6, &[0, 0x20]);
    assert_eq!(host.log.take(), [Event::Config(6, vec![0, 0x20])]);
    // Together with the command register only the status half goes there.
    config.write(&host, 4, &[7, 0, 0, 0xF9]);
    assert_eq!(host.log.take(), [Event::Config(6, vec![0]), Event::Config(7, vec![0xF9])]);
}

#[test]
fn registers_of_the_devices_own_pass() {
    let mut host = FakeHost::new();
    host.put(0x60, &[0x31]);
    let mut config = config(&host);
    assert_eq!(read(&config, &host, 0x60), 0x31);
    config.write(&host, 0x62, &[1, 2]);
    assert_eq!(host.log.take(), [Event::Config(0x62, vec![1, 2])]);
}

#[test]
fn a_host_that_does_not_answer_reads_as_ones() {
    struct Mute(FakeHost);
    impl HostFunction for Mute {
        fn region(&self, index: RegionIndex) -> super::super::host::Region {
            self.0.region(index)
        }
        fn read(&self, _: RegionIndex, _: u64, _: &mut [u8]) -> std::io::Result<()> {
            Err(std::io::ErrorKind::Other.into())
        }
        fn write(&self, _: RegionIndex, _: u64, _: &[u8]) -> std::io::Result<()> {
            Err(std::io::ErrorKind::Other.into())
        }
        fn map(
            &self,
            _: RegionIndex,
            _: Range<u64>,
        ) -> std::io::Result<std::sync::Arc<super::super::Mapping>> {
            Err(std::io::ErrorKind::Other.into())
        }
        fn interrupts(&self, kind: InterruptKind) -> super::super::host::InterruptInfo {
            self.0.interrupts(kind)
        }
        fn set_triggers(
            &self,
            _: InterruptKind,
            _: u16,
            _: &[Option<&vmm_sys_util::eventfd::EventFd>],
        ) -> std::io::Result<()> {
            Ok(())
        }
        fn disable(&self, _: InterruptKind) -> std::io::Result<()> {
            Ok(())
        }
        fn unmask_wire(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn can_reset(&self) -> bool {
            false
        }
        fn reset(&self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let host = FakeHost::new();
    let config = config(&host);
    let mut data = [0; 4];
    config.read(&Mute(host), 0x60, &mut data);
    assert_eq!(data, [0xFF; 4]);
}

proptest! {
    /// A device may claim anything in its configuration space, and a guest may write anything: nothing
    /// breaks, and what the guest reads of the lists ends.
    #[test]
    fn any_configuration_space_and_any_access_is_survived(
        bytes in proptest::collection::vec(any::<u8>(), 256),
        extended in proptest::collection::vec(any::<u32>(), 64),
        writes in proptest::collection::vec((0_u16..1024, any::<u32>()), 0..64),
    ) {
        let mut host = FakeHost::new();
        host.put(0, &bytes);
        for (index, word) in extended.iter().enumerate() {
            host.put(0x100 + index * 0x30, &word.to_le_bytes());
        }
        host.bar(0, 0, 0x4000);
        host.irqs(InterruptKind::Msi, 32, false);
        host.irqs(InterruptKind::Msix, 2048, true);
        let mut config = config(&host);
        for (dword, value) in writes {
            config.write(&host, dword * 4, &value.to_le_bytes());
            config.take_reset_request();
            config.decoded();
            config.may_send();
            read(&config, &host, dword * 4);
            if let Some(msi) = config.found.msi {
                for vector in 0..msi.granted(&config.space) {
                    msi.signal(&config.space, vector);
                }
                msi.show_pending(&mut config.space, |_| true);
            }
        }
        let mut at = u16::from(config.space.u8(0x34));
        let mut steps = 0;
        while at != 0 {
            at = u16::from(config.space.u8(at + 1));
            steps += 1;
            prop_assert!(steps <= 48);
        }
    }
}
