//! Scalable mode (§3.4.4, §3.6 to §3.8).

use iommu::{Capabilities, Feature, Profile};
use proptest::prelude::*;

use crate::capability::Caps;
use crate::dispatch::{SCALABLE, judge};
use crate::generate::capabilities::capabilities;
use crate::generate::requests::{Asked, asked};
use crate::generate::scalable::{EVERY_KIND, ScalableSpace, scalable_space};
use crate::generate::{Builder, Seasoning, seasoning};
use crate::rig::Rig;
use crate::scalable::{FIRST_STAGE, NESTED, PASS_THROUGH, SECOND_STAGE};
use crate::trace::Outcome;
use crate::walks::{assert_all_occur, config, for_each_bit};

const SCALABLE_PROFILES: &[Profile] =
    &[Profile::SecondStage, Profile::FirstStage, Profile::Nested, Profile::Full];

type Case = (Capabilities, ScalableSpace, Asked, Seasoning);

fn cases(profiles: &'static [Profile], kinds: &'static [u64]) -> impl Strategy<Value = Case> {
    (capabilities(profiles), scalable_space(kinds), asked(30), seasoning(40))
}

/// A unit with the tables of a case in use, and what may come of the case's request.
fn prepare((capabilities, space, asked, seasoning): &Case) -> (Rig, Vec<Outcome>) {
    let caps = Caps::of(capabilities);
    let mut builder = Builder::new(seasoning.clone());
    let root = space.build(&mut builder, &caps, &asked.request, asked.address) | SCALABLE << 10;
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

    /// Tables of every type, in units that have some of them.
    #[test]
    fn scalable_requests_end_as_the_tables_say(case in cases(SCALABLE_PROFILES, EVERY_KIND)) {
        check(&case)?;
    }

    #[test]
    fn second_stage_requests_end_as_the_tables_say(
        case in cases(&[Profile::SecondStage, Profile::Full], &[SECOND_STAGE, PASS_THROUGH])
    ) {
        check(&case)?;
    }

    #[test]
    fn first_stage_requests_end_as_the_tables_say(
        case in cases(&[Profile::FirstStage, Profile::Nested, Profile::Full], &[FIRST_STAGE])
    ) {
        check(&case)?;
    }

    #[test]
    fn nested_requests_end_as_the_tables_say(case in cases(&[Profile::Full], &[NESTED])) {
        check(&case)?;
    }
}

/// Every bit of every table with `words` words that `kind` needs, one at a time, with so many page sizes.
fn each_bit(words: usize, profile: Profile, kind: u64, page_sizes: usize) {
    for_each_bit(words, |width, access, seasoning| {
        let capabilities = Capabilities::new(profile, width);
        for space in ScalableSpace::plain(kind, width).take(page_sizes) {
            let asked = Asked::plain(access, capabilities.has(Feature::Pasid));
            check(&(capabilities, space, asked, seasoning.clone()))?;
        }
        Ok(())
    });
}

/// One word of the root table, four of the context table, one of the PASID directory, eight of the PASID table.
const ABOVE_PAGES: usize = 14;

#[test]
fn each_bit_of_pass_through_tables_means_what_it_says() {
    each_bit(ABOVE_PAGES, Profile::Full, PASS_THROUGH, 1);
}

#[test]
fn each_bit_of_second_stage_tables_means_what_it_says() {
    each_bit(ABOVE_PAGES + 5, Profile::SecondStage, SECOND_STAGE, 1);
    each_bit(ABOVE_PAGES + 5, Profile::Full, SECOND_STAGE, 3);
}

#[test]
fn each_bit_of_first_stage_tables_means_what_it_says() {
    each_bit(ABOVE_PAGES + 5, Profile::FirstStage, FIRST_STAGE, 1);
    each_bit(ABOVE_PAGES + 5, Profile::Full, FIRST_STAGE, 3);
}

#[test]
fn each_bit_of_nested_tables_means_what_it_says() {
    // The first stage's five, each mapped by the second stage, which shares what is above its leaves.
    each_bit(ABOVE_PAGES + 5 + 2 * 5 + 3, Profile::Full, NESTED, 2);
}

/// The properties above mean something: the cases come to every end that scalable mode knows.
#[test]
fn scalable_cases_come_to_every_end() {
    let reasons = [
        0x38, 0x39, 0x3A, 0x40, 0x41, 0x42, 0x45, 0x46, 0x50, 0x51, 0x52, 0x58, 0x59, 0x5A, 0x5B, 0x5C, 0x5D,
        0x70, 0x71, 0x72, 0x73, 0x78, 0x79, 0x7A, 0x7B, 0x7C, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87, 0x90,
    ];
    assert_all_occur(&cases(SCALABLE_PROFILES, EVERY_KIND), &reasons, |case| prepare(case).1);
}

/// And the nested cases to those that only nesting knows.
#[test]
fn nested_cases_come_to_every_end() {
    let reasons = [
        0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x7B, 0x7C, 0x84, 0x85, 0x86, 0x87,
    ];
    assert_all_occur(&cases(&[Profile::Full], &[NESTED]), &reasons, |case| prepare(case).1);
}
