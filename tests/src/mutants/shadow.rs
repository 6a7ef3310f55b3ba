//! Defects of the shadow: what the host maps for assigned functions.

use super::{Mutant, Test};

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "alias-in-shadow",
        why: "The shadow takes a flush beyond the table's reach for one of the addresses that have the same low bits.",
        file: "iommu/src/shadow/assignments.rs",
        find: "let start = iova.0 & !(length - 1);",
        replace: "let start = iova.0 % (1 << 39) & !(length - 1);",
        killed_by: Test::unit("iommu", "shadow::tests::limits::addresses_beyond_the_width_are_not_aliased"),
    },
    Mutant {
        name: "shadow-flush-too-short",
        why: "Of the range that an invalidation names, the host lets go of the first page.",
        file: "iommu/src/shadow/assignments.rs",
        find: "1_u64.checked_shl(12 + u32::from(address_mask))",
        replace: "1_u64.checked_shl(12)",
        killed_by: Test::unit("iommu", "shadow::tests::flushes::what_one_descriptor_names_is_one_mapping"),
    },
    Mutant {
        name: "shadow-flush-ignores-mask",
        why: "A context that was announced together with its neighbours is not looked at again.",
        file: "iommu/src/shadow/member.rs",
        find: "self.function.source_id().0 | mask == source.0 | mask",
        replace: "self.function.source_id() == source && mask < 8",
        killed_by: Test::unit("iommu", "shadow::tests::regimes::a_context_entry_counts_when_it_is_announced"),
    },
    Mutant {
        name: "domain-unnoticed",
        why: "A function whose table gets another domain number is not looked at again.",
        file: "iommu/src/shadow/member.rs",
        find: "Self::Content(Content::Table(table, regime.domain))",
        replace: "Self::Content(Content::Table(table, DomainId(0)))",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::regimes::a_table_under_a_new_domain_keeps_what_it_maps",
        ),
    },
    Mutant {
        name: "interrupt-range-mapped",
        why: "The host is asked to map 0xFEEx_xxxx, which it refuses together with what is around it.",
        file: "iommu/src/shadow/extent.rs",
        find: "self.around(&INTERRUPT_RANGE)",
        replace: "std::iter::once(self)",
        killed_by: Test::unit("iommu", "shadow::tests::limits::the_interrupt_range_is_never_mapped"),
    },
    Mutant {
        name: "flush-unmaps-all",
        why: "A flush takes all mappings away and makes them again: DMA that it has nothing to do with fails.",
        file: "iommu/src/shadow/space.rs",
        find: "        let (wanted, cut_short) = wanted(self.content, &self.identity, tables);",
        replace: "        self.commitment.clear(report);
        let (wanted, cut_short) = wanted(self.content, &self.identity, tables);",
        killed_by: Test::unit("iommu", "shadow::tests::flushes::a_flush_unmaps_only_what_has_changed"),
    },
    Mutant {
        name: "split-unmapped-in-part",
        why: "Where a page of a large mapping goes, the host is asked to unmap that page, which it cannot.",
        file: "iommu/src/shadow/difference.rs",
        find: "        stale.extend(in_area.filter(differs));",
        replace: "        let wanted: Extents = wanted.iter().copied().collect();
        stale.extend(unmatched(in_area.filter(differs), &wanted));",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::flushes::a_large_page_split_or_merged_is_never_unmapped_in_part",
        ),
    },
    Mutant {
        name: "split-loses-rest",
        why: "A large mapping of which a page goes is unmapped whole, and the rest is not mapped again.",
        file: "iommu/src/shadow/space.rs",
        find: "for rest in part.rests(self.commitment.present()) {",
        replace: "for rest in part.rests(self.commitment.present()).into_iter().take(0) {",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::flushes::a_large_page_split_or_merged_is_never_unmapped_in_part",
        ),
    },
    Mutant {
        name: "flush-coalesces",
        why: "A domain flush makes one mapping of pages that the guest will take away one by one.",
        file: "iommu/src/shadow/space.rs",
        find: "&wanted, &Grouping::Leaves, report)",
        replace: "&wanted, &Grouping::Runs { edges: Default::default() }, report)",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::flushes::a_domain_flush_makes_one_mapping_of_each_leaf",
        ),
    },
    Mutant {
        name: "refused-map-committed",
        why: "A mapping that the host refused counts as made: it is never tried again, and its unmap fails.",
        file: "iommu/src/shadow/commitment.rs",
        find: "self.mapper.map(extent.iova, extent.guest, extent.length, extent.permissions)?;",
        replace: "let _ = self.mapper.map(extent.iova, extent.guest, extent.length, extent.permissions);",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::limits::a_refused_mapping_is_retried_by_the_flush_that_covers_it",
        ),
    },
    Mutant {
        name: "refused-map-forgotten",
        why: "A mapping that the host refused once is not asked for again, whatever the guest flushes.",
        file: "iommu/src/shadow/commitment.rs",
        find: "let missing = unmatched(wanted, &self.present);",
        replace: "let mut missing = unmatched(wanted, &self.present);
        missing.retain(|extent| !self.refused.foresee(extent));",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::limits::a_refused_mapping_is_retried_by_the_flush_that_covers_it",
        ),
    },
    Mutant {
        name: "map-before-unmap",
        why: "What is new is mapped before everything old has gone: the device reaches a mixture of both.",
        file: "iommu/src/shadow/commitment.rs",
        find: "            self.unmap(adjacent, report)?;
        }",
        replace: "            self.unmap(adjacent, report)?;
            for leaf in unmatched(wanted, &self.present) {
                if leaf.end() <= adjacent.last().map_or(0, Extent::end) {
                    let _ = self.map(&leaf, report);
                }
            }
        }",
        killed_by: Test::unit("iommu", "shadow::tests::flushes::everything_goes_before_anything_comes"),
    },
    Mutant {
        name: "identity-without-bus-master",
        why: "All of memory is mapped, and pinned, for a function that may not send anything.",
        file: "iommu/src/shadow/regime.rs",
        find: "if function.bus_master() { Kind::Identity } else { Kind::Blocked }",
        replace: "Kind::Identity",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::regimes::untranslated_memory_is_mapped_only_while_the_function_is_bus_master",
        ),
    },
    Mutant {
        name: "bar-target-panics",
        why: "A guest that maps a BAR for DMA, which the host cannot, ends its own machine.",
        file: "iommu/src/shadow/commitment.rs",
        find: "let full = matches!(error, MapError::Full | MapError::TooMany | MapError::TimesOver);",
        replace: "let full = matches!(error, MapError::Full | MapError::TooMany | MapError::TimesOver);
                assert!(full, \"the host maps everything\");",
        killed_by: Test::integration(
            "iommu",
            "shadow_end_to_end",
            "a_guest_that_takes_nonsense_for_memory_goes_on",
        ),
    },
    Mutant {
        name: "bar-target-poisons",
        why: "A page that the host cannot map keeps the pages beside it from being mapped.",
        file: "iommu/src/shadow/commitment.rs",
        find: "if full { Err(Full) } else { Ok(()) }",
        replace: "Err(Full)",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::limits::a_target_that_is_not_memory_is_a_fault_once_and_nothing_more",
        ),
    },
    Mutant {
        name: "full-host-asked-again",
        why: "A host without room for another mapping is asked for every single one that is missing.",
        file: "iommu/src/shadow/commitment.rs",
        find: "full = self.map_run(run, &refused_before, report).is_err();",
        replace: "let _ = self.map_run(run, &refused_before, report);",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::limits::a_full_host_is_asked_once_and_takes_the_rest_when_it_has_room",
        ),
    },
    Mutant {
        name: "mapped-times-over",
        why: "A guest maps the same memory as often as it likes, and the host makes tables for all of it.",
        file: "iommu/src/shadow/commitment.rs",
        find: "if extent.length > self.most_bytes.saturating_sub(self.numbers.bytes) {",
        replace: "if false {",
        killed_by: Test::unit("iommu", "shadow::tests::limits::memory_is_mapped_only_so_many_times_over"),
    },
    Mutant {
        name: "bar-target-unchecked",
        why: "A range that begins in memory and runs out of it is mapped as far as the first region goes.",
        file: "vmm/src/host_dma/targets.rs",
        find: "            done += piece.length;",
        replace: "            done = length;",
        killed_by: Test::unit(
            "portcullis",
            "host_dma::type1::tests::what_is_not_guest_memory_is_not_mapped_even_in_part",
        ),
    },
    Mutant {
        name: "bar-found-where-it-was",
        why: "A BAR can still be mapped where the guest does not see it any more.",
        file: "vmm/src/host_dma/peers.rs",
        find: "        finder.hide(*guest, *length);
        match mapper",
        replace: "        let _ = finder;
        match mapper",
        killed_by: Test::unit(
            "portcullis",
            "host_dma::iommufd::bars::tests::others_reach_a_bar_until_the_guest_does_not_see_it_any_more",
        ),
    },
    Mutant {
        name: "failed-map-leaves-half",
        why: "A mapping whose second half fails leaves its first half mapped, and its pages pinned.",
        file: "vmm/src/host_dma/type1.rs",
        find: "                if done > 0
",
        replace: "                if false
",
        killed_by: Test::unit(
            "portcullis",
            "host_dma::type1::tests::a_span_that_fails_in_its_second_part_leaves_nothing",
        ),
    },
    Mutant {
        name: "direct-region-ignored",
        why: "A device that the firmware keeps using memory by is assigned, and loses that memory.",
        file: "vmm/src/host_dma/sysfs.rs",
        find: "\"direct\" => ReservedKind::Direct,",
        replace: "\"direct\" => ReservedKind::Other,",
        killed_by: Test::unit(
            "portcullis",
            "host_dma::sysfs::tests::a_direct_region_refuses_the_device_and_a_relaxable_one_does_not",
        ),
    },
    Mutant {
        name: "neighbours-coalesced",
        why: "Buffers beside each other that two processors announce together become one mapping.",
        file: "iommu/src/shadow/commitment.rs",
        find: "leaf.continues_into(next) && (!edges.contains(&next.start()) || was_one())",
        replace: "leaf.continues_into(next) && (edges.len() < usize::MAX || was_one())",
        killed_by: Test::integration(
            "iommu",
            "shadow_neighbours",
            "neighbours_that_were_mapped_together_are_unmapped_one_without_the_other",
        ),
    },
    Mutant {
        name: "batch-forgets-ranges",
        why: "Of several ranges before one wait, the host follows the first.",
        file: "iommu/src/shadow/space.rs",
        find: "for range in outermost(ranges) {",
        replace: "for range in outermost(ranges).into_iter().take(1) {",
        killed_by: Test::integration(
            "iommu",
            "shadow_model",
            "no_function_ever_reaches_what_its_tables_have_not_allowed",
        ),
    },
    Mutant {
        name: "batch-lost-at-error",
        why: "What was announced before a descriptor that is an error is not carried out.",
        file: "iommu/src/queue.rs",
        find: "        self.announce_all(&mut batch, outbox);
        self.publish_head(queue);",
        replace: "        self.publish_head(queue);",
        killed_by: Test::integration(
            "iommu",
            "shadow_end_to_end",
            "what_stands_before_an_error_is_carried_out_before_the_error_is_told",
        ),
    },
    Mutant {
        name: "space-entered-empty",
        why: "A group comes into its new address space before anything is mapped there: its DMA fails for a while.",
        file: "iommu/src/shadow/assignment.rs",
        find: "        let host = Host { iommu, identity: &self.identity };
        let key = operation.prepare(content, host, spaces, tables, report)?;",
        replace: "        let host = Host { iommu, identity: &self.identity };
        let early = spaces.make(iommu, self.identity.clone())?;
        let _ = spaces.id(early).map(|id| group.enter(id));
        let key = operation.prepare(content, host, spaces, tables, report)?;",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::groups::a_space_is_filled_before_it_is_entered_and_the_old_one_goes_after",
        ),
    },
    Mutant {
        name: "newcomer-trusts-space",
        why: "A group comes into an address space that others are in as it is, whatever the tables have come to say.",
        file: "iommu/src/shadow/operation.rs",
        find: "if !self.is_fresh(key) {",
        replace: "if false {",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::groups::a_space_that_is_there_is_compared_before_it_is_entered",
        ),
    },
    Mutant {
        name: "contradiction-ignored",
        why: "Of functions that the host cannot tell apart, one reaches what the tables give another.",
        file: "iommu/src/shadow/member.rs",
        find: "        } else if anyone_sends {
            Self::Contradiction",
        replace: "        } else if anyone_sends {
            first",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::groups::functions_of_a_group_that_contradict_each_other_reach_nothing_and_the_guest_is_told",
        ),
    },
    Mutant {
        name: "refused-move-stays",
        why: "A group that may not enter its new address space goes on in the old one, which is no longer its.",
        file: "iommu/src/shadow/assignment.rs",
        find: "                    self.block(spaces);
                    self.refused_moves += 1;",
        replace: "                    self.refused_moves += 1;",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::groups::a_group_that_is_not_let_in_is_blocked_told_once_and_tried_again",
        ),
    },
    Mutant {
        name: "refused-move-forgotten",
        why: "A group that was once not let into an address space is blocked for good.",
        file: "iommu/src/shadow/assignment.rs",
        find: "let is_due = changed || again && self.is_left_out();",
        replace: "let is_due = changed;",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::groups::a_group_that_is_not_let_in_is_blocked_told_once_and_tried_again",
        ),
    },
    Mutant {
        name: "empty-space-kept",
        why: "An address space that nobody is in any more stays, with all that it has mapped.",
        file: "iommu/src/shadow/spaces.rs",
        find: "if self.entries.get(&key).is_some_and(|entry| entry.seats == 0)",
        replace: "if self.entries.get(&key).is_some_and(|entry| entry.seats > 9)",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::groups::a_space_is_filled_before_it_is_entered_and_the_old_one_goes_after",
        ),
    },
    Mutant {
        name: "pasid-entry-replaced-unnoticed",
        why: "An assigned function stays behind the table of a PASID entry that is replaced by one of another domain.",
        file: "iommu/src/shadow/member.rs",
        find: "self.regime.is_of(domain, pasid) || self.regime_now(tables).is_of(domain, pasid)",
        replace: "self.regime_now(tables).is_of(domain, pasid)",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::scalable::a_pasid_entry_counts_when_it_is_announced_under_what_it_says_or_said",
        ),
    },
    Mutant {
        name: "marked-table-followed",
        why: "A function writes memory by tables that say which pages are dirty, and never says so.",
        file: "iommu/src/shadow/regime.rs",
        find: "if table.marks == Marks::Absent =>",
        replace: "if table.marks == Marks::Absent || table.scalable =>",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::scalable::behind_tables_that_are_not_followed_nothing_is_reached",
        ),
    },
    Mutant {
        name: "first-stage-remembered",
        why: "The host is not told to forget what an invalidation by PASID names in a first-stage table.",
        file: "iommu/src/shadow/walked.rs",
        find: "Invalidation::PasidIotlb(domain, pasid) if self.is(domain, pasid) => Forget::Everything,",
        replace: "Invalidation::PasidIotlb(..) => continue,",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::nested::what_the_guest_takes_back_is_forgotten_before_it_is_told",
        ),
    },
    Mutant {
        name: "host-that-does-not-forget",
        why: "A group stays where it is although the host may still go by what the guest took back.",
        file: "iommu/src/shadow/assignments.rs",
        find: "self.evict(key, &error, &mut operation);",
        replace: "drop(error);",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::nested::a_host_that_does_not_forget_reaches_nothing_until_it_is_asked_again",
        ),
    },
    Mutant {
        name: "pasid-outlives-entry",
        why: "A PASID goes on reaching what its entry said when the entry is gone.",
        file: "iommu/src/shadow/pasids.rs",
        find: "        for (pasid, ..) in going {
            self.leave(pasid, group, spaces);
        }",
        replace: "        drop(going);",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::pasids::each_pasid_enters_the_table_of_its_own_entry_and_leaves_it",
        ),
    },
    Mutant {
        name: "refused-pasid-stays",
        why: "A PASID that may not enter its new address space goes on in the old one, which is no longer its.",
        file: "iommu/src/shadow/pasids.rs",
        find: "                            entry.vacate(pasid, group, spaces);
                            self.refused_moves += 1;",
        replace: "                            self.refused_moves += 1;",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::pasids::a_pasid_that_is_not_let_in_reaches_nothing_and_the_guest_is_told_once",
        ),
    },
    Mutant {
        name: "pasid-zero-like-any",
        why: "Requests with PASID 0 reach what the tables say of requests without PASID.",
        file: "iommu/src/shadow/regime.rs",
        find: "kind: if apart { Kind::Unfollowed } else { regime.kind },",
        replace: "kind: if apart { regime.kind } else { regime.kind },",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::pasids::requests_without_pasid_are_those_with_pasid_0",
        ),
    },
    Mutant {
        name: "pasids-of-any-function",
        why: "Of two functions that the host cannot tell apart, one reaches what the tables say of a PASID of the other.",
        file: "iommu/src/shadow/pasids.rs",
        find: "        [only] if only.function().pasid_bits() > 0 => Some(only.function()),",
        replace: "        [only, ..] if only.function().pasid_bits() > 0 => Some(only.function()),",
        killed_by: Test::unit("iommu", "shadow::tests::pasids::two_functions_in_a_group_have_no_pasids"),
    },
    Mutant {
        name: "erratum-ignored",
        why: "Pages that are read-only behind a first stage are written on a unit that has erratum 772415.",
        file: "vmm/src/host_dma/iommufd.rs",
        find: "!(unit.no_read_only_parents && self.read_only)",
        replace: "!unit.no_read_only_parents || self.nesting().is_none()",
        killed_by: Test::unit(
            "portcullis",
            "host_dma::iommufd::nested::tests::with_the_erratum_nothing_read_only_stands_behind_first_stages",
        ),
    },
    Mutant {
        name: "any-number-of-tables",
        why: "A guest has one invalidation go through as many tables as it has PASIDs.",
        file: "iommu/src/shadow/pasids.rs",
        find: "followed.len() < TABLE_LIMIT",
        replace: "followed.len() < PASID_LIMIT",
        killed_by: Test::unit(
            "iommu",
            "shadow::tests::pasids::more_second_stages_than_are_followed_reach_nothing",
        ),
    },
];
