//! States: those that a unit saves, and what becomes of them on the way.

use std::sync::Arc;

use iommu::{EntryRange, MsiMessage, Platform, StateError};

use super::bodies::step;
use super::machine::{IQA, IRTA, Machine, PQA, RTADDR};
use super::script::Script;

/// Goes on with a queue when it is told to, so that a state taken up stays as it is until then.
struct Patient;

impl Platform for Patient {
    fn signal(&self, _: MsiMessage) {}

    fn interrupt_entries_changed(&self, _: EntryRange) {}

    fn resume_later(&self) -> bool {
        true
    }
}

/// Two machines of one kind; a state goes from the first to the second, whole and damaged. A damaged one is refused
/// and changes nothing, or is one that a unit can be in: it is kept as it is, and whatever comes then does no harm.
pub fn state(data: &[u8]) {
    let mut script = Script(data);
    let one = Machine::new(&mut script);
    let other = Machine::new(&mut Script(data));
    other.unit.connect(Arc::new(Patient));
    bring_up(&one, &mut script);
    for _ in 0..script.byte() % 32 {
        step(&one, &mut script);
    }

    let whole = one.unit.save();
    other.take_memory_of(&one);
    assert_eq!(other.unit.restore(&whole), Ok(()));
    assert_eq!(other.unit.save(), whole, "a state is what it was taken up as");

    let damaged = damage(&whole, &mut script);
    match other.unit.restore(&damaged) {
        Ok(()) => assert_eq!(other.unit.save(), damaged, "a state is what it was taken up as"),
        Err(error) => {
            assert_ne!(damaged, whole);
            assert!(error != StateError::Capabilities || damaged[12..36] != whole[12..36]);
            assert_eq!(other.unit.save(), whole, "a state that is refused changes nothing");
        }
    }
    other.unit.resume();
    while !script.ended() {
        step(&other, &mut script);
    }
    one.finish();
    other.finish();
}

/// Tables, a queue and an interrupt table in use, more often than chance would have them.
fn bring_up(machine: &Machine, script: &mut Script<'_>) {
    let kind = script.byte();
    machine.set(RTADDR, script.page() | u64::from(kind & 3) << 10);
    machine.set(IQA, script.page() | u64::from(kind >> 2 & 1) | u64::from(kind >> 3 & 1) << 11);
    machine.set(IRTA, script.page() | 1 << 11 | 7);
    machine.set(PQA, script.page());
    for (bit, command) in [(4, 30), (4, 31), (5, 26), (6, 24), (6, 25)] {
        if kind >> bit & 1 == 1 {
            machine.command(1 << command);
        }
    }
}

/// Some bytes of a state changed, cut off or added; more often than not the checksum fits all the same.
fn damage(whole: &[u8], script: &mut Script<'_>) -> Vec<u8> {
    let mut state = whole.to_vec();
    let shape = script.byte();
    for _ in 0..shape & 3 {
        // The registers that there are, what comes after all of them, or anything.
        let place = usize::from(script.half());
        let place = match shape >> 2 & 3 {
            0 => 40 + place % 0x300,
            1 => state.len() - 1 - place % 0x100,
            _ => place % state.len(),
        };
        state[place] = script.byte();
    }
    match shape >> 4 & 7 {
        0 => state.truncate(usize::from(script.half()) % (whole.len() + 1)),
        1 => state.extend(script.word().to_le_bytes()),
        _ => {}
    }
    if shape & 0x80 == 0
        && let Some((content, sum)) = state.split_last_chunk_mut::<8>()
    {
        // FNV-1a.
        *sum = content
            .iter()
            .fold(0xCBF2_9CE4_8422_2325_u64, |sum, byte| {
                (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
            })
            .to_le_bytes();
    }
    state
}
