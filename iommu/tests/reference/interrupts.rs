//! Interrupt requests through a fresh unit.

use std::collections::BTreeMap;

use iommu::{Capabilities, Feature, MsiMessage, Outcome, Profile, SourceId};
use proptest::prelude::*;

use crate::generate::interrupts::{Asked, asked};
use crate::generate::{Builder, Seasoning, seasoning};
use crate::interrupt::{Remapping, Verdict, judge};
use crate::memory::Words;
use crate::rig::{CFI, IRE, IRTA, Rig, SIRTP};
use crate::walks::{assert_all_seen, config};

type Case = (Capabilities, Asked, Seasoning);

fn cases() -> impl Strategy<Value = Case> {
    let flags = (proptest::bool::weighted(0.2), proptest::bool::weighted(0.8));
    let capabilities = flags.prop_map(|(narrow, posting)| {
        let builder = Capabilities::builder(Profile::Legacy, 48);
        let builder = if posting { builder.with(Feature::PostedInterrupts) } else { builder };
        if narrow { builder.without(Feature::ExtendedInterruptMode) } else { builder }.build().unwrap()
    });
    (capabilities, asked(), seasoning(4))
}

fn prepare((capabilities, asked, seasoning): &Case) -> (Rig, Remapping, MsiMessage) {
    let mut builder = Builder::new(seasoning.clone());
    let (unit, message) = asked.build(&mut builder);
    let mut rig = Rig::new(*capabilities, builder.finish());
    rig.write64(IRTA, unit.table);
    rig.command(SIRTP, 0);
    if unit.compatibility {
        rig.command(0, CFI);
    }
    if unit.enabled {
        rig.command(0, IRE);
    }
    (rig, unit, message)
}

proptest! {
    #![proptest_config(config())]

    /// Every field of a request and of its entry means what the specification says; what is known ahead of
    /// time is what then happens.
    #[test]
    fn interrupt_requests_end_as_their_entries_say(case in cases()) {
        let source = case.1.source;
        let (mut rig, unit, message) = prepare(&case);
        let verdict = judge(rig.world(), &unit, source, message);
        if let Verdict::Posted { changes, .. } = verdict {
            // So that the page is compared, wherever it is.
            for (address, _) in changes {
                let word = rig.memory.read(address).unwrap();
                rig.memory.write(address, word);
            }
        }
        let foreseen = rig.unit.resolve(SourceId(source), message);
        prop_assert!(rig.records().is_empty());
        prop_assert!(rig.memory.take_changes().is_empty());
        let outcome = rig.unit.remap(SourceId(source), message, |message| message);
        // What becomes of a descriptor nobody can know ahead of time.
        if foreseen.outcome != Ok(Outcome::Posted) {
            prop_assert_eq!(foreseen.outcome.map(|_| foreseen.message()), outcome);
        }
        let records = rig.records();
        match verdict {
            Verdict::Unchanged => prop_assert_eq!(outcome, Ok(Some(message))),
            // Address bits 1:0 have no meaning.
            Verdict::Remapped(expected) => {
                let plain = |message: MsiMessage| MsiMessage { address: message.address & !3, ..message };
                prop_assert_eq!(outcome.map(|message| message.map(plain)), Ok(Some(expected)));
            }
            Verdict::Posted { notification, .. } => {
                prop_assert_eq!(foreseen.outcome, Ok(Outcome::Posted));
                prop_assert_eq!(outcome, Ok(notification));
            }
            Verdict::Blocked { reason, recorded, index } => {
                prop_assert_eq!(outcome.map_err(|blocked| blocked.reason), Err(reason));
                prop_assert_eq!(records.len(), usize::from(recorded));
                for record in &records {
                    let index = index.unwrap_or((record.info >> 48) as u16);
                    prop_assert_eq!(*record, crate::fault::Record::of_interrupt(source, index, reason));
                }
            }
        }
        if !matches!(verdict, Verdict::Blocked { .. }) {
            prop_assert!(records.is_empty());
        }
        let changes = rig.memory.take_changes().into_iter();
        let changes: BTreeMap<_, _> = changes.map(|change| (change.address, change.after ^ change.before)).collect();
        let expected = match verdict {
            Verdict::Posted { changes, .. } => changes.into_iter().filter(|(_, bits)| *bits != 0).collect(),
            _ => BTreeMap::new(),
        };
        prop_assert_eq!(changes, expected);
    }
}

#[test]
fn interrupt_cases_come_to_every_end() {
    let reasons = [0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28];
    assert_all_seen(&cases(), &reasons, |case| {
        let (rig, unit, message) = prepare(case);
        match judge(rig.world(), &unit, case.1.source, message) {
            Verdict::Blocked { reason, .. } => Some(Err(reason)),
            Verdict::Remapped(_) | Verdict::Posted { .. } => Some(Ok(())),
            Verdict::Unchanged => None,
        }
    });
}
