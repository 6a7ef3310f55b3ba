use super::*;
use crate::dmar::Drhd;
use crate::sample;

fn error(change: impl FnOnce(&mut Machine)) -> String {
    let mut machine = sample::machine();
    change(&mut machine);
    check(&machine).unwrap_err().to_string()
}

#[test]
fn the_sample_machine_keeps_everything_apart() {
    assert_eq!(check(&sample::machine()), Ok(()));
}

#[test]
fn a_window_over_ecam_is_named_with_both_ranges() {
    let message = error(|machine| machine.windows.memory_32 = vec![0xd000_0000..=0xe000_0000]);
    let expected = "The 32-bit PCI memory window (0xd0000000–0xe0000000) overlaps the ECAM window (0xe0000000–0xefffffff)";
    assert_eq!(message, expected);
}

#[test]
fn a_window_may_not_touch_ioapic_local_apics_or_units() {
    for address in [0xfec0_0fff, 0xfee0_0000, 0xfed9_0800] {
        let message = error(|machine| machine.windows.memory_32 = vec![address..=address]);
        assert!(message.contains("overlaps"), "{message}");
    }
}

#[test]
fn windows_and_units_may_not_overlap_among_themselves() {
    let message = error(|machine| machine.windows.memory_64.push(0xf_ffff_ffff..=0x10_0000_0000));
    assert!(message.contains("64-bit"), "{message}");
    let message = error(|machine| {
        let units = &mut machine.dmar.as_mut().unwrap().units;
        units.push(Drhd { base: sample::UNIT - 0x1000, window_order: 1, ..units[0].clone() });
    });
    assert!(message.starts_with("The register window of a remapping unit"), "{message}");
}

#[test]
fn ports_of_configuration_space_stay_out_of_the_port_window() {
    let message = error(|machine| machine.windows.ports = vec![0..=0xffff]);
    assert!(message.contains("configuration ports"), "{message}");
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "the point of the test")]
fn an_empty_window_is_refused() {
    let message = error(|machine| machine.windows.memory_64 = vec![2..=1]);
    assert!(message.ends_with("is empty"), "{message}");
}
