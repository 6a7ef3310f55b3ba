//! From a requester and an address to guest memory, by the tables alone: nothing here is cached, recorded or
//! remembered.

pub(crate) mod leaves;
pub(crate) mod legacy;
pub(crate) mod second_stage;

use crate::spec::context::RootPointer;
use crate::spec::fault::FaultReason;
use crate::{Access, Capabilities, Feature, Permissions};

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
pub(crate) struct Demand {
    pub(crate) access: Access,
    /// A read of no bytes, which is content with permission to write (CAP.ZLR).
    zero_length: bool,
}

impl Demand {
    /// An access of at least one byte.
    #[cfg(test)]
    pub(crate) const fn new(access: Access) -> Self {
        Self { access, zero_length: false }
    }

    /// An access of `length` bytes.
    pub(crate) const fn of_length(access: Access, length: u64, capabilities: &Capabilities) -> Self {
        Self { access, zero_length: length == 0 && capabilities.has(Feature::ZeroLengthRead) }
    }

    pub(crate) const fn allowed_by(self, permissions: Permissions) -> bool {
        match self.access {
            Access::Read if self.zero_length => !permissions.is_empty(),
            access => permissions.allows(access),
        }
    }

    /// The reason when it is not allowed.
    pub(crate) const fn denial(self, permissions: Permissions) -> FaultReason {
        match self.access {
            Access::Write => FaultReason::WriteDenied,
            Access::Atomic if permissions.contains(Permissions::READ) => FaultReason::WriteDenied,
            Access::Read | Access::Atomic => FaultReason::ReadDenied,
        }
    }
}
