//! What stands above page tables in scalable mode: root, context, PASID directory and PASID table.

use std::collections::BTreeMap;

use iommu::Request;
use proptest::prelude::*;

use super::Builder;
use super::mappings::{Stage, Target, aligned};
use super::spaces::{leaf, output};
use crate::bits::mask;
use crate::capability::Caps;
use crate::scalable::{FIRST_STAGE, NESTED, PASS_THROUGH, SECOND_STAGE};

/// What a context and a PASID table entry say, and where one page leads.
#[derive(Clone, Debug)]
pub struct ScalableSpace {
    /// PGTT.
    pub kind: u64,
    /// AW.
    width: u64,
    /// FSPM.
    first_stage_mode: u64,
    /// PDTS.
    directory_size: u64,
    rid_pasid: u64,
    /// DTE, PASIDE, PRE, RID_PRIV; FPD of context, directory and table entry.
    context_flags: [bool; 7],
    /// SSADE, PWSNP, PGSNP, SRE, ERE, WPE, NXE, SMEP, EAFE.
    entry_flags: [bool; 9],
    leaves: (u32, u32),
    /// Where the first stage leads, and where the second does.
    outputs: (u64, u64),
    /// Where first-stage tables are before the second stage has translated their addresses.
    window: u64,
    /// The second stage maps them by large pages.
    large_window: bool,
}

/// Scalable spaces of the types `kinds`.
pub fn scalable_space(kinds: &'static [u64]) -> impl Strategy<Value = ScalableSpace> {
    let kind = prop_oneof![20 => proptest::sample::select(kinds), 1 => 0..8_u64];
    let width = prop_oneof![3 => Just(1), 4 => Just(2), 3 => Just(3), 1 => 0..8_u64];
    let mode = prop_oneof![6 => Just(0), 3 => Just(1), 1 => 0..4_u64];
    let size = prop_oneof![4 => Just(7), 1 => 0..8_u64];
    let rid_pasid = prop_oneof![3 => Just(0), 1 => 0..0x10_0000_u64];
    let usually = proptest::bool::weighted(0.85);
    let rarely = proptest::bool::weighted(0.07);
    let context_flags =
        [usually, usually, rarely, rarely, rarely, rarely, rarely].prop_map(|flags: [bool; 7]| flags);
    let entry_flags = [usually; 5].prop_flat_map(|first| {
        [proptest::bool::ANY; 4].prop_map(move |last| {
            let mut flags = [false; 9];
            flags[..5].copy_from_slice(&first);
            flags[5..].copy_from_slice(&last);
            flags
        })
    });
    let window = prop_oneof![4 => Just(0x40_0000_0000_u64), 1 => Just(1 << 45), 1 => Just(0)];
    (
        (kind, width, mode, size, rid_pasid),
        (context_flags, entry_flags),
        (leaf(), leaf()),
        (output(), output()),
        (window, any::<bool>()),
    )
        .prop_map(|(fields, (context_flags, entry_flags), leaves, outputs, (window, large_window))| {
            let (kind, width, first_stage_mode, directory_size, rid_pasid) = fields;
            ScalableSpace {
                kind,
                width,
                first_stage_mode,
                directory_size,
                rid_pasid,
                context_flags,
                entry_flags,
                leaves,
                outputs,
                window,
                large_window,
            }
        })
}

/// `flags` as consecutive bits from `low` on.
fn bits(low: u32, flags: &[bool]) -> u64 {
    flags.iter().enumerate().map(|(index, flag)| u64::from(*flag) << (low + index as u32)).sum()
}

impl ScalableSpace {
    /// Nothing special, for each page size.
    pub fn plain(kind: u64, width: u8) -> impl Iterator<Item = Self> {
        let width = u64::from(width - 30) / 9;
        (1..4).map(move |leaf| Self {
            kind,
            width,
            first_stage_mode: width - 2,
            directory_size: 7,
            rid_pasid: 0x41,
            context_flags: [true, true, false, false, false, false, false],
            entry_flags: [true, true, true, true, true, false, false, false, true],
            leaves: (leaf, leaf),
            outputs: (0x12_3456_7000, 0x65_4321_0000),
            window: 0x40_0000_0000,
            large_window: false,
        })
    }

    /// Builds the tables by which `request` reaches `input`; gives the root table.
    pub fn build(&self, builder: &mut Builder, caps: &Caps, request: &Request, input: u64) -> u64 {
        let second_stage = self.build_second_stage(builder, caps, input);
        let first_stage = match self.kind {
            FIRST_STAGE => self.build_first_stage(builder, caps, input),
            NESTED => self.build_nested(builder, caps, input, second_stage),
            _ => 0,
        };
        let rid_pasid = if caps.rid_pasid() { self.rid_pasid } else { 0 };
        let pasid = request.pasid.map_or(rid_pasid, |pasid| u64::from(pasid.0));
        let first_stage = if first_stage == 0 { 0 } else { builder.root(first_stage) };
        let directory = self.build_pasid(builder, caps, pasid, first_stage, second_stage);

        let [device_tlb, pasids, page_requests, rid_privileged, disabled, ..] = self.context_flags;
        let flags = bits(
            1,
            &[
                disabled,
                device_tlb && caps.device_tlb(),
                pasids && caps.pasid(),
                page_requests && caps.page_requests(),
            ],
        );
        let source = request.source.0;
        let (root, contexts) = (builder.page(), builder.page());
        builder.put(root + 16 * u64::from(source >> 8) + 8 * u64::from(source >> 7 & 1), contexts | 1);
        let at = contexts + 32 * u64::from(source & 0x7F);
        builder.put(at, directory | self.directory_size << 9 | flags | 1);
        let privileged = u64::from(rid_privileged && caps.rid_privilege()) << 20;
        builder.put(at + 8, rid_pasid | privileged);
        builder.put(at + 16, 0);
        builder.put(at + 24, 0);
        builder.root(root)
    }

    fn build_pasid(
        &self,
        builder: &mut Builder,
        caps: &Caps,
        pasid: u64,
        first_stage: u64,
        second_stage: u64,
    ) -> u64 {
        let (directory, table) = (builder.pages(32), builder.page());
        let [.., in_directory, in_entry] = self.context_flags;
        builder.put(directory + 8 * (pasid >> 6), table | bits(1, &[in_directory]) | 1);
        let [dirty, walk_snoop, page_snoop, supervisor, execute, write_protect, no_execute, smep, extended] =
            self.entry_flags;
        let width = if caps.second_stage() { self.width << 2 } else { 0 };
        let dirty = bits(9, &[dirty && caps.second_stage_dirty()]);
        let domain = builder.salt() & mask(15, 0) & !caps.beyond_domains();
        let mode = if caps.first_stage() { self.first_stage_mode << 2 } else { 0 };
        let flags = [
            supervisor && caps.supervisor(),
            execute && caps.execute(),
            false,
            false,
            write_protect && caps.first_stage(),
            no_execute && caps.first_stage(),
            smep && caps.first_stage(),
            extended && caps.extended_accessed(),
        ];
        let words = [
            second_stage | dirty | self.kind << 6 | width | bits(1, &[in_entry]) | 1,
            domain | bits(23, &[walk_snoop && caps.walk_snoop(), page_snoop && caps.snoop_control()]),
            first_stage | mode | bits(0, &flags),
        ];
        for index in 0..8 {
            let word = words.get(index).copied().unwrap_or(0);
            builder.put(table + 64 * (pasid & 63) + 8 * index as u64, word);
        }
        directory
    }

    /// The second stage's tree, which maps the input address where it is the only stage.
    fn build_second_stage(&self, builder: &mut Builder, caps: &Caps, input: u64) -> u64 {
        if !matches!(self.kind, SECOND_STAGE | NESTED) {
            return 0;
        }
        let base = builder.page();
        if self.kind == SECOND_STAGE {
            let output = aligned(self.outputs.1, self.leaves.1, caps.host_width);
            let tree = (base, self.second_stage_levels());
            builder.map(Stage::Second, tree, input, Target { output, leaf: self.leaves.1 });
        }
        base
    }

    fn second_stage_levels(&self) -> u32 {
        self.width.clamp(1, 3) as u32 + 2
    }

    fn first_stage_levels(&self) -> u32 {
        self.first_stage_mode.min(1) as u32 + 4
    }

    fn build_first_stage(&self, builder: &mut Builder, caps: &Caps, input: u64) -> u64 {
        let base = builder.page();
        let output = aligned(self.outputs.0, self.leaves.0, caps.host_width);
        let tree = (base, self.first_stage_levels());
        builder.map(Stage::First, tree, input, Target { output, leaf: self.leaves.0 });
        base
    }

    /// First-stage tables at addresses that the second stage translates; it translates the output too.
    fn build_nested(&self, builder: &mut Builder, caps: &Caps, input: u64, second_stage: u64) -> u64 {
        let mut places = BTreeMap::new();
        let tree = (second_stage, self.second_stage_levels());
        let place = self.allocate(builder, tree);
        places.insert(place.0, place.1);
        let top = place.0;
        let leaf = self.leaves.0;
        // An address that the second stage can take, so that most walks get that far.
        let output = aligned(self.outputs.0, leaf, caps.host_width) & mask(9 * tree.1 + 11, 0) & mask(38, 0);
        // The tables are known as they are allocated, so the way down finds them.
        let places = std::cell::RefCell::new(places);
        builder.map_through(
            Stage::First,
            (top, self.first_stage_levels()),
            input,
            Target { output, leaf },
            |table| places.borrow()[&table],
            |builder| {
                let (seen, place) = self.allocate(builder, tree);
                places.borrow_mut().insert(seen, place);
                seen
            },
        );
        let page = output | input & mask(9 * leaf + 2, 0);
        let target = aligned(self.outputs.1, self.leaves.1, caps.host_width);
        builder.map(Stage::Second, tree, page, Target { output: target, leaf: self.leaves.1 });
        top
    }

    /// A first-stage table under the second stage: its address there, and in memory.
    fn allocate(&self, builder: &mut Builder, tree: (u64, u32)) -> (u64, u64) {
        let place = builder.page();
        // Where the window is too high for it, the table is where the second stage cannot reach it.
        let seen = self.window + place;
        let target = if self.large_window {
            Target { output: place & !mask(20, 0), leaf: 2 }
        } else {
            Target { output: place, leaf: 1 }
        };
        builder.map(Stage::Second, tree, seen, target);
        (seen, place)
    }
}

/// Every translation type.
pub const EVERY_KIND: &[u64] = &[FIRST_STAGE, SECOND_STAGE, NESTED, PASS_THROUGH];
