//! What a PCI function is to the fabric that carries accesses to it.

/// BAR registers of a type 0 header, plus the expansion ROM as the seventh.
pub const BAR_COUNT: usize = 7;

/// The address space a BAR decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BarSpace {
    /// Memory space.
    Memory,
    /// Port space.
    Port,
}

/// A range of addresses that a BAR decodes right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BarRange {
    /// Memory or ports.
    pub space: BarSpace,
    /// First address.
    pub base: u64,
    /// Length in bytes, a power of two.
    pub length: u64,
}

/// One PCI function.
///
/// Offsets into configuration space are below 4096 and accesses are aligned to their size; accesses to a BAR
/// stay inside it, but may have any size up to 8 bytes and any alignment. Every method may be called from
/// several vCPU threads at once. None may call back into the [`crate::RootComplex`].
pub trait Function: Send + Sync {
    /// Reads 1, 2 or 4 bytes of configuration space.
    fn config_read(&self, offset: u16, data: &mut [u8]);

    /// Writes 1, 2 or 4 bytes of configuration space. The effect is complete on return.
    fn config_write(&self, offset: u16, data: &[u8]);

    /// What each BAR decodes now, as the function's own registers say: `None` where it is not implemented
    /// or its enable bit (Memory Space, I/O Space, ROM) is clear. Whether bridges above let accesses through
    /// is not the function's business. A 64-bit BAR stands at its lower index. Changes only in
    /// [`Function::config_write`] and [`Function::reset`]: after these it is looked at again.
    fn bars(&self) -> [Option<BarRange>; BAR_COUNT];

    /// Reads from BAR `bar` at `offset`, 1 to 8 bytes.
    fn bar_read(&self, bar: usize, offset: u64, data: &mut [u8]);

    /// Writes to BAR `bar` at `offset`, 1 to 8 bytes.
    fn bar_write(&self, bar: usize, offset: u64, data: &[u8]);

    /// Tells what the guest can really reach of each BAR, bridges considered, after a change. A function
    /// whose BARs are mapped into the guest moves the mappings here; the others need not care. A BAR of which
    /// only a part can be reached is `None`: its accesses come one by one. No two functions hold the same
    /// address: who loses it is told before who gains it.
    fn reachable(&self, _bars: &[Option<BarRange>; BAR_COUNT]) {}

    /// Tells that the number of the bus the function is on has changed, and with it its requester ID.
    fn renumbered(&self) {}

    /// Tells whether the bridges above pass on what the function sends, after a change; until told, they do.
    /// Once told that they do not, nothing that it has sent is under way any more.
    fn upstream(&self, _open: bool) {}

    /// Brings the function back to its state after power-on, as a reset of the bus does.
    fn reset(&self);
}
