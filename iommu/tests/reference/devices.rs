//! Descriptors for devices through the queue: every device is told what is meant for it, and how it answers
//! shows in the registers.

use std::sync::{Arc, Mutex};

use iommu::{
    Capabilities, DeviceTlb, DeviceTlbInvalidation, Feature, InvalidationCompletion, PageResponse, Profile,
    SourceId,
};
use proptest::prelude::*;

use crate::bits::{field, mask};
use crate::capability::Caps;
use crate::device::{INVALIDATE, INVALIDATE_PASID, Message, RESPOND, decode as decode_message, is_open};
use crate::dispatch::{LEGACY, SCALABLE};
use crate::generate::descriptors::Words as Descriptor;
use crate::memory::{Memory, Words};
use crate::queue::{Command, decode};
use crate::rig::{FECTL, FSTS, IQA, IQERCD, IQH, IQT, QIE, Rig};
use crate::walks::config;

const SOURCES: [u16; 3] = [0x0008, 0x0100, 0xFFFF];
const IQE: u32 = 1 << 4;
const ICE: u32 = 1 << 5;
const ITE: u32 = 1 << 6;
const SIZE: u64 = 32;

/// A device that writes down what it is told, and answers as it should not.
struct Device {
    source: SourceId,
    told: Mutex<Vec<Message>>,
    answers: Mutex<std::vec::IntoIter<InvalidationCompletion>>,
}

impl DeviceTlb for Device {
    fn source_id(&self) -> SourceId {
        self.source
    }

    fn invalidate(&self, what: &DeviceTlbInvalidation) -> InvalidationCompletion {
        let mut what = *what;
        if what.size.is_none() {
            what.iova.0 = 0;
        }
        self.told.lock().unwrap().push(Message::Invalidate(what));
        self.answers.lock().unwrap().next().unwrap_or(InvalidationCompletion::Done)
    }

    fn page_response(&self, response: &PageResponse) {
        self.told.lock().unwrap().push(Message::Respond(*response));
    }
}

#[derive(Clone, Debug)]
struct Case {
    capabilities: Capabilities,
    mode: u64,
    descriptors: Vec<Descriptor>,
    answers: Vec<Vec<InvalidationCompletion>>,
}

fn descriptor() -> impl Strategy<Value = Descriptor> {
    let kind = prop_oneof![Just(INVALIDATE), Just(INVALIDATE_PASID), Just(RESPOND), Just(5_u64)];
    let flip = prop_oneof![12 => Just(None), 1 => (0..256_usize).prop_map(Some)];
    (kind, any::<u64>(), any::<u64>(), 0..64_u32, 0..SOURCES.len(), flip).prop_map(
        |(kind, low, high, ones, source, flip)| {
            let source = u64::from(SOURCES[source]);
            // A run of ones from bit 12 on.
            let address = high & mask(63, 12) & !(1 << (12 + ones).min(63)) | mask(11 + ones.min(52), 12);
            let words = match kind {
                INVALIDATE => [source << 32, address | high & 1],
                INVALIDATE_PASID => [source << 16 | low & mask(51, 32), address | high & (1 << 11 | 1)],
                RESPOND => {
                    let code = [0, 1, 15][low as usize % 3] << 12;
                    [source << 16 | code | low & (mask(51, 32) | 1 << 4), high & mask(11, 3)]
                }
                // A wait that stores its number.
                _ => [1 << 5 | low & mask(63, 32) | 1 << 32, 0],
            };
            let mut words = [words[0] | kind, words[1], 0, 0];
            if let Some(bit) = flip.filter(|_| kind != 5) {
                words[bit / 64] ^= 1 << (bit % 64);
            }
            words
        },
    )
}

fn cases() -> impl Strategy<Value = Case> {
    let answer = prop_oneof![
        6 => Just(InvalidationCompletion::Done),
        1 => Just(InvalidationCompletion::Malformed),
        1 => Just(InvalidationCompletion::Silent),
    ];
    let answers = proptest::collection::vec(proptest::collection::vec(answer, 8), SOURCES.len());
    let capabilities = any::<bool>().prop_map(|throttling| {
        let builder = Capabilities::builder(Profile::Full, 48);
        let builder = if throttling { builder } else { builder.without(Feature::Throttling) };
        builder.build().unwrap()
    });
    let mode = prop_oneof![8 => Just(SCALABLE), 1 => Just(LEGACY)];
    (capabilities, mode, proptest::collection::vec(descriptor(), 0..12), answers).prop_map(
        |(capabilities, mode, descriptors, answers)| Case { capabilities, mode, descriptors, answers },
    )
}

/// A unit in the middle of a queue.
struct Sequence<'a> {
    case: &'a Case,
    rig: Rig,
    devices: Vec<Arc<Device>>,
    status: u64,
    /// What every device should have been told by now, and how many invalidations that were.
    told: Vec<Vec<Message>>,
    answered: Vec<usize>,
    next: usize,
}

impl<'a> Sequence<'a> {
    fn new(case: &'a Case) -> Self {
        let mut memory = Memory::new();
        let (queue, status, root) = (memory.pages(1, true), memory.pages(1, true), memory.pages(1, false));
        memory.write(status, 0);
        for (index, words) in case.descriptors.iter().enumerate() {
            let at = queue + SIZE * index as u64;
            // Every wait has a place of its own.
            let place = if words[0] & 15 == 5 { status + 8 * index as u64 } else { words[1] };
            for (word, value) in [words[0], place, words[2], words[3]].into_iter().enumerate() {
                memory.write(at + 8 * word as u64, value);
            }
        }
        let mut rig = Rig::new(case.capabilities, memory);
        let devices: Vec<_> = SOURCES
            .iter()
            .zip(&case.answers)
            .map(|(source, answers)| {
                Arc::new(Device {
                    source: SourceId(*source),
                    told: Mutex::default(),
                    answers: Mutex::new(answers.clone().into_iter()),
                })
            })
            .collect();
        for device in &devices {
            let device: Arc<dyn DeviceTlb> = device.clone();
            rig.unit.register_device_tlb(&device);
        }
        rig.translate_with(root | case.mode << 10);
        rig.write64(IQA, queue | 1 << 11);
        rig.command(0, QIE);
        let told = vec![Vec::new(); SOURCES.len()];
        Self { case, rig, devices, status, told, answered: vec![0; SOURCES.len()], next: 0 }
    }

    /// Expects what the unit does up to the next error, or to the end.
    fn go_on(&mut self) -> Result<u32, TestCaseError> {
        let caps = Caps::of(&self.case.capabilities);
        let mut errors = 0;
        // What may stand in IQERCD_REG; which of several is open.
        let (mut reasons, mut silent, mut malformed) = (Vec::new(), Vec::new(), Vec::new());
        let head = (self.rig.read64(IQH) / SIZE) as usize;
        while let Some(words) = self.case.descriptors.get(self.next) {
            // How soon the unit finds that a device is silent is its own affair, but no wait completes then.
            if errors & ITE != 0 && self.next == head && self.rig.read32(FSTS) & IQE == 0 {
                break;
            }
            let kind = words[0] & 15;
            match decode(&caps, self.case.mode, words) {
                Err(reason) => {
                    errors |= IQE;
                    reasons.push(u64::from(reason));
                    break;
                }
                Ok(Command::Device) => {
                    prop_assume!(!is_open(&caps, kind, words));
                    let (source, message) = decode_message(kind, words);
                    let device = SOURCES.iter().position(|known| *known == source);
                    prop_assume!(device.is_some());
                    let device = device.unwrap();
                    self.told[device].push(message);
                    self.next += 1;
                    if matches!(message, Message::Respond(_)) {
                        continue;
                    }
                    let answer = self.case.answers[device].get(self.answered[device]);
                    self.answered[device] += 1;
                    match answer {
                        Some(InvalidationCompletion::Malformed) => {
                            errors |= ICE;
                            malformed.push(u64::from(source));
                        }
                        Some(InvalidationCompletion::Silent) => {
                            errors |= ITE;
                            silent.push(u64::from(source));
                        }
                        _ => {}
                    }
                }
                Ok(_) => {
                    self.next += 1;
                    let stored = self.rig.memory.read(self.status + 8 * (self.next as u64 - 1)).unwrap();
                    let expected = if errors & ITE == 0 { words[0] >> 32 } else { 0 };
                    prop_assert_eq!(stored, expected, "wait {}", self.next - 1);
                }
            }
        }
        let code = self.rig.read64(IQERCD);
        for (named, known) in
            [(field(code, 3, 0), reasons), (field(code, 47, 32), silent), (field(code, 63, 48), malformed)]
        {
            prop_assert!(known.is_empty() || known.contains(&named), "IQERCD {:#x}: {:x?}", code, known);
        }
        self.check(errors)?;
        Ok(errors)
    }

    fn check(&self, errors: u32) -> Result<(), TestCaseError> {
        let head = (self.rig.read64(IQH) / SIZE) as usize;
        prop_assert_eq!(head, self.next, "head");
        for index in self.next..self.case.descriptors.len() {
            prop_assert_eq!(self.rig.memory.read(self.status + 8 * index as u64), Some(0), "wait {}", index);
        }
        prop_assert_eq!(self.rig.read32(FSTS) & (IQE | ICE | ITE), errors, "FSTS");
        prop_assert_eq!(self.rig.read32(FECTL) >> 30 & 1 != 0, errors != 0, "IP");
        for (device, told) in self.devices.iter().zip(&self.told) {
            prop_assert_eq!(&*device.told.lock().unwrap(), told, "{:?}", device.source);
        }
        Ok(())
    }
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let mut sequence = Sequence::new(case);
    sequence.rig.write64(IQT, SIZE * case.descriptors.len() as u64);
    loop {
        let changes = sequence.rig.memory.take_changes();
        prop_assert!(changes.iter().all(|change| change.address & !0xFFF == sequence.status));
        let errors = sequence.go_on()?;
        if errors == 0 || errors & IQE != 0 {
            break;
        }
        sequence.rig.write32(FSTS, errors);
        if errors & ITE == 0 {
            break;
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn devices_are_told_what_descriptors_say(case in cases()) {
        check(&case)?;
    }
}

/// Every bit of every descriptor for devices, one at a time.
#[test]
fn each_bit_of_descriptors_for_devices_means_what_it_says() {
    let source = u64::from(SOURCES[0]);
    let plain = [
        [INVALIDATE | source << 32, 0x1234_5000, 0, 0],
        [INVALIDATE_PASID | source << 16 | 5 << 32, 0x1234_5000, 0, 0],
        [RESPOND | source << 16 | 5 << 32 | 1 << 4, 9 << 3, 0, 0],
    ];
    for words in plain {
        for bit in 0..256 {
            let mut words = words;
            words[bit / 64] ^= 1 << (bit % 64);
            let case = Case {
                capabilities: Capabilities::new(Profile::Full, 48),
                mode: SCALABLE,
                descriptors: vec![words],
                answers: vec![Vec::new(); SOURCES.len()],
            };
            match check(&case) {
                Ok(()) | Err(TestCaseError::Reject(_)) => {}
                Err(error) => panic!("{words:x?}, bit {bit}: {error}"),
            }
        }
    }
}
