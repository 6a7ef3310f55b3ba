//! Who is compared: the program and QEMU, each by every interface that L1's kernel has.

use tests::guest::{Backend, Guest, Vmm};
use tests::parts::Kernel;

/// One of those that take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    pub(super) vmm: Vmm,
    pub(super) backend: Backend,
}

impl Variant {
    /// All there are on this kernel.
    pub(super) fn all(level1: Kernel) -> Vec<Self> {
        let backends = if level1 == Kernel::Iommufd {
            &[Backend::Type1, Backend::Iommufd][..]
        } else {
            &[Backend::Type1]
        };
        let of = |backend: &Backend| [Vmm::Portcullis, Vmm::Qemu].map(|vmm| Self { vmm, backend: *backend });
        backends.iter().flat_map(of).collect()
    }

    pub(super) fn name(self) -> &'static str {
        match (self.vmm, self.backend) {
            (Vmm::Portcullis, Backend::Iommufd) => "Portcullis, iommufd",
            (Vmm::Portcullis, _) => "Portcullis, type1",
            (Vmm::Qemu, Backend::Iommufd) => "QEMU, iommufd",
            (Vmm::Qemu, _) => "QEMU, type1",
        }
    }

    /// The other one, by the same interface.
    pub(super) fn peer(self) -> Self {
        Self { vmm: Vmm::Qemu, ..self }
    }

    pub(super) fn guest(self, guest: Guest) -> Guest {
        guest.run_by(self.vmm).backend(self.backend)
    }
}
