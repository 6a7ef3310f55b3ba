use super::*;
use crate::testing::{Interposed, Machine, Record, SOURCE, descriptor};

/// Present, vector 0x35, destination 7.
const ENTRY: u64 = 7 << 32 | 0x35 << 16 | 1;

fn request(index: u64) -> MsiMessage {
    MsiMessage { address: 0xFEE0_0010 | (index & 0x7FFF) << 5 | (index >> 15) << 2, data: 0 }
}

fn delivered(destination: u64, data: u32) -> MsiMessage {
    MsiMessage { address: 0xFEE0_0000 | destination << 12, data }
}

fn remapping() -> Machine {
    let machine = Machine::new();
    machine.enable_queue();
    machine.enable_interrupts(true);
    machine.platform.take();
    machine
}

/// The fault that a request of index 5 meets, both as told and as recorded.
fn refusal(machine: &Machine, request: MsiMessage) -> u8 {
    let refused = machine.remap(SOURCE, request).unwrap_err();
    let records = machine.take_faults();
    let info = 5 << 48;
    assert_eq!(records, [Record { source: SOURCE, reason: refused.reason, info, read: false }]);
    refused.reason
}

#[test]
fn while_remapping_is_off_every_request_passes_as_it_is() {
    let machine = Machine::new();
    for address in [0xFEE0_1000, 0xFEE0_0010] {
        let request = MsiMessage { address, data: 0xFFFF_FFFF };
        assert_eq!(machine.remap(SOURCE, request), Ok(Some(request)));
        assert_eq!(machine.unit.resolve(SOURCE, request).message(), Some(request));
    }
}

#[test]
fn an_entry_replaces_the_request() {
    let machine = remapping();
    machine.interrupt_entry(5, [ENTRY, 0]);
    assert_eq!(machine.remap(SOURCE, request(5)), Ok(Some(delivered(7, 0x35))));
    let resolution = machine.unit.resolve(SOURCE, request(5));
    assert_eq!((resolution.entry, resolution.message()), (Some(5), Some(delivered(7, 0x35))));
}

#[test]
fn refused_requests_are_recorded_with_their_index() {
    let machine = remapping();
    assert_eq!(refusal(&machine, request(5)), 0x22);
    machine.interrupt_entry(5, [ENTRY | 1 << 12, 0]);
    assert_eq!(refusal(&machine, request(5)), 0x24);
    // Posted format is one that there is not, since the unit does not post.
    machine.interrupt_entry(5, [ENTRY | 1 << 15, 0]);
    assert_eq!(refusal(&machine, request(5)), 0x24);
    machine.interrupt_entry(5, [ENTRY, 3 << 18 | u64::from(SOURCE.0)]);
    assert_eq!(refusal(&machine, request(5)), 0x24);
    let subhandle = MsiMessage { address: request(5).address | 1 << 3, data: 1 << 16 };
    assert_eq!(refusal(&machine, subhandle), 0x20);
}

#[test]
fn an_index_beyond_the_table_is_refused() {
    let machine = remapping();
    machine.interrupt_entry(255, [ENTRY, 0]);
    assert!(machine.remap(SOURCE, request(255)).is_ok());
    for index in [256, 0x7FFF, 0xFFFF] {
        assert_eq!(machine.remap(SOURCE, request(index)).unwrap_err().reason, 0x21);
        assert_eq!(machine.take_faults()[0].info, index << 48);
    }
    // A sum that does not fit does not wrap around to a valid index.
    let sum = MsiMessage { address: request(0xFFFF).address | 1 << 3, data: 0xFF };
    assert_eq!(machine.remap(SOURCE, sum).unwrap_err().reason, 0x21);
}

#[test]
fn a_table_outside_memory_is_refused() {
    let mut machine = Machine::new();
    machine.interrupts = 1 << 40;
    machine.enable_interrupts(true);
    assert_eq!(refusal(&machine, request(5)), 0x23);
}

#[test]
fn a_requester_cannot_use_the_entry_of_another() {
    let machine = remapping();
    machine.interrupt_entry(5, [ENTRY, 1 << 18 | u64::from(SOURCE.0)]);
    assert!(machine.remap(SOURCE, request(5)).is_ok());
    // Also not by way of the cache, and not as another function of the same device.
    for source in [SourceId(SOURCE.0 ^ 1), SourceId(0)] {
        assert_eq!(machine.remap(source, request(5)).unwrap_err().reason, 0x26);
        assert_eq!(machine.take_faults()[0].source, source);
    }
}

#[test]
fn a_bus_range_lets_in_the_buses_between_start_and_end() {
    let machine = remapping();
    machine.interrupt_entry(5, [ENTRY, 2 << 18 | 0x0103]);
    for (bus, accepted) in [(0, false), (1, true), (3, true), (4, false)] {
        assert_eq!(machine.remap(SourceId(bus << 8), request(5)).is_ok(), accepted, "{bus}");
    }
}

#[test]
fn compatibility_format_passes_only_if_allowed_and_not_in_extended_mode() {
    use crate::spec::registers::Global;
    let message = MsiMessage { address: 0xFEE0_1000, data: 0x41 };
    for (extended, allowed, passes) in
        [(false, false, false), (true, false, false), (true, true, false), (false, true, true)]
    {
        let machine = Machine::new();
        machine.enable_interrupts(extended);
        if allowed {
            machine.command(Global::COMPATIBILITY, Global::empty());
            assert!(machine.status().contains(Global::COMPATIBILITY));
        }
        let outcome = machine.remap(SOURCE, message);
        assert_eq!(outcome.is_ok(), passes, "{extended} {allowed}");
        if !passes {
            assert_eq!(outcome.unwrap_err().reason, 0x25);
            assert_eq!(machine.take_faults()[0].info, 0);
        }
        machine.command(Global::empty(), Global::COMPATIBILITY);
        assert!(machine.remap(SOURCE, message).is_err());
    }
}

#[test]
fn an_entry_is_remembered_until_it_is_invalidated() {
    let machine = remapping();
    machine.interrupt_entry(5, [ENTRY, 0]);
    machine.interrupt_entry(6, [ENTRY, 0]);
    let get = |index| machine.remap(SOURCE, request(index)).unwrap().unwrap().data;
    assert_eq!((get(5), get(6)), (0x35, 0x35));
    machine.interrupt_entry(5, [ENTRY + (1 << 16), 0]);
    machine.interrupt_entry(6, [ENTRY + (1 << 16), 0]);
    assert_eq!((get(5), get(6)), (0x35, 0x35));
    machine.submit(&[descriptor::interrupt_index(5, 0)]);
    assert_eq!((get(5), get(6)), (0x36, 0x35));
    machine.submit(&[descriptor::interrupt_global()]);
    assert_eq!((get(5), get(6)), (0x36, 0x36));
}

#[test]
fn what_is_invalidated_while_it_is_looked_up_is_not_remembered() {
    let machine = Machine::new();
    let address = machine.interrupts + 5 * 16;
    let mode = InterruptMode::default().with_table(TablePointer(machine.interrupts | 7)).with_remapping(true);
    let machine = Arc::new(machine);
    for read in [address, address + 8] {
        let memory = Arc::new(Interposed::new(Arc::clone(&machine.memory)));
        let interrupts = Arc::new(InterruptRemapping::new(Arc::clone(&memory), false));
        interrupts.set_mode(mode);
        machine.interrupt_entry(5, [0x35 << 16 | 1, 0]);
        // After the second time that the entry is seen, it counts as read.
        let (guest, unit, again) = (Arc::clone(&machine), Arc::clone(&interrupts), Arc::clone(&memory));
        memory.after_read(read, move || {
            again.after_read(address + 8, move || {
                guest.interrupt_entry(5, [0x36 << 16 | 1, 0]);
                unit.invalidate(EntryRange::Some { first: 5, count: 1 });
            });
        });
        let vector = || match interrupts.judge(SOURCE, request(5), None).outcome {
            Ok(Verdict::Deliver(message)) => message.data,
            other => panic!("{other:?}"),
        };
        vector();
        assert_eq!(vector(), 0x36, "{read:#x}");
    }
}

#[test]
fn an_entry_not_present_is_looked_for_anew_each_time() {
    let machine = remapping();
    assert!(machine.remap(SOURCE, request(5)).is_err());
    machine.interrupt_entry(5, [ENTRY, 0]);
    assert!(machine.remap(SOURCE, request(5)).is_ok());
}

#[test]
fn an_entry_may_keep_its_faults_to_itself() {
    let machine = remapping();
    machine.interrupt_entry(5, [2, 0]);
    assert_eq!(machine.remap(SOURCE, request(5)).unwrap_err().reason, 0x22);
    machine.interrupt_entry(5, [ENTRY | 2, 1 << 18]);
    assert_eq!(machine.remap(SOURCE, request(5)).unwrap_err().reason, 0x26);
    assert_eq!(machine.take_faults(), []);
}

#[test]
fn resolving_records_nothing() {
    let machine = remapping();
    let resolution = machine.unit.resolve(SOURCE, request(5));
    assert_eq!((resolution.entry, resolution.outcome.unwrap_err().reason), (Some(5), 0x22));
    assert_eq!(machine.take_faults(), []);
    assert_eq!(machine.platform.take(), []);
}

#[test]
fn extended_mode_counts_as_it_was_when_the_table_was_taken_into_use() {
    use crate::spec::registers::{Global, IRTA};
    let machine = Machine::new();
    machine.enable_interrupts(false);
    machine.interrupt_entry(5, [0xAB << 40 | 0x35 << 16 | 1, 0]);
    let get = || machine.remap(SOURCE, request(5)).map(|message| message.unwrap().address);
    assert_eq!(get(), Ok(0xFEEA_B000));
    machine.write_u64(IRTA, machine.interrupts | 1 << 11 | 7);
    assert_eq!(get(), Ok(0xFEEA_B000));
    machine.command(Global::INTERRUPT_POINTER, Global::empty());
    assert_eq!(get(), Ok(0x0000_AB00 << 32 | 0xFEE0_0000));
}

#[test]
fn an_entry_is_seen_as_it_stood_at_one_moment() {
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Memory whose entry is replaced, whole, between any two reads of its halves, for a while.
    struct Restless(std::sync::Mutex<(u64, u32)>, AtomicBool);

    impl TableMemory for Restless {
        fn read_u64(&self, address: GuestAddress) -> Result<u64, crate::MemoryError> {
            let mut state = self.0.lock().unwrap();
            let value = if address.0 & 8 == 0 { state.0 << 16 | 1 } else { state.0 };
            if state.1 > 0 {
                state.1 -= 1;
                state.0 += 1;
            }
            self.1.store(true, Ordering::Relaxed);
            Ok(value)
        }

        fn write_u32(&self, address: GuestAddress, _: u32) -> Result<(), crate::MemoryError> {
            Err(crate::MemoryError(address.0))
        }

        fn compare_exchange_u64(
            &self,
            address: GuestAddress,
            _: u64,
            _: u64,
        ) -> Result<Result<u64, u64>, crate::MemoryError> {
            Err(crate::MemoryError(address.0))
        }

        fn fetch_or_u64(&self, address: GuestAddress, _: u64) -> Result<u64, crate::MemoryError> {
            Err(crate::MemoryError(address.0))
        }
    }

    for changes in 0..=5 {
        let memory = Restless(std::sync::Mutex::new((0x40, changes)), AtomicBool::new(false));
        let remapping = InterruptRemapping::new(Arc::new(memory), false);
        let InterruptEntry([low, high]) = remapping.snapshot(GuestAddress(0x1000)).unwrap();
        assert_eq!(low >> 16, high, "{changes}");
    }
}
