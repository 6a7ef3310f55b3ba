use super::*;

#[test]
fn each_slot_keeps_what_the_user_says_or_what_there_is_room_for() {
    let mailbox = Mailbox::new().unwrap();
    let reserve = |text: &str, slots, high| {
        let spec: HotPlugSpec = text.parse().unwrap();
        Plan::new(&spec, slots, high, mailbox.clone()).reserve
    };
    let usual = Reserve { memory: 16 << 20, prefetchable: 1 << 30, ports: 0x1000 };
    assert_eq!(reserve("2", 2, true), usual);
    assert_eq!(reserve("2", 2, false), Reserve { prefetchable: 16 << 20, ..usual });
    assert_eq!(reserve("9", 9, true), Reserve { ports: 0, ..usual });
    let said = Reserve { memory: 64 << 20, prefetchable: 32 << 30, ..usual };
    assert_eq!(reserve("1,memory=64M,prefetchable=32G", 1, false), said);
}

#[test]
fn a_guest_that_was_asked_a_moment_ago_is_not_asked_again() {
    struct Nowhere;
    impl InterruptLine for Nowhere {
        fn set(&self, _asserted: bool) {}
    }
    let pci = RootComplex::new(pci::Windows { memory32: 0..0, memory64: 0..0, ports: 0..0 });
    let mut slot = HotSlot::new(8, pci.root_bus(), Arc::new(Nowhere));
    assert!(slot.ask());
    assert!(!slot.ask());
    slot.asked = Instant::now().checked_sub(PATIENCE);
    assert!(slot.ask());
    assert!(!slot.ask());
}
