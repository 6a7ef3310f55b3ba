//! A unit and the one that takes its state up are the same to everyone: whatever comes later, both answer alike.
//!
//! Tables stand still, since what the first unit remembers of them is not taken along; that a change counts only
//! when it has been announced is for the tests of the caches.

use proptest::prelude::*;
use vm_memory::Bytes;

use crate::spec::registers::{
    CCMD, FECTL, FSTS, GCMD, ICS, IECTL, IOTLB, IQA, IQT, IRTA, IVA, PECTL, PHMBASE, PHMLIMIT, PLMBASE,
    PLMLIMIT, PMEN, PQA, PQH, PQT, PRS, RTADDR,
};
use crate::testing::device::Device;
use crate::testing::scalable::{
    DEVICE_TLB, FIRST_STAGE, NESTED, P, PAGE_REQUESTS, PASIDS, PASS_THROUGH, PWU, SECOND_STAGE, WALK_SNOOP,
    WIDTH_48,
};
use crate::testing::{DATA, Machine, RW, SOURCE, Sent};
use crate::{
    Access, Blocked, Capabilities, GuestAddress, InvalidationCompletion, Iova, MsiMessage, PageRequest,
    PageResponse, Pasid, Profile, Request, SourceId, Translation, TranslationError, TranslationRequest,
};

/// What lies in memory: tables from the second MiB on, data, and apart from both what the unit itself writes.
const TABLES: u64 = 1 << 20;
const STATUS: u64 = DATA + 0x2_0000;
const REQUESTS: u64 = DATA + 0x2_1000;
const PARTS: [(u64, usize); 2] = [(TABLES, 0x4_0000), (DATA, 0x2_3000)];

#[derive(Clone, Copy, Debug)]
enum Act {
    Write(u64, u64),
    Command(u32),
    Access(Request, Iova, u64),
    Translate(TranslationRequest),
    Page(PageRequest),
    Remap(SourceId, MsiMessage),
}

#[derive(Debug, PartialEq)]
enum Answer {
    /// Every register that is not 0.
    Written(Vec<(u64, u32)>),
    Access(Result<(u64, u64), Blocked>),
    Translation(Result<Translation, TranslationError>),
    Page(Option<PageResponse>),
    Remap(Result<Option<MsiMessage>, Blocked>),
}

/// Registers whose values mean something, and such values.
fn writes() -> impl Strategy<Value = Act> {
    let addresses = prop_oneof![Just(0_u64), 0_u64..64];
    let pointer = (0_u64..130).prop_map(|index| index * 16);
    prop_oneof![
        4 => pointer.clone().prop_map(|tail| Act::Write(IQT, tail)),
        2 => (0_u64..128).prop_map(|index| Act::Write(PQH, index * 32)),
        1 => (0_u64..128).prop_map(|index| Act::Write(PQT, index * 32)),
        2 => (0_u64..3, 0_u64..4).prop_map(|(page, mode)| Act::Write(RTADDR, (TABLES + page * 0x1000) | mode << 10)),
        2 => (any::<bool>(), 0_u64..2).prop_map(|(wide, order)| {
            Act::Write(IQA, (TABLES + 0x1000) | u64::from(wide) << 11 | order)
        }),
        1 => (any::<bool>(), 0_u64..16).prop_map(|(extended, size)| {
            Act::Write(IRTA, (TABLES + 0x2000) | u64::from(extended) << 11 | size)
        }),
        1 => (0_u64..2).prop_map(|order| Act::Write(PQA, REQUESTS | order)),
        3 => prop::sample::select(vec![FECTL, IECTL, PECTL]).prop_flat_map(|event| {
            prop_oneof![
                any::<bool>().prop_map(move |masked| Act::Write(event, u64::from(masked) << 31)),
                any::<u16>().prop_map(move |data| Act::Write(event + 4, data.into())),
                any::<u8>().prop_map(move |to| Act::Write(event + 8, 0xFEE0_0000 | u64::from(to) << 12)),
            ]
        }),
        3 => (prop::sample::select(vec![FSTS, ICS, PRS]), any::<u8>())
            .prop_map(|(status, ones)| Act::Write(status, ones.into())),
        2 => (0_u64..64).prop_map(|index| Act::Write(0x1000 + index * 16 + 12, 1 << 31)),
        1 => (prop::sample::select(vec![PLMBASE, PLMLIMIT, PHMBASE, PHMLIMIT]), addresses)
            .prop_map(|(register, place)| Act::Write(register, place << 20)),
        1 => any::<bool>().prop_map(|on| Act::Write(PMEN, u64::from(on) << 31)),
        1 => (any::<u32>(), 0_u64..4).prop_map(|(low, kind)| Act::Write(CCMD, u64::from(low) | kind << 61 | 1 << 63)),
        1 => (0_u64..8, 0_u64..4).prop_map(|(domain, kind)| Act::Write(IOTLB, domain << 32 | kind << 60 | 1 << 63)),
        1 => (0_u64..64).prop_map(|page| Act::Write(IVA, page << 12)),
        4 => prop_oneof![Just(31), Just(30), Just(26), Just(25), Just(24), Just(23)]
            .prop_map(|bit: u32| Act::Command(1 << bit)),
    ]
}

fn source() -> impl Strategy<Value = SourceId> {
    prop_oneof![6 => Just(SOURCE), 1 => Just(SourceId(0x0200)), 1 => any::<u16>().prop_map(SourceId)]
}

fn pasid() -> impl Strategy<Value = Option<Pasid>> {
    prop_oneof![4 => Just(None), 4 => (0_u32..8).prop_map(|pasid| Some(Pasid(pasid))), 1 => Just(Some(Pasid(1 << 19)))]
}

fn iova() -> impl Strategy<Value = Iova> {
    prop_oneof![
        8 => (0_u64..10, 0_u64..0x1000).prop_map(|(page, offset)| page * 0x1000 + offset),
        1 => any::<u64>(),
        1 => Just(0xFEE0_1000),
    ]
    .prop_map(Iova)
}

fn requests() -> impl Strategy<Value = Act> {
    let access = prop_oneof![Just(Access::Read), Just(Access::Write), Just(Access::Atomic)];
    let request = (source(), pasid(), access, any::<[bool; 3]>()).prop_map(
        |(source, pasid, access, [privileged, execute, translated])| Request {
            pasid,
            privileged,
            execute,
            translated: translated && execute,
            ..Request::new(source, access)
        },
    );
    let group = (source(), pasid(), iova(), any::<[bool; 5]>(), 0_u16..512);
    prop_oneof![
        5 => (request, iova(), 0_u64..0x3000).prop_map(|(request, iova, length)| Act::Access(request, iova, length)),
        2 => (source(), pasid(), iova(), any::<[bool; 3]>()).prop_map(
            |(source, pasid, iova, [privileged, execute, no_write])| {
                Act::Translate(TranslationRequest { source, pasid, privileged, execute, no_write, iova })
            }
        ),
        2 => group.prop_map(|(source, pasid, iova, [privileged, execute, read, write, last], group)| {
            Act::Page(PageRequest { source, pasid, privileged, execute, read, write, last, group, iova })
        }),
        2 => (source(), 0_u64..12, any::<u8>(), any::<bool>()).prop_map(|(source, index, data, remappable)| {
            let address = 0xFEE0_0000 | index << 5 | u64::from(remappable) << 4;
            Act::Remap(source, MsiMessage { address, data: data.into() })
        }),
    ]
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(prop_oneof![writes(), requests()], 0..40)
}

/// Descriptors of 128 bits; two make one of 256, with an upper half that more often than not is not zero.
fn descriptors() -> impl Strategy<Value = Vec<[u64; 2]>> {
    let shape = prop_oneof![
        3 => (1_u64..4).prop_map(|granularity| [2 | granularity << 4 | 5 << 16, 0]),
        2 => (0_u64..4).prop_map(|granularity| [1 | granularity << 4 | 5 << 16, 0]),
        2 => (0_u64..64).prop_map(|index| [4 | 1 << 4 | index << 32, 0]),
        4 => (any::<u32>(), 0_u64..16).prop_map(|(data, place)| {
            [5 | 1 << 5 | 1 << 4 | u64::from(data) << 32, STATUS + place * 4]
        }),
        2 => Just([3 | u64::from(SOURCE.0) << 32, 0]),
        2 => (0_u64..8).prop_map(|pasid| [7 | 1 << 4 | 5 << 16 | pasid << 32, 0]),
        8 => Just([0, 0]),
        1 => any::<[u64; 2]>(),
    ];
    prop::collection::vec(shape, 0..100)
}

/// A machine with tables of both modes, of every kind of address space, and a queue full of `descriptors`.
fn machine(capabilities: Capabilities, descriptors: &[[u64; 2]]) -> Machine {
    let machine = Machine::with(capabilities);
    for (index, descriptor) in descriptors.iter().enumerate() {
        // Every other one is the lower half of a wide one.
        machine.write_memory(machine.queue + index as u64 * 32, descriptor[0]);
        machine.write_memory(machine.queue + index as u64 * 32 + 8, descriptor[1]);
    }
    let (second, first, directory) = (machine.table(), machine.table(), machine.table());
    for page in 1..8 {
        machine.map(second, page * 0x1000, (DATA + page * 0x1000) | if page % 3 == 0 { 1 } else { RW });
        machine.map_first_stage(first, page * 0x1000, (DATA + page * 0x2000) | PWU);
    }
    if capabilities.has(crate::Feature::Scalable) {
        let flags = P | DEVICE_TLB | PASIDS | PAGE_REQUESTS;
        machine.scalable_context(SOURCE, [directory | flags, 0, 0, 0]);
        let kinds = [SECOND_STAGE, FIRST_STAGE, PASS_THROUGH, NESTED, 0];
        for (pasid, kind) in (0..).zip(kinds) {
            let low = second | WIDTH_48 | kind | 1 << 9 | 1;
            machine.pasid_entry(directory, pasid, [low, 5 | WALK_SNOOP, first, 0, 0, 0, 0, 0]);
        }
    } else {
        machine.context(SOURCE, [second | 1, 2 | 5 << 8]);
    }
    for index in 0..8 {
        let entry = [1 | index << 16 | index << 40, if index % 3 == 2 { u64::MAX } else { 0 }];
        machine.interrupt_entry(index as u16, entry);
    }
    machine
}

fn registers(machine: &Machine) -> Vec<(u64, u32)> {
    let window = (0..machine.unit.capabilities().window_size()).step_by(4);
    window.map(|offset| (offset, machine.read(offset))).filter(|(_, value)| *value != 0).collect()
}

/// The unit's answer and what it sent meanwhile.
fn answer(machine: &Machine, act: Act) -> (Answer, Vec<Sent>) {
    let unit = &machine.unit;
    let answer = match act {
        Act::Write(offset, value) => {
            // The registers of 64 bits in one go, and the others by themselves.
            let eight = [RTADDR, CCMD, IQT, IQA, IRTA, PQH, PQT, PQA, PHMBASE, PHMLIMIT, IVA, IOTLB];
            if eight.contains(&offset) {
                machine.write_u64(offset, value);
            } else {
                machine.write(offset, value as u32);
            }
            Answer::Written(registers(machine))
        }
        Act::Command(bit) => {
            let standing = machine.status().bits() & 0x96FF_FFFF;
            machine.write(GCMD, standing ^ bit);
            Answer::Written(registers(machine))
        }
        Act::Access(request, iova, length) => {
            Answer::Access(unit.access(&request, iova, length, |address, length| (address.0, length)))
        }
        Act::Translate(request) => Answer::Translation(unit.translate(&request)),
        Act::Page(request) => Answer::Page(unit.page_request(&request)),
        Act::Remap(source, message) => Answer::Remap(machine.remap(source, message)),
    };
    (answer, machine.platform.take())
}

/// All memory that anything lies in.
fn memory(machine: &Machine) -> Vec<Vec<u8>> {
    let part = |(start, length)| {
        let mut bytes = vec![0; length];
        machine.memory.read_slice(&mut bytes, GuestAddress(start)).unwrap();
        bytes
    };
    PARTS.into_iter().map(part).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_unit_and_the_one_that_takes_up_its_state_answer_alike(
        profile in prop::sample::select(vec![Profile::Legacy, Profile::SecondStage, Profile::FirstStage, Profile::Full]),
        descriptors in descriptors(),
        running in any::<bool>(),
        answers in prop::sample::select(vec![
            InvalidationCompletion::Done, InvalidationCompletion::Malformed, InvalidationCompletion::Silent,
        ]),
        before in acts(),
        after in acts(),
    ) {
        let machine = machine(Capabilities::new(profile, 48), &descriptors);
        if running {
            let scalable = u64::from(profile != Profile::Legacy);
            machine.write_u64(PQA, REQUESTS);
            machine.set_table_mode(scalable);
            for command in [31, 26] {
                machine.write_u64(IQA, machine.queue | scalable << 11);
                let _ = answer(&machine, Act::Command(1 << command));
            }
            machine.enable_interrupts(true);
        }
        for act in before {
            let _ = answer(&machine, act);
        }
        let state = machine.unit.save();
        // Each has devices and memory of its own.
        let copy = Machine::with(machine.unit.capabilities());
        for (bytes, (start, _)) in memory(&machine).iter().zip(PARTS) {
            copy.memory.write_slice(bytes, GuestAddress(start)).unwrap();
        }
        prop_assert_eq!(copy.unit.restore(&state), Ok(()));
        prop_assert_eq!(copy.unit.save(), state);
        let _ = [&machine, &copy].map(|machine| machine.platform.take());
        let devices = [&machine, &copy].map(|machine| {
            let device = Device::new(machine, SOURCE);
            device.answers(answers);
            device
        });
        for (index, act) in after.into_iter().enumerate() {
            prop_assert_eq!(answer(&machine, act), answer(&copy, act), "{}: {:x?}", index, act);
        }
        prop_assert_eq!(devices[0].take_invalidations(), devices[1].take_invalidations());
        prop_assert_eq!(devices[0].take_responses(), devices[1].take_responses());
        prop_assert!(memory(&machine) == memory(&copy));
        prop_assert!(machine.unit.save() == copy.unit.save());
    }
}
