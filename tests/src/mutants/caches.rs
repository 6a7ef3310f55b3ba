//! Defects of the caches, and of waiting for those who still use what was in them.

use super::{Mutant, Test};

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "answers-outlive-invalidation",
        why: "The answer to an earlier request is given again after an invalidation.",
        file: "iommu/src/cache/recent.rs",
        find: "if found_in != epoch.number() {",
        replace: "if false && found_in != epoch.number() {",
        killed_by: Test::unit(
            "iommu",
            "translate::tests::an_answer_given_twice_is_kept_until_anything_is_invalidated",
        ),
    },
    Mutant {
        name: "answers-ignore-privilege",
        why: "A request with user privilege is given the answer to one with supervisor privilege.",
        file: "iommu/src/cache/recent.rs",
        find: "if privileged || execute || translated {",
        replace: "if execute || translated {",
        killed_by: Test::unit(
            "iommu",
            "cache::recent::tests::special_requests_neither_leave_answers_nor_find_any",
        ),
    },
    Mutant {
        name: "answers-ignore-permission",
        why: "A page that was read may be written from then on, whatever the tables say.",
        file: "iommu/src/translate.rs",
        find: "&& Demand::of(request, privileged, length, &self.capabilities).met_by(leaf.rights)",
        replace: "&& (privileged || !privileged)",
        killed_by: Test::unit(
            "iommu",
            "translate::tests::an_answer_given_twice_is_kept_until_anything_is_invalidated",
        ),
    },
    Mutant {
        name: "epoch-ends-early",
        why: "What is found in a cache while it is being emptied may be put into another one afterwards, and stays.",
        file: "iommu/src/cache/table.rs",
        find: "        self.change(self.lock.lock().unwrap_or_else(PoisonError::into_inner), true)",
        replace: "        let change = self.change(self.lock.lock().unwrap_or_else(PoisonError::into_inner), false);
        self.epoch.store(self.epoch.load(Ordering::Relaxed) + 1, Ordering::Release);
        change",
        killed_by: Test::integration(
            "iommu",
            "interleavings",
            "no_answer_is_used_after_an_invalidation",
        ),
    },
    Mutant {
        name: "torn-value",
        why: "A value is used although it was changed while it was read.",
        file: "iommu/src/cache/table.rs",
        find: "(self.sequence.load(Ordering::Relaxed) == sequence).then_some(value)",
        replace: "Some(value)",
        killed_by: Test::unit("iommu", "cache::table_tests::a_reader_sees_a_whole_value_or_none"),
    },
    Mutant {
        name: "request-unfenced",
        why: "A request looks at the caches before others can see that it is under way.",
        file: "iommu/src/drain.rs",
        find: "        fence(Ordering::SeqCst);
        Section::Own",
        replace: "        Section::Own",
        killed_by: Test::integration("iommu", "interleavings", "nothing_is_used_after_its_invalidation"),
    },
    Mutant {
        name: "drain-unfenced",
        why: "A drain looks for requests before they can see what it has changed.",
        file: "iommu/src/drain.rs",
        find: "    pub(crate) fn drain(&self) {
        fence(Ordering::SeqCst);",
        replace: "    pub(crate) fn drain(&self) {",
        killed_by: Test::integration("iommu", "interleavings", "nothing_is_used_after_its_invalidation"),
    },
    Mutant {
        name: "drain-stops-at-one",
        why: "A drain waits for the request of one thread and not for those of others.",
        file: "iommu/src/drain.rs",
        find: "            used &= used - 1;",
        replace: "            used = 0;",
        killed_by: Test::integration(
            "iommu",
            "interleavings",
            "nothing_is_used_after_its_invalidation_by_two_threads",
        ),
    },
    Mutant {
        name: "drain-forgets-the-unnumbered",
        why: "A drain does not wait for requests of threads that have no place of their own.",
        file: "iommu/src/drain.rs",
        find: "        drop(self.shared.write().unwrap_or_else(PoisonError::into_inner));",
        replace: "",
        killed_by: Test::integration(
            "iommu",
            "interleavings",
            "nothing_is_used_after_its_invalidation_by_threads_without_a_number",
        ),
    },
    Mutant {
        name: "nested-pages-stay",
        why: "An invalidation of a second stage's page leaves the nested pages that lead through it.",
        file: "iommu/src/cache/iotlb.rs",
        find: "                self.nested.evict_domain(change, domain);",
        replace: "",
        killed_by: Test::unit(
            "iommu",
            "translate::tests::remembered::nested_pages_go_with_any_page_of_their_domains_second_stage",
        ),
    },
    Mutant {
        name: "inner-tables-without-root",
        why: "The inner tables of a first stage are found for another first stage of the same PASID.",
        file: "iommu/src/cache/structures.rs",
        find: "root << ROOT_SHIFT | u64::from(pasid.0)",
        replace: "(root & 0) << ROOT_SHIFT | u64::from(pasid.0)",
        killed_by: Test::unit(
            "iommu",
            "translate::tests::remembered::a_new_first_stage_counts_at_the_latest_when_the_pasid_has_been_invalidated",
        ),
    },
    Mutant {
        name: "hint-reversed",
        why: "Inner tables stay when they have changed, and go when they have not.",
        file: "iommu/src/cache/structures.rs",
        find: "Invalidation::IotlbPages { domain, iova, address_mask, hint: false }",
        replace: "Invalidation::IotlbPages { domain, iova, address_mask, hint: true }",
        killed_by: Test::unit(
            "iommu",
            "cache::structures::tests::every_granularity_takes_what_it_names_and_the_hint_spares_all",
        ),
    },
    Mutant {
        name: "evicted-never",
        why: "A full set of a cache takes no new value, and what came first stays for ever.",
        file: "iommu/src/cache/table.rs",
        find: "            set[*change.victim].put(key, value);",
        replace: "",
        killed_by: Test::unit(
            "iommu",
            "cache::table_tests::it_holds_no_more_than_its_slots_and_goes_on_taking_new_values",
        ),
    },
];
