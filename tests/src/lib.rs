//! The nested rig: real KVM, real VFIO and real IOMMU groups on a machine that has none of them.
//!
//! Three layers run inside each other. **L0** is this machine, running QEMU under software emulation of an AMD
//! processor with SVM and an Intel VT-d. **L1** is the Linux kernel booted there: it has `/dev/kvm`, `vfio-pci` and
//! groups like a real host. **L2** is the guest under test, run in L1 by Portcullis or, as the peer to compare with,
//! by QEMU.
//!
//! - [`parts`] fetches what is needed (QEMU, kernels, busybox) into a cache, without root and once.
//! - [`level1`] boots an L1 and runs shell scripts in it over a channel of its own.
//! - [`guest`] describes an L2: the VMM's command line and the initial file system with a script for the guest.
//! - [`scenario`] puts them together: devices, guests, what must appear and what must not, and a time budget.
//! - [`bare_metal`] is the fast tier: small guests of our own on this machine's `/dev/kvm`, and in an L1 as well.
//! - [`scenarios`] lists all of them; `cargo xtask rig list` prints the list, `tests/tests/rig.rs` runs it.
//!
//! [`comparison`] runs the fast tier's guests under QEMU too. Apart from the rig, [`mutants`] asks whether the tests of all packages notice defects, and [`conformance`] puts those
//! of the `iommu` crate beside the sections of the specification.

#![deny(unsafe_code)]

pub mod acpi;
pub mod bare_metal;
pub mod comparison;
pub mod conformance;
pub mod cpio;
pub mod guest;
pub mod level1;
mod lock;
pub mod mutants;
pub mod parts;
pub mod program;
pub mod scenario;
pub mod scenarios;
pub mod skip;
