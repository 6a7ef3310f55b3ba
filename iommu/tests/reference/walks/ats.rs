//! Translation requests (§4.1) in both modes.

use std::collections::BTreeSet;

use iommu::{
    Access, Capabilities, Feature, Iova, Permissions, Profile, Translation, TranslationError,
    TranslationRequest,
};
use proptest::prelude::*;

use crate::ats::{Permitted, Reply, judge, probe};
use crate::capability::Caps;
use crate::dispatch::{LEGACY, SCALABLE, judge_for};
use crate::fault::Record;
use crate::generate::capabilities::capabilities;
use crate::generate::requests::asked;
use crate::generate::scalable::{EVERY_KIND, ScalableSpace, scalable_space};
use crate::generate::spaces::{LegacySpace, legacy_space};
use crate::generate::{Builder, Seasoning, seasoning};
use crate::memory::agrees;
use crate::rig::{FSTS, Rig};
use crate::trace::Answer;
use crate::walks::{assert_all_seen, config, for_each_bit};

/// A and D of both stages, EA.
const MARKS: u64 = 0b11 << 8 | 0b11 << 5 | 1 << 10;

/// What a case's tables are made by.
#[derive(Clone, Debug)]
enum Space {
    Legacy(LegacySpace),
    Scalable(Box<ScalableSpace>),
}

#[derive(Clone, Debug)]
struct Case {
    capabilities: Capabilities,
    space: Space,
    request: TranslationRequest,
    seasoning: Seasoning,
}

/// Requests, with a PASID so many times of a hundred.
fn requests(with_pasid: u32) -> impl Strategy<Value = TranslationRequest> {
    (asked(with_pasid), proptest::bool::weighted(0.2)).prop_map(|(asked, no_write)| TranslationRequest {
        source: asked.request.source,
        pasid: asked.request.pasid,
        privileged: asked.request.privileged,
        execute: asked.request.execute,
        no_write,
        iova: Iova(asked.address),
    })
}

fn cases() -> impl Strategy<Value = Case> {
    let legacy =
        (legacy_space().prop_map(LegacySpace::mostly_all_types).prop_map(Space::Legacy), requests(4));
    let scalable =
        (scalable_space(EVERY_KIND).prop_map(|space| Space::Scalable(Box::new(space))), requests(50));
    let space = prop_oneof![1 => legacy.boxed(), 3 => scalable.boxed()];
    (capabilities(&[Profile::Full]), space, seasoning(40)).prop_map(
        |(capabilities, (space, request), seasoning)| Case { capabilities, space, request, seasoning },
    )
}

/// A unit with the tables of a case in use, and RTADDR_REG.
fn prepare(case: &Case) -> (Rig, u64) {
    let caps = Caps::of(&case.capabilities);
    let mut builder = Builder::new(case.seasoning.clone());
    let (request, input) = (&case.request, case.request.iova.0);
    let root = match &case.space {
        Space::Legacy(space) => space.build(&mut builder, &caps, request.source.0, input) | LEGACY << 10,
        Space::Scalable(space) => {
            space.build(&mut builder, &caps, &probe(request, Access::Read, false), input) | SCALABLE << 10
        }
    };
    let mut rig = Rig::new(case.capabilities, builder.finish());
    rig.translate_with(root);
    (rig, root)
}

/// Whether a translation is one that its page, and every byte of it, can be reached by.
fn holds(rig: &Rig, root: u64, request: &TranslationRequest, translation: &Translation) -> bool {
    let Translation { address, size, permissions, .. } = *translation;
    let access = if permissions.contains(Permissions::READ) { Access::Read } else { Access::Write };
    let first = request.iova.0 & !(size - 1);
    if request.pasid.is_none() && first < 0xFEF0_0000 && first + size > 0xFEE0_0000 {
        // The answer is for a large page that the interrupt range is a part of. Whether it may be is open.
        return true;
    }
    size.is_power_of_two()
        && size >= 4096
        && judge_for(rig.world(), root, &probe(request, access, false), true, first, size)
            .iter()
            .any(|outcome| matches!(outcome.answer, Answer::Reaches { address: at, at_most } if at == address.0 && at_most >= size))
}

/// Whether a result is the permitted one, apart from marks.
fn answers(
    rig: &Rig,
    root: u64,
    request: &TranslationRequest,
    permitted: &Permitted,
    result: &Result<Translation, TranslationError>,
    records: &[Record],
) -> bool {
    let is_recorded = |reason, recorded: bool| {
        let expected = recorded.then(|| Record::of_translation_request(request, reason));
        records == expected.as_slice()
    };
    match (permitted.reply, result) {
        (Reply::Success { permissions, .. }, Ok(translation)) => {
            records.is_empty()
                && translation.permissions == permissions
                && !translation.untranslated_only
                && (permissions.is_empty()
                    || translation.privileged == (request.privileged && request.pasid.is_some())
                        && holds(rig, root, request, translation))
        }
        (Reply::Refused { reason, recorded }, Err(error)) => {
            let blocked = matches!(reason, 0x01 | 0x02 | 0x0D | 0x39 | 0x41 | 0x44..=0x46 | 0x51 | 0x59);
            is_recorded(reason, recorded) && (!blocked || *error == TranslationError::Unsupported)
        }
        (Reply::Aborted, Err(_)) => records.is_empty(),
        (Reply::Interrupts, Err(_)) => true,
        (Reply::Interrupts, Ok(translation)) => {
            translation.permissions.is_empty() || translation.untranslated_only
        }
        _ => false,
    }
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let request = &case.request;
    let (mut rig, root) = prepare(case);
    let permitted = judge(rig.world(), root, request);
    let result = rig.unit.translate(request);
    let records = rig.records();
    let fits: Vec<_> = permitted
        .iter()
        .filter(|permitted| answers(&rig, root, request, permitted, &result, &records))
        .collect();
    let changes = rig.memory.take_changes();
    // What is marked for an answer that permits nothing is open.
    let only_marks = changes.iter().all(|change| (change.before ^ change.after) & !MARKS == 0);
    let nothing = |reply| matches!(reply, Reply::Success { permissions, .. } if permissions.is_empty());
    let fits = fits.iter().any(|permitted| {
        agrees(&changes, &permitted.must, &permitted.may) || nothing(permitted.reply) && only_marks
    });
    prop_assert!(
        fits && rig.read32(FSTS) == u32::from(!records.is_empty()) << 1,
        "{result:x?}, {records:x?}, FSTS {:#x}, wrote {changes:x?}; permitted: {:x?}",
        rig.read32(FSTS),
        permitted.iter().map(|permitted| format!("{permitted:x?}")).collect::<BTreeSet<_>>()
    );
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    /// A device is told what its requests would meet, and no more.
    #[test]
    fn translation_requests_are_answered_as_the_tables_say(case in cases()) {
        check(&case)?;
    }
}

/// Every bit of every table above pages, and of the pages' tables, one at a time.
#[test]
fn each_bit_of_tables_means_what_it_says_to_translation_requests() {
    for kind in EVERY_KIND {
        for_each_bit(24, |width, access, seasoning| {
            let capabilities = Capabilities::new(Profile::Full, width);
            let space = ScalableSpace::plain(*kind, width).next().unwrap();
            let request = TranslationRequest {
                source: iommu::SourceId(0x0181),
                pasid: capabilities.has(Feature::Pasid).then_some(iommu::Pasid(0x41)),
                privileged: access == Access::Write,
                execute: access == Access::Read,
                no_write: false,
                iova: Iova(0x4_5678_9010),
            };
            check(&Case { capabilities, space: Space::Scalable(Box::new(space)), request, seasoning })
        });
    }
}

/// While translation is off, nobody is to ask (§4.1).
#[test]
fn no_translation_request_is_answered_while_translation_is_off() {
    let rig = Rig::new(Capabilities::new(Profile::Full, 48), crate::memory::Memory::new());
    let request = TranslationRequest {
        source: iommu::SourceId(8),
        pasid: None,
        privileged: false,
        execute: false,
        no_write: false,
        iova: Iova(0x1000),
    };
    assert_eq!(rig.unit.translate(&request), Err(TranslationError::Unsupported));
    assert!(rig.records().is_empty());
}

/// The property above means something: the cases come to every end.
#[test]
fn translation_cases_come_to_every_end() {
    let reasons = [
        0x01, 0x02, 0x03, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x31, 0x39, 0x3A, 0x41, 0x42, 0x44, 0x45, 0x46, 0x51,
        0x52, 0x59, 0x5A, 0x5B, 0x5C, 0x5D, 0x72, 0x7A, 0x87,
    ];
    assert_all_seen(&cases(), &reasons, |case| {
        let (rig, root) = prepare(case);
        let permitted = judge(rig.world(), root, &case.request);
        let reply = permitted[0].reply;
        match reply {
            _ if permitted.iter().any(|permitted| permitted.reply != reply) => None,
            Reply::Refused { reason, .. } => Some(Err(reason)),
            Reply::Success { permissions, .. } => (!permissions.is_empty()).then_some(Ok(())),
            Reply::Aborted | Reply::Interrupts => None,
        }
    });
}
