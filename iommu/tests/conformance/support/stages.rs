//! Address spaces, ready to be used.

use std::rc::Rc;

use iommu::{Access, Pasid, Request, SourceId};

use super::{Bench, Scalable, Tables, context, level, scalable};

/// An address that tests map.
pub(crate) const IOVA: u64 = 0x4000_0000;
pub(crate) const DOMAIN: u64 = Bench::DOMAIN;

/// Bits of second-stage entries (§9.8): R and W; A, D.
pub(crate) const RW: u64 = 3;
pub(crate) const SS_A: u64 = 1 << 8;
pub(crate) const SS_D: u64 = 1 << 9;
/// Bits of first-stage entries (§9.7): P, R/W, U/S; A, D, EA.
pub(crate) const P: u64 = 1;
pub(crate) const WRITABLE: u64 = 1 << 1;
pub(crate) const USER: u64 = 1 << 2;
pub(crate) const USER_RW: u64 = P | WRITABLE | USER;
pub(crate) const A: u64 = 1 << 5;
pub(crate) const D: u64 = 1 << 6;
pub(crate) const EA: u64 = 1 << 10;

/// A first stage of four levels for requests without PASID.
pub(crate) fn first_stage() -> (Scalable, Tables) {
    let setup = Bench::scalable();
    let tables = Tables::first_stage(&setup.bench, 4);
    setup.set(scalable::first_stage(&tables, DOMAIN));
    (setup, tables)
}

/// A second stage of four levels for them.
pub(crate) fn second_stage() -> (Scalable, Tables) {
    let setup = Bench::scalable();
    let tables = Tables::second_stage(&setup.bench, 4);
    setup.set(scalable::second_stage(&tables, DOMAIN));
    (setup, tables)
}

/// A first stage whose own tables, and the page 5000h that it maps at [`IOVA`], a second stage leaves where they are.
pub(crate) fn nested() -> (Scalable, Tables, Tables) {
    let setup = Bench::scalable();
    let first = Tables::first_stage(&setup.bench, 4);
    let second = Tables::second_stage(&setup.bench, 4);
    second.map(0x5000, 0x5000 | RW);
    first.map(IOVA, 0x5000 | USER_RW);
    for at in [level::PAGE, level::PAGE_2M, level::PAGE_1G, 4] {
        let table = first.entry(IOVA, at) & !0xFFF;
        second.map(table, table | RW);
    }
    setup.set(scalable::nested(&first, &second, DOMAIN));
    (setup, first, second)
}

/// A request of [`Bench::DEVICE`] with PASID 0, which is also that of requests without.
pub(crate) fn with_pasid(access: Access) -> Request {
    Request::new(Bench::DEVICE, access).with_pasid(Pasid(0))
}

/// A second function in a domain of its own, with one page.
pub(crate) const OTHER: SourceId = SourceId(0x0208);
pub(crate) const OTHER_DOMAIN: u64 = 6;

/// Two functions, each with a page at [`IOVA`] that the unit has seen.
pub(crate) fn two_domains() -> (Rc<Bench>, Tables, Tables) {
    let (bench, tables) = Bench::translating();
    let others = Tables::second_stage(&bench, 4);
    bench.set_context(OTHER, context::translated(&others, OTHER_DOMAIN));
    tables.map(IOVA, 0x5000 | RW);
    others.map(IOVA, 0x6000 | RW);
    assert_eq!(bench.read(IOVA), Ok(0x5000));
    assert_eq!(bench.read_as(OTHER, IOVA), Ok(0x6000));
    (bench, tables, others)
}
