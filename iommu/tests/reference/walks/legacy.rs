//! Legacy mode (§3.4.3, §3.7).

use iommu::{Capabilities, Profile};
use proptest::prelude::*;

use crate::capability::Caps;
use crate::dispatch::{LEGACY, judge};
use crate::generate::capabilities::capabilities;
use crate::generate::requests::{Asked, asked};
use crate::generate::spaces::{LegacySpace, legacy_space};
use crate::generate::{Builder, Seasoning, seasoning};
use crate::rig::Rig;
use crate::trace::Outcome;
use crate::walks::{assert_all_occur, config, for_each_bit};

const EVERY_PROFILE: &[Profile] =
    &[Profile::Legacy, Profile::SecondStage, Profile::FirstStage, Profile::Full];

type Case = (Capabilities, LegacySpace, Asked, Seasoning);

fn cases() -> impl Strategy<Value = Case> {
    (capabilities(EVERY_PROFILE), legacy_space(), asked(4), seasoning(12))
}

/// A unit with the tables of a case in use, and what may come of the case's request.
fn prepare((capabilities, space, asked, seasoning): &Case) -> (Rig, Vec<Outcome>) {
    let caps = Caps::of(capabilities);
    let mut builder = Builder::new(seasoning.clone());
    let root = space.build(&mut builder, &caps, asked.request.source.0, asked.address) | LEGACY << 10;
    let mut rig = Rig::new(*capabilities, builder.finish());
    rig.translate_with(root);
    let permitted = judge(rig.world(), root, &asked.request, asked.address, asked.length);
    (rig, permitted)
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let asked = &case.2;
    let (mut rig, permitted) = prepare(case);
    rig.check_access(&asked.request, asked.address, asked.length, &permitted).map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(config())]

    /// Every field of the legacy tables means what the specification says.
    #[test]
    fn legacy_requests_end_as_the_tables_say(case in cases()) {
        check(&case)?;
    }
}

/// Every bit of every table, one at a time.
#[test]
fn each_bit_of_legacy_tables_means_what_it_says() {
    // Five levels, two words of the root table, two of the context table.
    for_each_bit(9, |width, access, seasoning| {
        let capabilities = Capabilities::new(Profile::Legacy, width);
        for space in LegacySpace::plain(width) {
            check(&(capabilities, space, Asked::plain(access, false), seasoning.clone()))?;
        }
        Ok(())
    });
}

/// The property above means something: the cases come to every end that legacy mode knows.
#[test]
fn legacy_cases_come_to_every_end() {
    let reasons = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x31];
    assert_all_occur(&cases(), &reasons, |case| prepare(case).1);
}
