//! Whatever software writes, the unit answers, and what it answers stays within its registers' meaning.

use proptest::prelude::*;

use super::*;
use crate::spec::registers::{CAP, ECAP, EVENT_PENDING, FaultStatus, ICS, PECTL, PQT, PRS, WAIT_COMPLETE};
use crate::testing::device::Device;
use crate::{Access, PageRequest, Pasid, Profile, TranslationError, TranslationRequest};

#[derive(Clone, Debug)]
enum Step {
    Write { offset: u64, data: Vec<u8> },
    Memory { address: u64, value: u64 },
    Access { request: Request, iova: u64, length: u64 },
    Translation(TranslationRequest),
    Page(PageRequest),
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
    let access = prop_oneof![Just(Access::Read), Just(Access::Write), Just(Access::Atomic)];
    let pasid = prop_oneof![Just(None), (0..70_u32).prop_map(Some), any::<u32>().prop_map(Some)]
        .prop_map(|pasid| pasid.map(Pasid));
    let flags = any::<[bool; 5]>();
    let source = prop_oneof![Just(0_u16), Just(0x0113), any::<u16>()];
    prop_oneof![
        8 => (offset, data).prop_map(|(offset, data)| Step::Write { offset, data }),
        8 => (0..64 * 512_u64, value())
            .prop_map(|(word, value)| Step::Memory { address: 0x10_0000 + word * 8, value }),
        4 => (source.clone(), pasid.clone(), flags, value(), value(), access).prop_map(
            |(source, pasid, [privileged, execute, translated, ..], iova, length, access)| {
                let source = SourceId(source);
                let request = Request { source, pasid, privileged, execute, access, translated };
                Step::Access { request, iova, length }
            }
        ),
        2 => (source.clone(), pasid.clone(), flags, value()).prop_map(
            |(source, pasid, [privileged, execute, no_write, ..], iova)| {
                let (source, iova) = (SourceId(source), Iova(iova));
                Step::Translation(TranslationRequest { source, pasid, privileged, execute, no_write, iova })
            }
        ),
        2 => (source.clone(), pasid, flags, any::<u16>(), value()).prop_map(
            |(source, pasid, [privileged, execute, read, write, last], group, iova)| {
                let (source, iova) = (SourceId(source), Iova(iova));
                Step::Page(PageRequest {
                    source, pasid, privileged, execute, read, write, last, group, iova
                })
            }
        ),
        4 => (source, value(), any::<u32>()).prop_map(|(source, address, data)| {
            Step::Interrupt { source, address: 0xFEE0_0000 | address & 0xF_FFFF, data }
        }),
        1 => Just(Step::Reset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_writes_and_requests_leave_the_unit_sound(
        full in any::<bool>(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let profile = if full { Profile::Full } else { Profile::Legacy };
        let machine = Machine::with(Capabilities::new(profile, 48));
        let _device = Device::new(&machine, SOURCE);
        let [cap, ecap] = [CAP, ECAP].map(|offset| machine.read_u64(offset));
        for step in steps {
            match step {
                Step::Write { offset, data } => machine.unit.write(offset, &data),
                Step::Memory { address, value } => machine.write_memory(address, value),
                Step::Access { request, iova, length } => {
                    let reached = |guest: GuestAddress, reached: u64| {
                        assert!(reached <= length && (reached > 0 || length == 0));
                        let last = guest.0.checked_add(reached.max(1) - 1).unwrap();
                        assert!(last < 0xFEE0_0000 || guest.0 >= 0xFEF0_0000);
                    };
                    let _ = machine.unit.access(&request, Iova(iova), length, reached);
                }
                Step::Translation(request) => match machine.unit.translate(&request) {
                    Ok(translation) => {
                        prop_assert!(translation.size.is_power_of_two() && translation.size >= 0x1000);
                        prop_assert!(translation.address.0.is_multiple_of(translation.size));
                    }
                    Err(TranslationError::Unsupported | TranslationError::Aborted) => {}
                },
                Step::Page(request) => {
                    let answered = machine.unit.page_request(&request).is_some();
                    prop_assert!(!answered || request.last && !request.is_stop_marker());
                }
                Step::Interrupt { source, address, data } => {
                    let request = MsiMessage { address, data };
                    let resolution = machine.unit.resolve(SourceId(source), request);
                    let outcome = machine.remap(SourceId(source), request);
                    prop_assert_eq!(resolution.outcome.map(|_| resolution.message()), outcome);
                }
                Step::Reset => machine.unit.reset(),
            }
            prop_assert_eq!([CAP, ECAP].map(|offset| machine.read_u64(offset)), [cap, ecap]);
            let records = machine.unit.capabilities().fault_record_offset();
            let records = (0..machine.unit.capabilities().fault_records() as u64).map(|index| records + index * 16);
            let pending = records.clone().any(|record| machine.read(record + 12) >> 31 == 1);
            prop_assert_eq!(machine.read(FSTS) >> 1 & 1 == 1, pending);
            // An event that is held back has something to tell of.
            for (control, status) in [(FECTL, FSTS), (IECTL, ICS), (PECTL, PRS)] {
                let told = machine.read(status) & !(0xFF << FaultStatus::INDEX_SHIFT);
                prop_assert!(machine.read(control) & EVENT_PENDING == 0 || told != 0, "{:x}", control);
            }
            prop_assert!(machine.read(ICS) <= WAIT_COMPLETE && machine.read(PRS) <= 3);
            prop_assert_eq!(machine.read(PQT) & !0x7_FFE0, 0);
            if !machine.status().contains(Global::QUEUE) {
                prop_assert_eq!(machine.read(IQH), 0);
            }
            // Whatever can be read can be read.
            for offset in (0..machine.unit.capabilities().window_size()).step_by(8) {
                machine.read_u64(offset);
            }
        }
    }
}

mod queues;
