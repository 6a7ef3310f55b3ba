//! What VFIO offers of a function of the host.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::Mapping;

/// Why a function that the host handed over cannot be given to the guest.
#[derive(Debug, thiserror::Error)]
pub enum VfioError {
    /// It is not a PCI function.
    #[error("{0} is no PCI function for VFIO: assign a device that is bound to vfio-pci")]
    NotPci(String),
    /// The kernel did not do something that everything else needs.
    #[error("The host did not {action} of {name}: look at the host's log (dmesg)")]
    Step {
        /// The function.
        name: String,
        /// What was asked, so that `of` follows.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The function is a bridge.
    #[error("{0} is a bridge, which cannot be assigned: assign the devices behind it")]
    Bridge(String),
}

/// A part of a function that is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionIndex {
    /// A BAR, 0 to 5.
    Bar(u8),
    /// The expansion ROM.
    Rom,
    /// Configuration space.
    Config,
}

impl RegionIndex {
    /// The region of a BAR as [`pci::Function`] counts them: the ROM is the seventh.
    pub(super) fn of_bar(bar: usize) -> Option<Self> {
        match bar {
            0..=5 => Some(Self::Bar(bar as u8)),
            pci::ROM_BAR => Some(Self::Rom),
            _ => None,
        }
    }
}

/// What a region is like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// Bytes; 0 if there is no such region.
    pub size: u64,
    /// The parts of it that may be mapped, as offsets.
    pub mappable: Vec<Range<u64>>,
}

/// A way in which a function interrupts, or in which the host speaks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterruptKind {
    /// The wire. Each interrupt masks it; [`HostFunction::unmask`] arms it again.
    Intx,
    /// Messages programmed in configuration space.
    Msi,
    /// Messages programmed in a table.
    Msix,
    /// An uncorrectable error was reported.
    Error,
    /// The host wants the function back.
    Request,
}

/// How many interrupts of a kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterruptInfo {
    /// Vectors; 0 if the function has none of the kind.
    pub count: u32,
    /// Whether vectors may be added while others are in use.
    pub grows: bool,
}

/// A function of the host that this program holds.
pub trait HostFunction: Send + Sync {
    /// What a region is like.
    fn region(&self, index: RegionIndex) -> Region;

    /// Reads 1 to 8 bytes.
    fn read(&self, index: RegionIndex, offset: u64, data: &mut [u8]) -> io::Result<()>;

    /// Writes 1 to 8 bytes.
    fn write(&self, index: RegionIndex, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Maps a mappable part of a region, page-aligned, into this program.
    fn map(&self, index: RegionIndex, part: Range<u64>) -> io::Result<Arc<Mapping>>;

    /// How many interrupts there are.
    fn interrupts(&self, kind: InterruptKind) -> InterruptInfo;

    /// Has vectors from `first` on signal these eventfds; `None` silences one. The first call of a kind
    /// switches it on, with as many vectors as it names.
    fn set_triggers(&self, kind: InterruptKind, first: u16, triggers: &[Option<&EventFd>]) -> io::Result<()>;

    /// Switches a kind off.
    fn disable(&self, kind: InterruptKind) -> io::Result<()>;

    /// Arms the wire again.
    fn unmask_wire(&self) -> io::Result<()>;

    /// Whether the function can be reset alone.
    fn can_reset(&self) -> bool;

    /// Resets the function; what the host keeps in its configuration space survives.
    fn reset(&self) -> io::Result<()>;
}
