//! Why a function of the host cannot be had: each time one sentence, and what to do about it.

use std::io;

/// Why a function of the host cannot be assigned.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Nothing is at that address.
    #[error("The host has no PCI device {0}: run `lspci -D` for the addresses there are")]
    NoDevice(String),
    /// The function has a driver that is not VFIO's, or none.
    #[error(
        "{address} is {state}, not to vfio-pci: run `modprobe vfio-pci; {unbind}\
         echo vfio-pci > /sys/bus/pci/devices/{address}/driver_override; \
         echo {address} > /sys/bus/pci/drivers_probe` as root",
        state = .driver.as_ref().map_or_else(|| "bound to no driver".into(), |name| format!("bound to {name}")),
        unbind = if .driver.is_some() {
            format!("echo {address} > /sys/bus/pci/devices/{address}/driver/unbind; ")
        } else {
            String::new()
        }
    )]
    NotBound {
        /// The function.
        address: String,
        /// The driver it has.
        driver: Option<String>,
    },
    /// The host translates nothing for the function.
    #[error(
        "{0} is in no IOMMU group, so the host could not confine its DMA: switch VT-d (or AMD-Vi) on in the \
         firmware and boot the host with intel_iommu=on"
    )]
    NoGroup(String),
    /// The firmware wants the function to reach a part of host memory at all times.
    #[error(
        "{address} cannot be assigned, because the host's firmware demands that it always reaches \
         {start:#x}-{end:#x} of host memory: choose another device, or ask the firmware to let go of it \
         (often a setting about legacy USB, remote management or RAID)"
    )]
    DirectRegion {
        /// The function.
        address: String,
        /// First address of the region.
        start: u64,
        /// Last address of the region.
        end: u64,
    },
    /// The kernel has no VFIO.
    #[error("{path} does not exist, so the host's VFIO is not loaded: run `modprobe vfio-pci` as root")]
    NoVfio {
        /// The file that is missing.
        path: String,
    },
    /// Files of VFIO may not be opened.
    #[error("{path} may not be opened by this user: run `chown $USER {path}` as root, or run as root")]
    NotPermitted {
        /// The file.
        path: String,
    },
    /// The function is held by somebody.
    #[error("{address} is in use by another program: end it first; `fuser -v {path}` names it")]
    Busy {
        /// The function.
        address: String,
        /// The file that is open elsewhere: of its group, or its own.
        path: String,
    },
    /// The function went away while it was being opened.
    #[error("{0} has just been taken from vfio-pci or from the machine: bind it again")]
    Gone(String),
    /// The kernel has no iommufd.
    #[error(
        "{path} does not exist, so the host's kernel has no iommufd: load it with `modprobe iommufd` as root, or use \
         --host-dma type1"
    )]
    NoIommufd {
        /// The file that is missing.
        path: String,
    },
    /// The kernel gives functions to no iommufd.
    #[error(
        "{0} has no character device, so it cannot be used with iommufd (the host's kernel lacks \
         CONFIG_VFIO_DEVICE_CDEV): use --host-dma type1"
    )]
    NoCharacterDevice(String),
    /// A descriptor that was passed in is none.
    #[error(
        "No descriptor {0} was passed in: open the file in the program that starts this one, without O_CLOEXEC, or in \
         a shell with `{0}<>FILE`"
    )]
    NoDescriptor(i32),
    /// A descriptor was named twice, or one of the first three was.
    #[error(
        "Descriptor {0} cannot be used for that: each descriptor is passed for one thing, and 0 to 2 for none"
    )]
    DescriptorTaken(i32),
    /// What was passed in as an iommufd is something else.
    #[error("The descriptor given to --iommufd is not one of iommufd: pass one of a newly opened /dev/iommu")]
    NotIommufd,
    /// What was passed in as a function is something else.
    #[error(
        "The descriptor of {0} is not one of a VFIO character device: pass one of a newly opened \
         /dev/vfio/devices/vfioN"
    )]
    NotCharacterDevice(String),
    /// What was passed in as a function is in use.
    #[error(
        "The descriptor of {0} is bound to an iommufd already, and cannot be bound again: pass one of a newly opened \
         /dev/vfio/devices/vfioN"
    )]
    AlreadyBound(String),
    /// Guest RAM could not be pinned.
    #[error(
        "The host did not pin guest memory: use a smaller --memory, or raise the limit on locked memory, which \
         counts all programs of this user (`ulimit -l`)"
    )]
    Pin {
        /// What the kernel said.
        source: io::Error,
    },
    /// Others in the group are in the host's use.
    #[error(
        "{address} shares IOMMU group {group} with devices the host is using ({others}): unbind those from \
         their drivers, or bind them to vfio-pci too"
    )]
    NotViable {
        /// The function.
        address: String,
        /// Its group.
        group: String,
        /// The others and their drivers.
        others: String,
    },
    /// The host's IOMMU lets a device write any interrupt.
    #[error(
        "The host does not remap interrupts, so a guest with an assigned device could forge the host's: switch \
         interrupt remapping on (intremap=on, or the firmware's x2APIC setting), or, to accept that, run \
         `echo 1 > /sys/module/{module}/parameters/allow_unsafe_interrupts` as root and give \
         --allow-unsafe-interrupts"
    )]
    UnsafeInterrupts {
        /// The kernel's module that has to be told.
        module: &'static str,
    },
    /// Guest RAM would not be pinned.
    #[error(
        "Assigned devices need {needed} MiB of locked memory ({spaces} x guest memory) and the limit is \
         {limit} MiB: run `ulimit -l {kib}` as root and start from that shell, or grant CAP_IPC_LOCK"
    )]
    LockedMemory {
        /// What is needed, in MiB.
        needed: u64,
        /// What is needed, in KiB, as the shell counts.
        kib: u64,
        /// The limit, in MiB.
        limit: u64,
        /// Address spaces that pin all guest RAM.
        spaces: u64,
    },
    /// The guest could use addresses that the host cannot map.
    #[error(
        "The host's IOMMU takes addresses of {host} bits and the guest's promises {guest}: give --iommu-width \
         {host_choice}"
    )]
    Width {
        /// Bits the host translates.
        host: u8,
        /// Bits the guest was to have.
        guest: u8,
        /// The widest choice that works.
        host_choice: u8,
    },
    /// The host's IOMMU translates too little for any guest.
    #[error("The host's IOMMU takes addresses of only {0} bits, too few to assign devices: use another host")]
    TooNarrow(u8),
    /// The memory a guest starts in lies where the host's devices cannot reach.
    #[error(
        "The host's IOMMU cannot map {start:#x}-{end:#x}, which every guest needs: assign a device that is behind \
         another IOMMU of the host, or use another host"
    )]
    RamUnusable {
        /// First address of it.
        start: u64,
        /// Last address of it.
        end: u64,
    },
    /// Memory that the guest was given lies where the host's devices cannot reach.
    #[error(
        "The host's IOMMU cannot map {start:#x}-{end:#x}, which the guest may be using: start the machine with the \
         device, so that the guest is told"
    )]
    RamInUse {
        /// First address of it.
        start: u64,
        /// Last address of it.
        end: u64,
    },
    /// A kernel whose VFIO speaks differently.
    #[error("The host's VFIO is not usable ({0}): a kernel with type1 v2 support is needed")]
    Unsupported(&'static str),
    /// It is not what VFIO hands over, or cannot be asked.
    #[error(transparent)]
    Device(devices::vfio::VfioError),
    /// All guest RAM could not be mapped.
    #[error("The host did not map guest memory for the assigned devices: look at the host's log (dmesg)")]
    MapAll(#[source] iommu::MapError),
    /// A step failed in a way that has no sentence of its own.
    #[error("The host refused to {action}: look at the host's log (dmesg)")]
    Step {
        /// What was tried.
        action: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl HostError {
    /// For `map_err`: the step that failed.
    pub(super) fn step(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Step { action, source }
    }
}
