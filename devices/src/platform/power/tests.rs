use super::*;
use crate::platform::testing::RecordedPower;

#[test]
fn debug_exit_status_is_odd() {
    let power = RecordedPower::new();
    let device = DebugExit::new(power.clone());
    device.write(DebugExit::PORT, &[0]);
    device.write(DebugExit::PORT, &0x10_u32.to_le_bytes());
    device.write(DebugExit::PORT, &[0x80]);
    assert_eq!(power.taken(), [PowerRequest::Exit(1), PowerRequest::Exit(0x21), PowerRequest::Exit(1)]);
}

#[test]
fn only_the_rise_of_the_reset_bit_reboots() {
    let power = RecordedPower::new();
    let device = ResetControl::new(power.clone());
    device.write(ResetControl::PORT, &[0x02]);
    assert!(power.taken().is_empty());
    device.write(ResetControl::PORT, &[0x06]);
    device.write(ResetControl::PORT, &[0x06]);
    assert_eq!(power.taken(), [PowerRequest::Reboot]);

    let mut value = [0];
    device.read(ResetControl::PORT, &mut value);
    assert_eq!(value, [0x06]);
}

#[test]
fn port_a_resets_and_keeps_address_line_20_open() {
    let power = RecordedPower::new();
    let device = ResetControl::new(power.clone());
    let mut value = [0];
    device.read(0x92, &mut value);
    assert_eq!(value, [0x02]);
    device.write(0x92, &[0x03]);
    assert_eq!(power.taken(), [PowerRequest::Reboot]);
}

#[test]
fn an_access_that_runs_past_the_register_finds_an_empty_bus() {
    let device = ResetControl::new(RecordedPower::new());
    let mut data = [0; 4];
    device.read(ResetControl::PORT, &mut data);
    assert_eq!(data, [0, EMPTY_BUS, EMPTY_BUS, EMPTY_BUS]);
}
