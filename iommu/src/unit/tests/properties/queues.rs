//! Whatever the invalidation queue holds, the unit gets through it or stops where it says.

use super::*;
use crate::InvalidationCompletion;
use crate::spec::descriptor::{Descriptor, Kinds, Wait};
use crate::spec::registers::{IQA, IQERCD, QueueError};
use crate::testing::descriptor as build;

/// Devices, by how they answer. Any other is not there.
const HONEST: u16 = SOURCE.0;
const WRONG: u16 = 0x0200;
const SILENT: u16 = 0x0300;

/// Where wait descriptors write: four words.
const STATUS: u64 = DATA;

/// A descriptor that is likely to be in order.
fn descriptor() -> impl Strategy<Value = [u64; 4]> {
    let source = prop_oneof![
        6 => Just(HONEST), 1 => Just(WRONG), 1 => Just(SILENT), 1 => any::<u16>()
    ];
    let fields = (0..10_u64, 0..4_u64, source.prop_map(u64::from), 0..4_u64, 0..4_u64, value());
    let good = fields.prop_map(|(kind, granularity, source, domain, pasid, address)| match kind {
        0 => build::context_device(domain, source, granularity),
        1 => build::iotlb_domain(domain),
        2 => build::iotlb_pages(domain, address, granularity),
        3 => build::interrupt_index(pasid, granularity),
        4 => build::device_tlb(source, address, granularity > 1),
        5 => build::pasid_device_tlb(source, pasid, address, granularity > 1),
        6 => build::pasid_iotlb_pages(domain, pasid, address, address & 0x3F),
        7 => build::pasid_cache([0, 1, 3, 3][granularity as usize], domain, pasid),
        8 => build::page_response(source, Some(pasid), address & 0x1FF, granularity & 1),
        _ => build::wait_status(STATUS + domain * 4, address & 0xFFFF),
    });
    let noise = prop_oneof![
        30 => Just([0; 4]),
        1 => (0..256_u32).prop_map(|bit| {
            let mut noise = [0; 4];
            noise[bit as usize / 64] = 1 << (bit % 64);
            noise
        }),
        1 => any::<[u64; 4]>(),
    ];
    (good, noise).prop_map(|([low, high], noise)| [low ^ noise[0], high ^ noise[1], noise[2], noise[3]])
}

/// What is to become of the queue.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    head: u64,
    error: Option<QueueError>,
    wrong: bool,
    silent: bool,
    statuses: [u32; 4],
}

/// The rules of §6.5.2, for a queue whose descriptors are at hand.
fn expected(descriptors: &[[u64; 4]], kinds: Kinds, capabilities: &Capabilities) -> Outcome {
    let mut outcome = Outcome::default();
    for (index, raw) in descriptors.iter().enumerate() {
        outcome.head = index as u64;
        match Descriptor::decode(*raw, kinds, capabilities) {
            Err(error) => {
                outcome.error = Some(error);
                return outcome;
            }
            Ok(Descriptor::DeviceTlb(SourceId(HONEST), _)) => {}
            Ok(Descriptor::DeviceTlb(SourceId(WRONG), _)) => outcome.wrong = true,
            Ok(Descriptor::DeviceTlb(..)) => outcome.silent = true,
            Ok(Descriptor::Wait(_)) if outcome.silent => {
                outcome.head = index as u64 + 1;
                return outcome;
            }
            Ok(Descriptor::Wait(Wait { status: Some((address, data)), .. })) => {
                match address.0.checked_sub(STATUS).filter(|offset| *offset < 16) {
                    Some(offset) => outcome.statuses[offset as usize / 4] = data,
                    None if address.0 < DATA * 2 => {}
                    None => {
                        outcome.error = Some(QueueError::NoInformation);
                        return outcome;
                    }
                }
            }
            Ok(_) => {}
        }
        outcome.head = index as u64 + 1;
    }
    outcome
}

fn observed(machine: &Machine, width: u64) -> Outcome {
    let bit = |bit: u32| machine.read(FSTS) & 1 << bit != 0;
    let error = bit(4).then(|| match machine.read(IQERCD) {
        0 => QueueError::NoInformation,
        3 => QueueError::InvalidType,
        4 => QueueError::ReservedField,
        other => panic!("{other}"),
    });
    let head = u64::from(machine.read(IQH));
    assert!(head.is_multiple_of(width));
    let statuses = [0, 4, 8, 12].map(|offset| {
        let word = machine.read_memory((STATUS + offset) & !7);
        (word >> ((offset & 4) * 8)) as u32
    });
    Outcome { head: head / width, error, wrong: bit(5), silent: bit(6), statuses }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_queue_is_done_or_stops_where_it_says(
        table_mode in prop_oneof![Just(0), Just(1), Just(3)],
        wide in any::<bool>(),
        descriptors in prop::collection::vec(descriptor(), 0..128),
    ) {
        let machine = Machine::with(Capabilities::new(Profile::Full, 48));
        let answers = [
            (HONEST, InvalidationCompletion::Done),
            (WRONG, InvalidationCompletion::Malformed),
            (SILENT, InvalidationCompletion::Silent),
        ];
        let _devices = answers.map(|(source, answer)| {
            let device = Device::new(&machine, SourceId(source));
            device.answers(answer);
            device
        });
        let (width, kinds) = match (table_mode, wide) {
            (0, false) => (16, Kinds::Legacy),
            (0, true) => (32, Kinds::Legacy),
            _ => (32, Kinds::All),
        };
        for (index, raw) in descriptors.iter().enumerate() {
            for (word, value) in raw[..width as usize / 8].iter().enumerate() {
                machine.write_memory(machine.queue + index as u64 * width + word as u64 * 8, *value);
            }
        }
        // The last place of a queue stays free.
        let tail = descriptors.len().min(0x1000 / width as usize - 1);
        let descriptors: Vec<_> = descriptors[..tail]
            .iter()
            .map(|raw| if width == 16 { [raw[0], raw[1], 0, 0] } else { *raw })
            .collect();
        machine.set_table_mode(table_mode);
        machine.write_u64(IQA, machine.queue | if width == 32 { 1 << 11 } else { 0 });
        machine.command(Global::QUEUE, Global::empty());
        machine.write(IQT, (tail as u64 * width) as u32);
        let expected = expected(&descriptors, kinds, &machine.unit.capabilities());
        prop_assert_eq!(observed(&machine, width), expected);
    }

    #[test]
    fn a_queue_of_anything_ends(
        words in prop::collection::vec(value(), 512),
        full in any::<bool>(),
        registers in any::<[u64; 2]>(),
        tail in any::<u32>(),
    ) {
        let profile = if full { Profile::Full } else { Profile::Legacy };
        let machine = Machine::with(Capabilities::new(profile, 48));
        for (index, word) in words.into_iter().enumerate() {
            machine.write_memory(machine.queue + index as u64 * 8, word);
        }
        let [table_mode, size] = registers;
        machine.set_table_mode(table_mode & 3);
        machine.write_u64(IQA, machine.queue | size & 0x801);
        machine.command(Global::QUEUE, Global::empty());
        machine.write(IQT, tail);
        let stopped = machine.read(FSTS) & (1 << 4 | 1 << 6) != 0;
        prop_assert!(stopped || machine.queue_is_done());
        prop_assert!(machine.read(IQH) < 0x1000 << (size & 1));
    }
}
