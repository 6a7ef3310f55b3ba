//! The structures of a virtio device in its BARs, and the capabilities that say where (section 4.1.4).

use pci::{EndpointBuilder, EndpointError, Register};

/// The BAR with the structures.
pub(super) const STRUCTURES_BAR: usize = 0;
/// The size of that BAR in bytes: a page for each structure.
pub(super) const STRUCTURES_SIZE: u32 = 0x4000;
/// The BAR with the MSI-X table and pending bits.
pub(super) const MSIX_BAR: usize = 2;
/// The size of that BAR in bytes.
pub(super) const MSIX_SIZE: u32 = 0x1000;
/// Where in that BAR the pending bits are. The table is at its beginning.
pub(super) const MSIX_PENDING: u32 = 0x800;

/// Queues share the doorbell page, this many bytes apart.
pub(super) const NOTIFY_STRIDE: u32 = 4;

/// Each structure has a page to itself.
const PAGE: u32 = 0x1000;
/// A capability of a vendor's own.
const VENDOR_SPECIFIC: u8 = 0x09;

/// The structures, in the order in which their pages follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Structure {
    Common,
    Isr,
    Device,
    Notify,
}

impl Structure {
    /// The structure at `offset` in the BAR, and where in it that is.
    pub(super) fn at(offset: u64) -> Option<(Self, u64)> {
        let structure = match offset / u64::from(PAGE) {
            0 => Self::Common,
            1 => Self::Isr,
            2 => Self::Device,
            3 => Self::Notify,
            _ => return None,
        };
        Some((structure, offset % u64::from(PAGE)))
    }

    const fn capability_type(self) -> u8 {
        match self {
            Self::Common => 1,
            Self::Notify => 2,
            Self::Isr => 3,
            Self::Device => 4,
        }
    }
}

/// Adds a capability for each of the structures, and the window through which a driver without access to
/// the BARs can reach them; gives where the window is.
pub(super) fn add_capabilities(builder: &mut EndpointBuilder) -> Result<Window, EndpointError> {
    let head = |length: u8, capability_type: u8, offset: u32| {
        [
            Register::u8(length),
            Register::u8(capability_type),
            Register::u32(STRUCTURES_BAR as u32),
            Register::u32(offset),
            Register::u32(PAGE),
        ]
    };
    for (structure, offset) in [Structure::Common, Structure::Isr, Structure::Device, Structure::Notify]
        .into_iter()
        .zip((0..).step_by(4096))
    {
        let extra = [Register::u32(NOTIFY_STRIDE)];
        let extra = if structure == Structure::Notify { &extra[..] } else { &[] };
        let length = 16 + extra.len() as u8 * 4;
        let mut body = head(length, structure.capability_type(), offset).to_vec();
        body.extend(extra);
        builder.capability(VENDOR_SPECIFIC, &body)?;
    }
    let body = [
        Register::u8(20),
        Register::u8(5),
        Register::u32(0).writable(0xFF),
        Register::u32(0).writable(!0),
        Register::u32(0).writable(!0),
        Register::u32(0),
    ];
    Ok(Window { at: builder.capability(VENDOR_SPECIFIC, &body)? })
}

/// The configuration access capability (section 4.1.4.9): four bytes of configuration space that stand for
/// whatever part of the BAR its registers name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    at: u16,
}

impl Window {
    /// How far into the capability the registers that aim it are: BAR, offset, length.
    const AIM: u16 = 4;
    /// How far into the capability the window itself is.
    const DATA: u16 = 16;

    /// Where the registers are that [`Self::target`] wants.
    pub(super) fn aim(self) -> u16 {
        self.at + Self::AIM
    }

    /// Where in the BAR an access to `length` bytes of configuration space at `offset` goes, if it goes
    /// through the window and the window is aimed well: at a whole number, of the size of the access.
    pub(super) fn target(self, offset: u16, length: usize, aim: [u8; 12]) -> Option<u64> {
        let [bar, _, _, _, o0, o1, o2, o3, l0, l1, l2, l3] = aim;
        let target = u32::from_le_bytes([o0, o1, o2, o3]);
        let size = u32::from_le_bytes([l0, l1, l2, l3]);
        let aimed = usize::from(bar) == STRUCTURES_BAR
            && matches!(size, 1 | 2 | 4)
            && target.is_multiple_of(size)
            && target < STRUCTURES_SIZE;
        (self.hit(offset) && aimed && length == size as usize).then_some(u64::from(target))
    }

    /// Whether an access to configuration space at `offset` is one to the window.
    pub(super) fn hit(self, offset: u16) -> bool {
        offset == self.at + Self::DATA
    }
}
