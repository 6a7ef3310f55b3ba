use super::*;
use crate::GuestAddress;

const DOMAIN: DomainId = DomainId(5);
const PASID: Pasid = Pasid(0);

fn named() -> NamedTable {
    let table = FirstStage {
        table: GuestAddress(0x8000),
        levels: 4,
        supervisor: false,
        write_protect: true,
        extended_accessed: false,
    };
    NamedTable { table, domain: DOMAIN, pasid: PASID }
}

fn selective(domain: DomainId, pasid: Pasid, iova: u64, address_mask: u8) -> Invalidation {
    Invalidation::PasidIotlbPages { domain, pasid, iova: Iova(iova), address_mask, hint: address_mask == 0 }
}

#[test]
fn several_ranges_are_one_list_and_those_of_others_are_left_out() {
    let batch = [
        selective(DOMAIN, PASID, 0x1_2345, 0),
        selective(DomainId(6), PASID, 0x2000, 0),
        selective(DOMAIN, Pasid(1), 0x3000, 0),
        selective(DOMAIN, PASID, 0xFFFF_8000_0020_3000, 9),
        Invalidation::IotlbDomain(DomainId(6)),
        Invalidation::PasidIotlb(DOMAIN, Pasid(1)),
        // It is about second stages.
        Invalidation::IotlbPages { domain: DOMAIN, iova: Iova(0), address_mask: 0, hint: false },
        Invalidation::PasidCachePasid(DOMAIN, PASID),
    ];
    let expected = [
        Forget::Pages { iova: Iova(0x1_2000), count: 1, leaves: true },
        Forget::Pages { iova: Iova(0xFFFF_8000_0020_0000), count: 512, leaves: false },
    ];
    assert_eq!(named().ranges(&batch), expected);
    assert!(named().ranges(&[]).is_empty());
}

#[test]
fn what_names_the_whole_table_is_one_request_whatever_else_there_is() {
    let whole = [
        Invalidation::Everything,
        Invalidation::IotlbGlobal,
        Invalidation::IotlbDomain(DOMAIN),
        Invalidation::PasidIotlb(DOMAIN, PASID),
        selective(DOMAIN, PASID, 0, 45),
        selective(DOMAIN, PASID, 0, 64),
    ];
    for what in whole {
        let batch = [selective(DOMAIN, PASID, 0x1000, 0), what, selective(DOMAIN, PASID, 0x2000, 0)];
        assert_eq!(named().ranges(&batch), [Forget::Everything], "{what:?}");
    }
    let one_each =
        |count: u64| -> Vec<_> { (0..count).map(|page| selective(DOMAIN, PASID, page << 12, 0)).collect() };
    assert_eq!(named().ranges(&one_each(RANGE_LIMIT as u64)).len(), RANGE_LIMIT);
    assert_eq!(named().ranges(&one_each(RANGE_LIMIT as u64 + 1)), [Forget::Everything]);
}
