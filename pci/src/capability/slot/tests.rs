use proptest::prelude::*;

use super::*;
use crate::ExpressKind;

/// A slot with the number 9.
fn slot() -> (ConfigSpace, SlotRegisters) {
    let mut config = ConfigSpace::new();
    let express = Express::add(&mut config, ExpressKind::RootPort { slot: 9 }, false).unwrap();
    let slot = SlotRegisters::lay_out(&mut config, express);
    (config, slot)
}

/// What software does: a write, and the command it gives.
fn write(config: &mut ConfigSpace, slot: SlotRegisters, offset: u16, data: &[u8]) -> bool {
    let before = slot.control(config);
    config.write(offset, data);
    slot.complete(config, offset, data.len(), before)
}

fn write_control(config: &mut ConfigSpace, slot: SlotRegisters, value: u16) -> bool {
    write(config, slot, slot.at + CONTROL_AT, &value.to_le_bytes())
}

fn status(config: &ConfigSpace, slot: SlotRegisters) -> u16 {
    config.u16(slot.at + STATUS_AT)
}

#[test]
fn an_empty_slot_has_no_power_and_shows_no_light() {
    let (config, slot) = slot();
    assert_eq!(config.u32(slot.at + CAPABILITIES_AT), 9 << 19 | 0x7B);
    assert_eq!(slot.number(&config), 9);
    assert_eq!(slot.control(&config), 0x07C0);
    assert!(!slot.is_powered(&config));
    assert_eq!(slot.indicator(&config), Indicator::Off);
    assert!(!slot.interrupts(&config));
}

#[test]
fn what_is_there_from_the_start_has_power() {
    let (mut config, slot) = slot();
    slot.power_up(&mut config);
    assert_eq!(slot.control(&config), 0x01C0);
    assert_eq!(slot.indicator(&config), Indicator::On);
}

#[test]
fn every_command_is_completed_and_nothing_else_is() {
    let (mut config, slot) = slot();
    let control = slot.at + CONTROL_AT;
    for (offset, length, command) in
        [(control, 2, true), (control, 1, true), (control + 1, 1, true), (control, 4, true)]
            .into_iter()
            .chain([(control - 4, 4, false), (control + 2, 2, false), (control - 2, 2, false)])
    {
        config.write(slot.at + STATUS_AT, &[0xFF, 0xFF]);
        write(&mut config, slot, offset, &vec![0; length]);
        let completed = status(&config, slot) & COMMAND_COMPLETED != 0;
        assert_eq!(completed, command, "{length} bytes at {offset:#x}");
    }
}

#[test]
fn letting_go_takes_power_and_light() {
    let (mut config, slot) = slot();
    // The state after power-on is no answer to anything.
    assert!(!write_control(&mut config, slot, 0x07C0));
    assert!(!write_control(&mut config, slot, 0x01C0));
    assert!(!write_control(&mut config, slot, 0x06C0), "blinking without power");
    assert!(write_control(&mut config, slot, 0x07C0));
    assert!(!write_control(&mut config, slot, 0x07C0), "said once is enough");
    assert!(!write_control(&mut config, slot, 0x03C0), "power without a light");
    assert!(write_control(&mut config, slot, 0x07C0));
}

#[test]
fn the_guest_chooses_what_interrupts_it() {
    let enables = [
        (BUTTON_PRESSED, 1 << 0),
        (PRESENCE_CHANGED, 1 << 3),
        (COMMAND_COMPLETED, 1 << 4),
        (LINK_CHANGED, 1 << 12),
    ];
    for (event, enable) in enables {
        let (mut config, slot) = slot();
        slot.raise(&mut config, event);
        config.set_u16(slot.at + CONTROL_AT, enable);
        assert!(!slot.interrupts(&config), "hot-plug interrupts are off");
        config.set_u16(slot.at + CONTROL_AT, INTERRUPT_ENABLE);
        assert!(!slot.interrupts(&config), "event {event:#x} is not wanted");
        config.set_u16(slot.at + CONTROL_AT, !enable);
        assert!(!slot.interrupts(&config), "event {event:#x} is not wanted, all others are");
        config.set_u16(slot.at + CONTROL_AT, INTERRUPT_ENABLE | enable);
        assert!(slot.interrupts(&config), "event {event:#x}");
        config.write(slot.at + STATUS_AT, &event.to_le_bytes());
        assert!(!slot.interrupts(&config), "event {event:#x} has been seen");
    }
}

proptest! {
    /// Whatever is written where, software changes what it may and no more, and no event that it has not cleared is
    /// lost.
    #[test]
    fn hostile_writes_change_only_what_software_may(
        writes in proptest::collection::vec((0u16..0x40, any::<u32>(), 0usize..3), 1..64)
    ) {
        let (mut config, slot) = slot();
        for (offset, value, order) in writes {
            let length = 1 << order;
            let offset = slot.at + offset / length as u16 * length as u16;
            slot.raise(&mut config, BUTTON_PRESSED | LINK_CHANGED);
            let before = (config.u32(slot.at + CAPABILITIES_AT), status(&config, slot));
            write(&mut config, slot, offset, &value.to_le_bytes()[..length]);
            prop_assert_eq!(config.u32(slot.at + CAPABILITIES_AT), before.0);
            prop_assert_eq!(slot.control(&config) & !0x17FB, 0);
            let named = (0..2).fold(0u16, |bits, index| {
                let at = usize::from(slot.at + STATUS_AT) + index;
                let byte = at.checked_sub(usize::from(offset)).filter(|byte| *byte < length);
                bits | byte.map_or(0, |byte| u16::from(value.to_le_bytes()[byte]) << (8 * index))
            });
            let now = status(&config, slot);
            prop_assert_eq!(now & !COMMAND_COMPLETED, before.1 & !named & !COMMAND_COMPLETED);
        }
    }
}
