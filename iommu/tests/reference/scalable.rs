//! Scalable mode: root table, context table, PASID directory, PASID table (§3.4.4, §9.2, §9.4 to §9.6).

use iommu::Request;

use super::bits::{below_interrupt_range, bit, field, in_interrupt_range, mask};
use super::capability::Caps;
use super::first_stage::{self, Demand};
use super::memory::Tag;
use super::second_stage::{self, Need, SCALABLE, World, levels};
use super::trace::Trace;

/// A context entry that can be used.
#[expect(clippy::struct_excessive_bools, reason = "the entry has as many flags")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Context {
    /// DTE.
    pub device_tlb: bool,
    /// PASIDE.
    pub pasids: bool,
    /// PRE.
    pub page_requests: bool,
    /// The largest PASID, from PDTS.
    pub limit: u64,
    /// PASIDDIRPTR.
    pub directory: u64,
    /// RID_PASID.
    pub rid_pasid: u64,
    /// RID_PRIV.
    pub rid_privileged: bool,
}

/// The eight words of a PASID table entry that is present and has no reserved bits set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PasidEntry(pub [u64; 8]);

/// PGTT.
pub const FIRST_STAGE: u64 = 1;
pub const SECOND_STAGE: u64 = 2;
pub const NESTED: u64 = 3;
pub const PASS_THROUGH: u64 = 4;

/// Judges a request in scalable mode with the root table at `root`.
pub fn judge(
    world: World,
    trace: &mut Trace,
    root: u64,
    request: &Request,
    device_tlb: bool,
    address: u64,
    length: u64,
) -> Option<()> {
    if request.translated && in_interrupt_range(address) {
        // Whether this comes before the tables is open.
        trace.deny(&[0x87]);
    }
    let context = context(world, trace, root, request.source.0)?;
    context.accept(trace, request, device_tlb)?;
    if request.translated {
        return identity(world, trace, address, true);
    }
    let pasid = context.pasid_of(request);
    let entry = pasid_entry(world, trace, &context, pasid)?;
    let rights = context.rights_of(request);
    entry.accept(trace, request, rights)?;
    entry.translate(world, trace, entry.tag(pasid), request, rights, (address, length))
}

/// With which rights a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    supervisor: bool,
    execute: bool,
}

impl Context {
    /// The PASID of a request, with RID_PASID for one that has none.
    pub fn pasid_of(&self, request: &Request) -> u64 {
        request.pasid.map_or(self.rid_pasid, |pasid| u64::from(pasid.0))
    }

    /// Privilege of a request, with RID_PRIV for one without PASID.
    pub fn rights_of(&self, request: &Request) -> Rights {
        let with_pasid = request.pasid.is_some();
        Rights {
            supervisor: if with_pasid { request.privileged } else { self.rid_privileged },
            execute: with_pasid && request.execute,
        }
    }

    /// Whether the entry lets a request be made; `device_tlb` if only a device with translations of its own
    /// makes it.
    pub fn accept(&self, trace: &mut Trace, request: &Request, device_tlb: bool) -> Option<()> {
        let mut reasons = Vec::new();
        if device_tlb && !self.device_tlb {
            reasons.push(0x44);
        }
        if let Some(pasid) = request.pasid {
            let mut of_pasid = Vec::new();
            if !self.pasids {
                of_pasid.push(0x45);
            }
            if u64::from(pasid.0) > self.limit {
                of_pasid.push(0x46);
            }
            if request.translated {
                // Nothing depends on the PASID of a translated request.
                trace.may_fault(&of_pasid);
            } else {
                reasons.extend(of_pasid);
            }
        }
        trace.stop_for(&reasons)
    }
}

/// Finds the context entry of `source`.
pub fn context(world: World, trace: &mut Trace, root: u64, source: u16) -> Option<Context> {
    let upper = source >> 7 & 1;
    let at = root + 16 * u64::from(source >> 8) + 8 * u64::from(upper);
    let Some(half) = world.memory.read(at) else {
        return trace.stop(&[0x38]);
    };
    if !bit(half, 0) {
        return trace.stop(&[0x39]);
    }
    if half & (mask(11, 1) | world.caps.beyond_host()) != 0 {
        return trace.stop(&[0x3A]);
    }
    let at = (half & mask(63, 12)) + 32 * u64::from(source & 0x7F);
    let mut words = [0; 4];
    for (index, word) in words.iter_mut().enumerate() {
        let Some(value) = world.memory.read(at + 8 * index as u64) else {
            return trace.stop(&[0x40]);
        };
        *word = value;
    }
    trace.fault_processing_disabled |= bit(words[0], 1);
    if !bit(words[0], 0) {
        return trace.stop(&[0x41]);
    }
    let context = Context {
        device_tlb: bit(words[0], 2),
        pasids: bit(words[0], 3),
        page_requests: bit(words[0], 4),
        limit: (1 << (field(words[0], 11, 9) + 13)) - 1,
        directory: words[0] & mask(63, 12),
        rid_pasid: field(words[1], 19, 0),
        rid_privileged: bit(words[1], 20),
    };
    let mut reasons = Vec::new();
    if context_reserved(world.caps, &words) {
        reasons.push(0x42);
    }
    if context.rid_pasid > context.limit {
        reasons.extend([0x43, 0x48]);
    }
    trace.stop_for(&reasons)?;
    if context.page_requests && !context.device_tlb {
        trace.may_fault(&[0x43]);
    }
    Some(context)
}

fn context_reserved(caps: &Caps, words: &[u64; 4]) -> bool {
    let mut reserved = [mask(8, 5) | caps.beyond_host(), mask(63, 21), u64::MAX, u64::MAX];
    for (present, word, bits) in [
        (caps.device_tlb(), 0, 1 << 2),
        (caps.pasid(), 0, 1 << 3),
        (caps.page_requests(), 0, 1 << 4),
        (caps.rid_pasid(), 1, mask(19, 0)),
        (caps.rid_privilege(), 1, 1 << 20),
    ] {
        if !present {
            reserved[word] |= bits;
        }
    }
    words.iter().zip(reserved).any(|(word, reserved)| word & reserved != 0)
}

/// Finds the PASID table entry of `pasid`, which is within the limit.
pub fn pasid_entry(world: World, trace: &mut Trace, context: &Context, pasid: u64) -> Option<PasidEntry> {
    let Some(directory) = world.memory.read(context.directory + 8 * (pasid >> 6)) else {
        return trace.stop(&[0x50]);
    };
    trace.fault_processing_disabled |= bit(directory, 1);
    if !bit(directory, 0) {
        return trace.stop(&[0x51]);
    }
    if directory & (mask(11, 2) | world.caps.beyond_host()) != 0 {
        return trace.stop(&[0x52]);
    }
    let at = (directory & mask(63, 12)) + 64 * (pasid & 0x3F);
    let mut words = [0; 8];
    for (index, word) in words.iter_mut().enumerate() {
        let Some(value) = world.memory.read(at + 8 * index as u64) else {
            return trace.stop(&[0x58]);
        };
        *word = value;
    }
    trace.fault_processing_disabled |= bit(words[0], 1);
    if !bit(words[0], 0) {
        return trace.stop(&[0x59]);
    }
    let entry = PasidEntry(words);
    if entry.reserved(world.caps) {
        return trace.stop(&[0x5A]);
    }
    if !entry.valid(world.caps) {
        return trace.stop(&[0x5B]);
    }
    Some(entry)
}

impl PasidEntry {
    /// PGTT.
    pub fn kind(&self) -> u64 {
        field(self.0[0], 8, 6)
    }

    /// DID.
    pub fn domain(&self) -> u16 {
        field(self.0[1], 15, 0) as u16
    }

    /// What translations of the entry are tagged with (§6.2.4).
    pub fn tag(&self, pasid: u64) -> Tag {
        let pasid = (self.kind() != SECOND_STAGE).then_some(pasid as u32);
        Tag { domain: self.domain(), pasid, nested: self.kind() == NESTED }
    }

    /// Reserved bits: those of fields whose capability is missing too, whatever the type of translation. AW
    /// alone is no such field, since software writes it into every entry.
    fn reserved(&self, caps: &Caps) -> bool {
        let mut reserved = [
            mask(11, 10) | mask(5, 5) | caps.beyond_host(),
            mask(22, 16) | mask(31, 27) | caps.beyond_domains(),
            mask(11, 8) | caps.beyond_host(),
            u64::MAX,
            u64::MAX,
            u64::MAX,
            u64::MAX,
            u64::MAX,
        ];
        for (present, word, bits) in [
            (caps.second_stage(), 0, mask(63, 12)),
            (caps.second_stage_dirty(), 0, 1 << 9),
            (caps.walk_snoop(), 1, 1 << 23),
            (caps.snoop_control(), 1, 1 << 24),
            (caps.memory_types(), 1, mask(26, 25) | mask(63, 32)),
            (caps.supervisor(), 2, 1 << 0),
            (caps.execute(), 2, 1 << 1),
            (caps.extended_accessed(), 2, 1 << 7),
            (caps.first_stage(), 2, mask(63, 12)),
        ] {
            if !present {
                reserved[word] |= bits;
            }
        }
        self.0.iter().zip(reserved).any(|(word, reserved)| word & reserved != 0)
    }

    fn valid(&self, caps: &Caps) -> bool {
        let width = caps.has_width(field(self.0[0], 4, 2));
        let levels = match field(self.0[2], 3, 2) {
            0 => true,
            1 => caps.first_stage_5_levels(),
            _ => false,
        };
        match self.kind() {
            FIRST_STAGE => caps.first_stage() && levels,
            SECOND_STAGE => caps.second_stage() && width,
            NESTED => caps.nested() && levels && width,
            PASS_THROUGH => caps.pass_through(),
            _ => false,
        }
    }

    /// Without SMPWCS, walks do not snoop.
    fn snoops(&self) -> bool {
        bit(self.0[1], 23)
    }

    /// SRE, ERE.
    pub fn accept(&self, trace: &mut Trace, request: &Request, rights: Rights) -> Option<()> {
        let mut refused = Vec::new();
        if rights.execute && !bit(self.0[2], 1) {
            refused.push(0x5C);
        }
        if rights.supervisor && !bit(self.0[2], 0) {
            refused.push(0x5D);
        }
        // Entries of other types ignore the fields of first-stage ones, and whether SRE and ERE are among
        // these is open; so is whether they hold for RID_PRIV.
        if matches!(self.kind(), FIRST_STAGE | NESTED) && request.pasid.is_some() {
            return trace.stop_for(&refused);
        }
        trace.may_fault(&refused);
        Some(())
    }

    /// Takes a request on.
    pub fn translate(
        &self,
        world: World,
        trace: &mut Trace,
        tag: Tag,
        request: &Request,
        rights: Rights,
        (address, length): (u64, u64),
    ) -> Option<()> {
        let page = match self.kind() {
            PASS_THROUGH => return identity(world, trace, address, request.pasid.is_some()),
            SECOND_STAGE => {
                let need = Need::of(request.access, length, rights.execute, world.caps);
                second_stage::walk(world, trace, &self.second_stage(), &SCALABLE, need, address)?
            }
            _ => {
                let Rights { supervisor, execute } = rights;
                let demand = Demand { access: request.access, length, supervisor, execute };
                first_stage::walk(world, trace, &self.first_stage(tag), demand, address)?
            }
        };
        trace.reach(page.address, page.rest().min(below_interrupt_range(page.address)));
        Some(())
    }

    fn second_stage(&self) -> second_stage::Tables {
        second_stage::Tables {
            base: self.0[0] & mask(63, 12),
            levels: levels(field(self.0[0], 4, 2)),
            domain: self.domain(),
            marks: bit(self.0[0], 9),
            snoops: self.snoops(),
        }
    }

    fn first_stage(&self, tag: Tag) -> first_stage::Tables {
        first_stage::Tables {
            base: self.0[2] & mask(63, 12),
            levels: 4 + field(self.0[2], 3, 2) as u32,
            tag,
            write_protect: bit(self.0[2], 4),
            extended_accessed: bit(self.0[2], 7),
            snoops: self.snoops(),
            second_stage: (self.kind() == NESTED).then(|| self.second_stage()),
        }
    }
}

/// A request whose address is that of memory (§3.9).
fn identity(world: World, trace: &mut Trace, address: u64, interrupts: bool) -> Option<()> {
    if address & world.caps.beyond_host() != 0 {
        return trace.stop(&[0x83]);
    }
    if interrupts && in_interrupt_range(address) {
        return trace.stop(&[0x87]);
    }
    trace.reach(address, below_interrupt_range(address).min((1 << world.caps.host_width) - address));
    Some(())
}
