use std::sync::Arc;

use crate::testing::device::Device;
use crate::testing::{Machine, SOURCE};
use crate::{DeviceTlb, SourceId};

#[test]
fn a_device_is_found_by_the_number_it_has_now_and_as_long_as_it_lives() {
    let machine = Machine::new();
    let devices = &machine.unit.devices;
    let device = Device::new(&machine, SOURCE);
    let found = |source| devices.find(source).map(|device| device.source_id());
    assert_eq!(found(SOURCE), Some(SOURCE));
    assert_eq!(found(SourceId(1)), None);
    device.renumber(SourceId(1));
    assert_eq!((found(SOURCE), found(SourceId(1))), (None, Some(SourceId(1))));
    drop(device);
    assert_eq!(found(SourceId(1)), None);
}

#[test]
fn devices_that_have_gone_take_no_room() {
    let machine = Machine::new();
    for source in 0..100 {
        Device::new(&machine, SourceId(source));
    }
    let last: Arc<dyn DeviceTlb> = Device::new(&machine, SOURCE);
    assert_eq!(machine.unit.devices.devices.read().unwrap().len(), 1);
    drop(last);
}
