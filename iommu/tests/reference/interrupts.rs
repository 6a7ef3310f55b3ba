//! Interrupt requests through a fresh unit.

use iommu::{Capabilities, Feature, MsiMessage, Profile, SourceId};
use proptest::prelude::*;

use crate::generate::interrupts::{Asked, asked};
use crate::generate::{Builder, Seasoning, seasoning};
use crate::interrupt::{Remapping, Verdict, judge};
use crate::rig::{CFI, IRE, IRTA, Rig, SIRTP};
use crate::walks::{assert_all_seen, config};

type Case = (Capabilities, Asked, Seasoning);

fn cases() -> impl Strategy<Value = Case> {
    let capabilities = proptest::bool::weighted(0.2).prop_map(|narrow| {
        let builder = Capabilities::builder(Profile::Legacy, 48);
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
        let (rig, unit, message) = prepare(&case);
        let verdict = judge(rig.world(), &unit, source, message);
        let foreseen = rig.unit.resolve(SourceId(source), message);
        prop_assert!(rig.records().is_empty());
        let outcome = rig.unit.remap(SourceId(source), message, |message| message);
        prop_assert_eq!(foreseen.outcome.map(|_| foreseen.message()), outcome);
        let records = rig.records();
        match verdict {
            Verdict::Unchanged => prop_assert_eq!(outcome, Ok(Some(message))),
            // Address bits 1:0 have no meaning.
            Verdict::Remapped(expected) => {
                let plain = |message: MsiMessage| MsiMessage { address: message.address & !3, ..message };
                prop_assert_eq!(outcome.map(|message| message.map(plain)), Ok(Some(expected)));
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
    }
}

#[test]
fn interrupt_cases_come_to_every_end() {
    let reasons = [0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26];
    assert_all_seen(&cases(), &reasons, |case| {
        let (rig, unit, message) = prepare(case);
        match judge(rig.world(), &unit, case.1.source, message) {
            Verdict::Blocked { reason, .. } => Some(Err(reason)),
            Verdict::Remapped(_) => Some(Ok(())),
            Verdict::Unchanged => None,
        }
    });
}
