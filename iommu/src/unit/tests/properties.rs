//! Whatever software writes, the unit answers, and what it answers stays within its registers' meaning.

use proptest::prelude::*;

use super::*;
use crate::Access;
use crate::spec::registers::{CAP, ECAP, FRCD, IQA};

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, data: Vec<u8> },
    Memory { address: u64, value: u64 },
    Access { source: u16, iova: u64, length: u64, access: Access },
    Interrupt { source: u16, address: u64, data: u32 },
    Reset,
}

/// Values that are likely to mean something, and any others.
fn value() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..64_u32).prop_map(|bit| 1 << bit),
        (0..64_u64, 0..0x1000_u64).prop_map(|(page, low)| (0x10_0000 + (page << 12)) | low),
        (0..16_u64, any::<u64>()).prop_map(|(low, high)| high & !0xF | low),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let offset = prop_oneof![4 => (0..0x2A0_u64 / 4).prop_map(|word| word * 4), 1 => any::<u64>()];
    let data = prop_oneof![
        4 => value().prop_map(|value| (value as u32).to_le_bytes().to_vec()),
        4 => value().prop_map(|value| value.to_le_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
    ];
    let access = prop_oneof![Just(Access::Read), Just(Access::Write)];
    let source = prop_oneof![Just(0_u16), Just(0x0113), any::<u16>()];
    prop_oneof![
        8 => (offset, data).prop_map(|(offset, data)| Step::Write { offset, data }),
        8 => (0..64 * 512_u64, value())
            .prop_map(|(word, value)| Step::Memory { address: 0x10_0000 + word * 8, value }),
        4 => (source.clone(), value(), value(), access)
            .prop_map(|(source, iova, length, access)| Step::Access { source, iova, length, access }),
        4 => (source, value(), any::<u32>()).prop_map(|(source, address, data)| {
            Step::Interrupt { source, address: 0xFEE0_0000 | address & 0xF_FFFF, data }
        }),
        1 => Just(Step::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_writes_and_requests_leave_the_unit_sound(steps in prop::collection::vec(step(), 1..120)) {
        let machine = Machine::new();
        let [cap, ecap] = [CAP, ECAP].map(|offset| machine.read_u64(offset));
        for step in steps {
            match step {
                Step::Write { offset, data } => machine.unit.write(offset, &data),
                Step::Memory { address, value } => machine.write_memory(address, value),
                Step::Access { source, iova, length, access } => {
                    let reached = |guest: GuestAddress, reached: u64| {
                        assert!(reached <= length && (reached > 0 || length == 0));
                        let last = guest.0.checked_add(reached.max(1) - 1).unwrap();
                        assert!(last < 0xFEE0_0000 || guest.0 >= 0xFEF0_0000);
                    };
                    let _ = machine.unit.access(&Request::new(SourceId(source), access), Iova(iova), length, reached);
                }
                Step::Interrupt { source, address, data } => {
                    let request = MsiMessage { address, data };
                    let resolution = machine.unit.resolve(SourceId(source), request);
                    let outcome = machine.unit.remap(SourceId(source), request);
                    prop_assert_eq!(resolution.outcome, outcome);
                }
                Step::Reset => machine.unit.reset(),
            }
            prop_assert_eq!([CAP, ECAP].map(|offset| machine.read_u64(offset)), [cap, ecap]);
            let pending = (0..8).any(|index| machine.read(FRCD + index * 16 + 12) >> 31 == 1);
            prop_assert_eq!(machine.read(FSTS) >> 1 & 1 == 1, pending);
            if !machine.status().contains(Global::QUEUE) {
                prop_assert_eq!(machine.read(IQH), 0);
            }
            // Whatever can be read can be read.
            for offset in (0..machine.unit.capabilities().window_size()).step_by(8) {
                machine.read_u64(offset);
            }
        }
    }

    #[test]
    fn a_queue_of_anything_ends(
        words in prop::collection::vec(value(), 512),
        size in 0..3_u64,
        tail in any::<u32>(),
    ) {
        let machine = Machine::new();
        for (index, word) in words.into_iter().enumerate() {
            machine.write_memory(machine.queue + index as u64 * 8, word);
        }
        machine.write_u64(IQA, machine.queue | size);
        machine.command(Global::QUEUE, Global::empty());
        machine.write(IQT, tail);
        let stopped = machine.read(FSTS) & 1 << 4 != 0;
        prop_assert!(stopped || machine.queue_is_done());
        prop_assert!(machine.read(IQH) < 0x1000 << size);
    }
}
