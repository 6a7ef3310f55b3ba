use std::sync::LazyLock;

use super::*;
use crate::Profile;
use crate::cache::table::Keeper;

static KEEPER: LazyLock<Keeper> = LazyLock::new(Keeper::default);

/// Nothing taken.
const NONE: [usize; 0] = [];

const CAPABILITIES: Capabilities = Capabilities::new(Profile::Full, 57);
const LAST: u32 = 0xF_FFFF;

fn first(root: u64, levels: u8, options: FirstStageOptions, marks: Marks) -> first_stage::Table {
    let top = Level::from_number(levels).unwrap();
    first_stage::Table { root: GuestAddress(root), top, width: 57, options, marks }
}

fn second(root: u64, levels: u8, marks: Marks) -> second_stage::Table {
    let top = Level::from_number(levels).unwrap();
    second_stage::Table::scalable(GuestAddress(root), top, &CAPABILITIES, marks)
}

fn space(domain: u16, pasid: u32, mapping: Mapping) -> AddressSpace {
    let tagged = !matches!(mapping, Mapping::SecondStage(_));
    let fault_processing_disabled = domain % 2 == 1;
    let pasid = tagged.then_some(Pasid(pasid));
    AddressSpace { domain: DomainId(domain), pasid, fault_processing_disabled, mapping }
}

#[test]
fn what_is_put_in_comes_out_as_it_was() {
    let cache = PasidCache::new(CAPABILITIES);
    let high = 0x000F_FFFF_FFFF_F000;
    let mut mappings = vec![Mapping::PassThrough];
    for marks in [Marks::Absent, Marks::Forbidden, Marks::Kept] {
        for options in FirstStageOptions::all().iter().chain([FirstStageOptions::all()]) {
            mappings.push(Mapping::FirstStage(first(high, 5, options, marks)));
            mappings.push(Mapping::Nested(first(0x1000, 4, options, marks), second(high, 5, Marks::Kept)));
            mappings.push(Mapping::Nested(first(high, 4, options, Marks::Kept), second(0x1000, 3, marks)));
        }
        mappings.push(Mapping::SecondStage(second(high, 4, marks)));
    }
    for mapping in mappings {
        for (source, pasid, domain) in [(0, 0, 0), (0xFFFF, LAST, 0xFFFF), (0x0113, 5, 0xFFFE)] {
            let space = space(domain, pasid, mapping);
            cache.fill(&mut KEEPER.evict(), SourceId(source), Pasid(pasid), &space);
            assert_eq!(cache.get(SourceId(source), Pasid(pasid)), Some(space));
        }
    }
}

/// Requester, PASID and domain of what is put in.
const ALL: [(u16, u32, u16); 6] =
    [(0x0110, 1, 5), (0x0110, 2, 5), (0x0110, LAST, 6), (0x0111, 1, 5), (0x0111, 2, 6), (0x0214, 1, 5)];

/// What `what` takes of [`ALL`], by index.
fn taken(what: &Invalidation) -> Vec<usize> {
    let cache = PasidCache::new(CAPABILITIES);
    for (source, pasid, domain) in ALL {
        let space = space(domain, pasid, Mapping::PassThrough);
        cache.fill(&mut KEEPER.evict(), SourceId(source), Pasid(pasid), &space);
    }
    cache.invalidate(&mut KEEPER.evict(), what);
    let gone = |(source, pasid, _): (u16, u32, u16)| cache.get(SourceId(source), Pasid(pasid)).is_none();
    (0..ALL.len()).filter(|index| gone(ALL[*index])).collect()
}

#[test]
fn every_granularity_takes_what_it_names_and_leaves_the_rest() {
    let everything = [0, 1, 2, 3, 4, 5];
    assert_eq!(taken(&Invalidation::Everything), everything);
    assert_eq!(taken(&Invalidation::PasidCacheGlobal), everything);
    assert_eq!(taken(&Invalidation::PasidCacheDomain(DomainId(5))), [0, 1, 3, 5]);
    assert_eq!(taken(&Invalidation::PasidCachePasid(DomainId(5), Pasid(1))), [0, 3, 5]);
    assert_eq!(taken(&Invalidation::PasidCachePasid(DomainId(6), Pasid(1))), NONE);
    assert_eq!(taken(&Invalidation::PasidCachePasid(DomainId(6), Pasid(LAST))), [2]);
    // They stand on context entries.
    assert_eq!(taken(&Invalidation::ContextGlobal), everything);
    assert_eq!(taken(&Invalidation::ContextDomain(DomainId(9))), everything);
    let device = |mask| Invalidation::ContextDevice { source: SourceId(0x0111), mask };
    assert_eq!(taken(&device(0)), [3, 4]);
    assert_eq!(taken(&device(7)), [0, 1, 2, 3, 4]);
    assert_eq!(taken(&Invalidation::IotlbGlobal), NONE);
    assert_eq!(taken(&Invalidation::PasidIotlb(DomainId(5), Pasid(1))), NONE);
}
