//! Defects of translation and of the caches over it.

use super::{Mutant, Test};

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "width-unchecked",
        why: "Addresses are checked against the widest table there is and not the context entry's: 2^39 aliases 0.",
        file: "iommu/src/walk/second_stage.rs",
        find: "iova.0 >> self.width == 0",
        replace: "iova.0 >> 48 == 0",
        killed_by: Test::unit(
            "iommu",
            "translate::tests::an_address_beyond_the_contexts_width_does_not_alias_one_within",
        ),
    },
    Mutant {
        name: "width-unchecked-on-hit",
        why: "A page in the IOTLB is found through a table too narrow for its address.",
        file: "iommu/src/translate/lookup.rs",
        find: "        if !covered {
            return None;
        }
",
        replace: "        let _ = covered;
",
        killed_by: Test::unit(
            "iommu",
            "translate::tests::an_address_beyond_the_contexts_width_does_not_alias_one_within",
        ),
    },
    Mutant {
        name: "hit-ignores-permission",
        why: "A page in the IOTLB may be written although it may only be read, and no fault is recorded.",
        file: "iommu/src/translate/lookup.rs",
        find: ".filter(|leaf| demand.met_by(leaf.rights))?;",
        replace: "?;",
        killed_by: Test::unit(
            "iommu",
            "translate::tests::a_remembered_page_that_does_not_allow_a_request_is_a_recorded_fault",
        ),
    },
    Mutant {
        name: "large-page-stays",
        why: "An invalidation of a few pages leaves the large page around them in the IOTLB.",
        file: "iommu/src/cache/entries.rs",
        find: "for level in self.levels() {",
        replace: "for level in self.levels().take(1) {",
        killed_by: Test::unit(
            "iommu",
            "cache::iotlb::tests::a_page_selective_invalidation_takes_the_large_page_around_it",
        ),
    },
    Mutant {
        name: "small-pages-stay",
        why: "Small pages are still found after a large page has taken their place and that has been announced.",
        file: "iommu/src/cache/entries.rs",
        find: "let touched = base < start + length",
        replace: "let touched = spanned > length / 2 && base < start + length",
        killed_by: Test::unit(
            "iommu",
            "translate::tests::small_pages_that_become_a_large_one_and_back_are_forgotten_with_their_range",
        ),
    },
    Mutant {
        name: "page-flush-too-short",
        why: "A page-selective invalidation takes the page it names and not the rest of its range.",
        file: "iommu/src/cache/entries.rs",
        find: "let bits = u32::from(address_mask) + Level::PAGE.shift();",
        replace: "let bits = Level::PAGE.shift();",
        killed_by: Test::unit(
            "iommu",
            "cache::iotlb::tests::a_page_selective_invalidation_takes_exactly_its_range",
        ),
    },
    Mutant {
        name: "context-flush-ignores-mask",
        why: "A device-selective invalidation takes one function although its mask names several.",
        file: "iommu/src/cache/context.rs",
        find: "(key as u16 ^ source.0) & !mask == 0",
        replace: "key as u16 == source.0",
        killed_by: Test::unit(
            "iommu",
            "translate::tests::a_context_is_remembered_until_the_invalidation_that_names_it",
        ),
    },
    Mutant {
        name: "domain-flush-missed",
        why: "A domain-selective invalidation takes nothing, and whoever uses the number next finds the old pages.",
        file: "iommu/src/cache/entries.rs",
        find: "self.table.evict(change, |[place, _], _| domain_of(place) == domain);",
        replace: "self.table.evict(change, |_, _| false && domain == DomainId(0));",
        killed_by: Test::unit(
            "iommu",
            "translate::tests::a_domain_number_used_again_shows_nothing_of_its_former_domain",
        ),
    },
    Mutant {
        name: "late-fill",
        why: "What was looked up before an invalidation is cached after it, and stays.",
        file: "iommu/src/cache/table.rs",
        find: "(self.epoch() == epoch).then(|| self.change(victim, false))",
        replace: "(self.epoch() == epoch || true).then(|| self.change(victim, false))",
        killed_by: Test::unit(
            "iommu",
            "cache::table_tests::a_value_looked_up_before_an_eviction_is_not_put_in_after_it",
        ),
    },
    Mutant {
        name: "functions-share-context",
        why: "The context cache knows devices and not functions: one function uses the tables of another.",
        file: "iommu/src/cache/context.rs",
        find: "PRESENT | source.0 as u64",
        replace: "PRESENT | (source.0 & !7) as u64",
        killed_by: Test::unit("iommu", "translate::tests::one_function_does_not_use_the_tables_of_another"),
    },
    Mutant {
        name: "interrupt-range-translated",
        why: "A write to 0xFEEx_xxxx, which is an interrupt, goes through the tables into memory.",
        file: "iommu/src/translate.rs",
        find: "if INTERRUPT_RANGE.contains(&iova.0) && (may_interrupt || !view.translating) {",
        replace: "if false {",
        killed_by: Test::unit("iommu", "translate::tests::the_interrupt_range_is_never_translated"),
    },
    Mutant {
        name: "walk-unbounded",
        why: "Tables that point to each other seem to map 2^48 bytes, and the shadow goes through all of it.",
        file: "iommu/src/walk/leaves.rs",
        find: "self.budget.0 = left;",
        replace: "let _ = left;",
        killed_by: Test::unit("iommu", "shadow::tests::limits::tables_without_leaves_end_at_a_limit_too")
            .or_hang(),
    },
];
