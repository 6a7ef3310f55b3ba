use proptest::prelude::*;

use super::*;

const ON: u16 = ENABLE;
const MASKED: u16 = ENABLE | FUNCTION_MASK;

/// A table whose vector `n` is unmasked and sends `n` to 0xFEE0_0000.
fn programmed(vectors: u16) -> Msix {
    let msix = Msix::new(vectors);
    for vector in 0..vectors {
        let at = u64::from(vector) * ENTRY;
        let _ = msix.table_write(at, &0xFEE0_0000_u64.to_le_bytes());
        let _ = msix.table_write(at + 8, &u64::from(vector).to_le_bytes());
    }
    msix
}

fn message(data: u32) -> Message {
    Message { address: 0xFEE0_0000, data }
}

fn mask(msix: &Msix, vector: u16, masked: bool) -> MsixChange {
    msix.table_write(u64::from(vector) * ENTRY + 12, &u32::from(masked).to_le_bytes())
}

fn pending(msix: &Msix) -> u64 {
    let mut data = [0; 8];
    msix.pending_read(0, &mut data);
    u64::from_le_bytes(data)
}

#[test]
fn vectors_are_masked_after_power_on() {
    let msix = Msix::new(2);
    assert_eq!(msix.raise(0), Delivery::Off);
    assert_eq!(msix.set_control(ON), MsixChange { vectors: 0..2, messages: vec![] });
    assert_eq!(msix.raise(0), Delivery::Pending);
}

#[test]
fn an_enabled_unmasked_vector_sends_its_message() {
    let msix = programmed(4);
    let _ = msix.set_control(ON);
    assert_eq!(msix.raise(3), Delivery::Send(message(3)));
    assert_eq!(msix.raise(4), Delivery::Off);
    assert_eq!(pending(&msix), 0);
}

#[test]
fn unmasking_a_vector_gives_its_pending_message_once() {
    let msix = programmed(4);
    let _ = msix.set_control(ON);
    assert_eq!(mask(&msix, 2, true), MsixChange { vectors: 2..3, messages: vec![] });
    assert_eq!(msix.raise(2), Delivery::Pending);
    assert_eq!(msix.raise(2), Delivery::Pending);
    assert_eq!(pending(&msix), 0b100);
    assert_eq!(mask(&msix, 2, false), MsixChange { vectors: 2..3, messages: vec![message(2)] });
    assert_eq!(pending(&msix), 0);
    assert!(mask(&msix, 2, false).is_empty());
}

#[test]
fn unmasking_sends_what_the_entry_says_then() {
    let msix = programmed(1);
    let _ = msix.set_control(ON);
    let _ = mask(&msix, 0, true);
    assert_eq!(msix.raise(0), Delivery::Pending);
    let _ = msix.table_write(8, &77u32.to_le_bytes());
    assert_eq!(mask(&msix, 0, false).messages, [message(77)]);
}

#[test]
fn the_function_mask_holds_every_vector() {
    let msix = programmed(3);
    let _ = msix.set_control(MASKED);
    assert_eq!(msix.raise(0), Delivery::Pending);
    assert_eq!(msix.raise(2), Delivery::Pending);
    assert!(mask(&msix, 0, true).messages.is_empty());
    let change = msix.set_control(ON);
    assert_eq!(change, MsixChange { vectors: 0..3, messages: vec![message(2)] });
    assert_eq!(pending(&msix), 0b001);
}

#[test]
fn nothing_stays_pending_when_turned_off() {
    let msix = programmed(1);
    let _ = msix.set_control(MASKED);
    assert_eq!(msix.raise(0), Delivery::Pending);
    let _ = msix.set_control(0);
    assert_eq!(msix.set_control(ON).messages, []);
}

#[test]
fn a_withdrawn_interrupt_does_not_come_out() {
    let msix = programmed(1);
    let _ = msix.set_control(MASKED);
    assert_eq!(msix.raise(0), Delivery::Pending);
    msix.withdraw(0);
    assert_eq!(msix.set_control(ON).messages, []);
}

#[test]
fn a_write_across_two_entries_names_both() {
    let msix = Msix::new(4);
    let change = msix.table_write(8 + 16, &[1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(change.vectors, 1..2);
    let change = msix.table_write(12, &[0, 0, 0, 0, 0, 0x10, 0, 0]);
    assert_eq!(change.vectors, 0..2);
}

#[test]
fn vector_state_tells_message_and_masks() {
    let msix = programmed(2);
    let state = |deliverable| Some(VectorState { message: message(1), deliverable });
    assert_eq!(msix.vector(1), state(false));
    let _ = msix.set_control(ON);
    assert_eq!(msix.vector(1), state(true));
    let _ = msix.set_control(MASKED);
    assert_eq!(msix.vector(1), state(false));
    let _ = msix.set_control(ON);
    let _ = mask(&msix, 1, true);
    assert_eq!(msix.vector(1), state(false));
    assert_eq!(msix.vector(2), None);
}

#[test]
fn the_capability_points_to_table_and_pending_bits() {
    let msix = Msix::new(65);
    let mut config = ConfigSpace::new();
    let at = msix.add_capability(&mut config, (4, 0x1000), (5, 0x2000)).unwrap();
    assert_eq!(config.u32(at + 4), 0x1004);
    assert_eq!(config.u32(at + 8), 0x2005);
    config.write(at + 2, &[0xFF, 0xFF]);
    assert_eq!(config.u16(at + 2), 0xC040);
    assert_eq!((msix.table_length(), msix.pending_length()), (65 * 16, 16));
}

#[test]
fn pending_bits_are_found_at_their_place() {
    let msix = programmed(130);
    let _ = msix.set_control(MASKED);
    for vector in [0, 9, 64, 129] {
        assert_eq!(msix.raise(vector), Delivery::Pending);
    }
    let mut bits = [0xFF; 24];
    msix.pending_read(0, &mut bits);
    let mut expected = [0; 24];
    (expected[0], expected[1], expected[8], expected[16]) = (1, 2, 1, 2);
    assert_eq!(bits, expected);
}

#[test]
fn reset_masks_everything() {
    let msix = programmed(2);
    let _ = msix.set_control(MASKED);
    assert_eq!(msix.raise(1), Delivery::Pending);
    msix.reset();
    assert_eq!(pending(&msix), 0);
    assert!(!msix.is_enabled());
    let _ = msix.set_control(ON);
    assert_eq!(msix.raise(1), Delivery::Pending);
}

proptest! {
    /// Odd sizes and alignments, and offsets beyond the end, behave as the bytes they are made of.
    #[test]
    fn odd_accesses_are_the_bytes_they_are_made_of(
        writes in proptest::collection::vec((0u64..80, proptest::collection::vec(any::<u8>(), 0..9)), 0..20),
        at in 0u64..80,
        length in 0usize..9,
    ) {
        let (whole, bytewise) = (Msix::new(4), Msix::new(4));
        for (at, data) in writes {
            let _ = whole.table_write(at, &data);
            for (byte, at) in data.iter().zip(at..) {
                let _ = bytewise.table_write(at, &[*byte]);
            }
        }
        let mut data = vec![0xFF; length];
        whole.table_read(at, &mut data);
        for (byte, at) in data.iter().zip(at..) {
            let mut one = [0xFF];
            bytewise.table_read(at, &mut one);
            prop_assert_eq!(*byte, one[0]);
        }
    }

    /// However masks change, an interrupt raised while enabled is sent exactly once in the end.
    #[test]
    fn no_interrupt_is_lost_or_doubled(steps in proptest::collection::vec((0u8..5, 0u16..3), 0..40)) {
        let msix = programmed(3);
        let _ = msix.set_control(ON);
        let mut owed = [false; 3];
        let settle = |owed: &mut [bool; 3], messages: Vec<Message>| {
            for message in messages {
                let owed = &mut owed[message.data as usize];
                prop_assert!(std::mem::take(owed), "sent without being owed");
            }
            Ok(())
        };
        for (step, vector) in steps {
            match step {
                0 => match msix.raise(vector) {
                    Delivery::Send(sent) => prop_assert_eq!(sent, message(u32::from(vector))),
                    Delivery::Pending => owed[usize::from(vector)] = true,
                    Delivery::Off => prop_assert!(false, "enabled"),
                },
                1 => settle(&mut owed, mask(&msix, vector, true).messages)?,
                2 => settle(&mut owed, mask(&msix, vector, false).messages)?,
                3 => settle(&mut owed, msix.set_control(MASKED).messages)?,
                _ => settle(&mut owed, msix.set_control(ON).messages)?,
            }
        }
        settle(&mut owed, msix.set_control(ON).messages)?;
        for vector in 0..3 {
            settle(&mut owed, mask(&msix, vector, false).messages)?;
        }
        prop_assert_eq!(owed, [false; 3]);
    }
}
