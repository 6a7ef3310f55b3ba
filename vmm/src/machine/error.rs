//! Why a machine cannot be built.

use crate::kvm::KvmError;
use crate::memory::MemoryError;
use crate::{boot, host_dma};

use super::memory_map::ReservedError;

/// Why a machine cannot be built; each prints as one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The host cannot run guests, or not this one.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// There is no guest RAM.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The kernel cannot be booted.
    #[error(transparent)]
    Boot(#[from] boot::Error),
    /// A device of the host cannot be had.
    #[error(transparent)]
    Host(#[from] host_dma::HostError),
    /// A reserved region cannot be published.
    #[error(transparent)]
    Reserved(#[from] ReservedError),
    /// A place on the PCI bus cannot be had.
    #[error("{device} cannot go where it should: choose another addr=")]
    Place {
        /// What was to go there.
        device: String,
        /// Why it cannot.
        source: pci::PlaceError,
    },
    /// The BARs do not fit.
    #[error("The devices' BARs do not fit: assign fewer or smaller devices")]
    Resources(#[from] pci::AssignError),
    /// The tables cannot be made.
    #[error("The ACPI tables cannot be made")]
    Acpi(#[from] acpi::Error),
    /// The description asks for what cannot be.
    #[error("{0}")]
    Invalid(String),
    /// A device model cannot be made.
    #[error("Cannot make {device}")]
    Device {
        /// The device.
        device: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The control socket cannot be made.
    #[error(
        "The control socket {path} cannot be made: choose another path with --control, or remove what is there"
    )]
    Control {
        /// Where.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The host's system refused something that normally works.
    #[error("The host does not let the program {step}")]
    System {
        /// The step.
        step: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl BuildError {
    /// For `map_err`: names the step that failed.
    pub(super) fn at(step: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::System { step, source }
    }

    /// For `map_err`: names the device that failed.
    pub(super) fn device<E: std::error::Error + Send + Sync + 'static>(
        device: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let device = device.into();
        move |source| Self::Device { device, source: Box::new(source) }
    }
}
