//! What stands above page tables: root, context and PASID tables.

use proptest::prelude::*;

use super::Builder;
use super::mappings::{Stage, Target, aligned};
use crate::capability::Caps;
use crate::legacy;

/// What a legacy context entry says, and where one page leads.
#[derive(Clone, Debug)]
pub struct LegacySpace {
    translation: u64,
    width: u64,
    fault_processing_disabled: bool,
    leaf: u32,
    output: u64,
}

/// Legacy spaces; most of them of second-stage tables.
pub fn legacy_space() -> impl Strategy<Value = LegacySpace> {
    let translation = prop_oneof![8 => Just(0), 1 => Just(1), 2 => Just(2), 1 => Just(3)];
    let width = prop_oneof![3 => Just(1), 4 => Just(2), 3 => Just(3), 1 => 0..8_u64];
    (translation, width, proptest::bool::weighted(0.2), leaf(), output()).prop_map(
        |(translation, width, fault_processing_disabled, leaf, output)| LegacySpace {
            translation,
            width,
            fault_processing_disabled,
            leaf,
            output,
        },
    )
}

/// The level of a leaf.
pub fn leaf() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(1), 1 => Just(2), 1 => Just(3)]
}

/// Where a page leads: anywhere, or to the interrupt range.
pub fn output() -> impl Strategy<Value = u64> {
    prop_oneof![8 => any::<u64>(), 1 => (0..0x100_u64).prop_map(|page| 0xFEE0_0000 + (page << 12))]
}

impl LegacySpace {
    /// Nothing special, for each page size.
    pub fn plain(width: u8) -> impl Iterator<Item = Self> {
        let width = u64::from(width - 30) / 9;
        (1..4).map(move |leaf| Self {
            translation: 0,
            width,
            fault_processing_disabled: false,
            leaf,
            output: 0x12_3456_7000,
        })
    }

    /// The same for devices with translations of their own, unless it is special otherwise.
    pub fn mostly_all_types(self) -> Self {
        let translation = if self.output & 0xF000 == 0 { self.translation } else { legacy::ALL_TYPES };
        Self { translation, ..self }
    }

    /// Builds the tables by which `source` reaches `input`; gives the root table.
    pub fn build(&self, builder: &mut Builder, caps: &Caps, source: u16, input: u64) -> u64 {
        let levels = (self.width as u32 + 2).min(5);
        let base = builder.page();
        if self.translation != legacy::PASS_THROUGH {
            let leaf = self.leaf.min(levels);
            let output = aligned(self.output, leaf, caps.host_width);
            builder.map(Stage::Second, (base, levels), input, Target { output, leaf });
        }
        let (root, contexts) = (builder.page(), builder.page());
        let at = root + 16 * u64::from(source >> 8);
        builder.put(at, contexts | 1);
        builder.put(at + 8, 0);
        let at = contexts + 16 * u64::from(source & 0xFF);
        let domain = builder.salt() & 0xFFFF;
        builder.put(at, base | self.translation << 2 | u64::from(self.fault_processing_disabled) << 1 | 1);
        builder.put(at + 8, domain << 8 | self.width);
        builder.root(root)
    }
}
