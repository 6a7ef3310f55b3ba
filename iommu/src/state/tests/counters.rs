//! What is counted.

use super::*;
use crate::counters::LAST;
use crate::spec::counters::{
    COUNTER, COUNTER_STRIDE, ECMD, FREEZE_STATUS, OVERFLOW_STATUS, PERFINTRCTL, configuration_offset,
};

#[test]
fn counters_go_on_where_they_were() {
    let capabilities = Capabilities::new(Profile::Full, 48);
    let machine = Machine::with(capabilities);
    let table = machine.table();
    machine.context(SOURCE, [table | 1, 2 | 5 << 8]);
    machine.map(table, 0x1000, DATA | RW);
    machine.enable_translation();
    // Counters 0 and 1 count requests, and only the first has been started.
    for counter in [0, 1] {
        machine.write_u64(configuration_offset(counter), 2 << 32 | 2);
    }
    machine.write_u64(ECMD, 0xF0);
    let counted =
        |machine: &Machine| [0, 1].map(|counter| machine.read_u64(COUNTER + counter * COUNTER_STRIDE));
    machine.write_u64(COUNTER, LAST - 1);
    machine.translate(0x1000, Access::Read).unwrap();
    let other = moved(&machine);
    assert_eq!(counted(&other), [LAST, 0]);
    other.translate(0x1000, Access::Read).unwrap();
    assert_eq!((counted(&other), other.read(OVERFLOW_STATUS)), ([0, 0], 1));
    // The message held back moves along, and so does it that all stand still.
    other.write_u64(ECMD, 0xF4);
    let other = moved(&other);
    other.translate(0x1000, Access::Read).unwrap();
    assert_eq!(counted(&other), [0, 0]);
    other.write(PERFINTRCTL, 0);
    assert_eq!(other.platform.signals().len(), 1);
    other.write_u64(ECMD, 0xF5);
    other.translate(0x1000, Access::Read).unwrap();
    assert_eq!(counted(&other), [1, 0]);

    let state = other.unit.save();
    let end = state.len() - 8;
    for (place, value) in [(end - 68, 1 << 8), (end - 64, 1 << 48), (end - 8, u64::MAX)] {
        let mut wrong = state.clone();
        let length = if place == end - 68 { 4 } else { 8 };
        wrong[place..place + length].copy_from_slice(&value.to_le_bytes()[..length]);
        seal(&mut wrong);
        assert_eq!(other.unit.restore(&wrong), Err(StateError::Impossible("its counters")));
    }
    let mut wrong = state.clone();
    edit(&mut wrong, FREEZE_STATUS, 1);
    assert_eq!(other.unit.restore(&wrong), Err(StateError::Impossible("its counters")));
    assert_eq!(other.unit.save(), state);
}
