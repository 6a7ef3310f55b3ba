//! From a requester and an address to guest memory, by the tables alone: nothing here is cached, recorded or
//! remembered.

pub(crate) mod leaves;
pub(crate) mod legacy;
pub(crate) mod second_stage;

use crate::spec::context::RootPointer;
use crate::spec::fault::FaultReason;
use crate::{Access, Capabilities, Permissions};

/// What the hardware goes by at this moment. It need not be what the registers show: RTADDR_REG counts from
/// GCMD.SRTP on, and a status bit is set only after everything that follows from it has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Whether DMA is translated at all; if not, every address stands for itself.
    pub(crate) translating: bool,
    /// RTADDR_REG as GCMD.SRTP last found it.
    pub(crate) root: RootPointer,
    pub(crate) capabilities: Capabilities,
}

/// A request that cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) reason: FaultReason,
    /// Whether it is to be recorded: false if a structure on the way has FPD set and the reason is one that
    /// FPD qualifies.
    pub(crate) recorded: bool,
}

impl Fault {
    /// A fault under the FPD bits met so far.
    pub(crate) const fn new(reason: FaultReason, fault_processing_disabled: bool) -> Self {
        Self { reason, recorded: !(fault_processing_disabled && reason.qualified()) }
    }
}

/// What a request needs of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) access: Access,
    /// The permissions of which one is enough.
    accepted: Permissions,
}

impl Request {
    /// An access of at least one byte.
    pub(crate) const fn new(access: Access) -> Self {
        let accepted = match access {
            Access::Read => Permissions::READ,
            Access::Write => Permissions::WRITE,
        };
        Self { access, accepted }
    }

    /// An access of `length` bytes; a read of none is content with permission to write (CAP.ZLR).
    pub(crate) const fn of_length(access: Access, length: u64, capabilities: &Capabilities) -> Self {
        match access {
            Access::Read if length == 0 && capabilities.zero_length_read() => {
                Self { access, accepted: Permissions::all() }
            }
            _ => Self::new(access),
        }
    }

    pub(crate) const fn allowed_by(self, permissions: Permissions) -> bool {
        permissions.intersects(self.accepted)
    }

    /// The reason when it is not allowed.
    pub(crate) const fn denial(self) -> FaultReason {
        match self.access {
            Access::Read => FaultReason::ReadDenied,
            Access::Write => FaultReason::WriteDenied,
        }
    }
}
