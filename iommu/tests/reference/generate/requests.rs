//! Requests to memory.

use iommu::{Access, Pasid, Request, SourceId};
use proptest::prelude::*;

/// A request, where it goes, and how many bytes it is for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub request: Request,
    pub address: u64,
    pub length: u64,
}

impl Asked {
    /// A small request, for a page that nothing is special about.
    pub fn plain(access: Access, with_pasid: bool) -> Self {
        let request = Request::new(SourceId(0x0181), access);
        let request = if with_pasid { request.with_pasid(Pasid(0x41)) } else { request };
        Self { request, address: 0x4_5678_9010, length: 4 }
    }
}

/// A request; with a PASID so many times of a hundred.
pub fn asked(with_pasid: u32) -> impl Strategy<Value = Asked> {
    let access = prop_oneof![Just(Access::Read), Just(Access::Write), Just(Access::Atomic)];
    let pasid = prop_oneof![
        100 - with_pasid => Just(None),
        with_pasid => prop_oneof![4 => 0..300_u32, 1 => 0..0x10_0000_u32].prop_map(|pasid| Some(Pasid(pasid)))
    ];
    let flags = (any::<bool>(), proptest::bool::weighted(0.2), proptest::bool::weighted(0.06));
    let length = prop_oneof![1 => Just(0), 4 => 1..16_u64, 1 => Just(4096), 2 => 1..0x80_0000_u64];
    (any::<u16>(), access, pasid, flags, address(), length).prop_map(
        |(source, access, pasid, (privileged, execute, translated), address, length)| Asked {
            request: Request {
                source: SourceId(source),
                pasid,
                privileged,
                // Only what is read can be executed.
                execute: execute && access == Access::Read && length > 0,
                access: if length == 0 { Access::Read } else { access },
                translated,
            },
            address,
            length,
        },
    )
}

/// Addresses of every width, among them those at the edges of tables and of the interrupt range.
pub fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => any::<u64>().prop_map(|address| address >> 25),
        3 => any::<u64>().prop_map(|address| address >> 16),
        2 => any::<u64>().prop_map(|address| address >> 7),
        2 => any::<u64>().prop_map(|address| u64::MAX << 47 | address >> 17),
        1 => any::<u64>().prop_map(|address| u64::MAX << 56 | address >> 8),
        1 => any::<u64>(),
        1 => any::<u64>().prop_map(|address| 0xFEDF_F000 + address % 0x11_2000),
    ]
}
