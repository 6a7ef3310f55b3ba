//! What the user asked for: one description, from flags, from a TOML file, or from both.

mod parse;
mod unit;

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

pub use parse::{
    DeviceKind, DeviceSpec, HostDmaChoice, HostFunction, HotPlugSpec, IommuChoice, ModuleSpec,
    PassedDescriptor, Placement, RmrrSpec, Size, VfioSource, VfioSpec,
};
pub use unit::{FeatureChanges, ProfileChoice, UnitSpec, profile_name};

use crate::memory::PageSize;

/// A virtual machine to run. Every field is a flag and, under the same name, a TOML key.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Options {
    /// Kernel image: bzImage, an ELF with a PVH note, or a 32-bit multiboot ELF
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,

    /// Initial RAM disk
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,

    /// Kernel command line
    #[arg(long, value_name = "TEXT")]
    pub cmdline: Option<String>,

    /// Multiboot module and its arguments, in order; may be repeated
    #[arg(long = "module", value_name = "FILE[,ARGUMENTS]")]
    #[serde(rename = "module")]
    pub modules: Vec<ModuleSpec>,

    /// Virtual CPUs, 1 to 64 [default: 1]
    #[arg(long, value_name = "N")]
    pub cpus: Option<u32>,

    /// Guest memory, with suffix K, M or G [default: 512M]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Size>,

    /// Back guest memory with huge pages from the host's pool: 2M or 1G
    #[arg(long, value_name = "SIZE")]
    pub hugepages: Option<Size>,

    /// Assign a host PCI function bound to vfio-pci, or one whose open character device
    /// (/dev/vfio/devices/vfioN) is passed in, behind its own root port, or at addr= on the root bus, or
    /// behind the PCIe-to-PCI bridge of number N; several of one IOMMU group are put behind one such bridge;
    /// may be repeated
    #[arg(long, value_name = "0000:BB:DD.F|fd=N[,addr=DD.F|,bridge=N]")]
    pub vfio: Vec<VfioSpec>,

    /// What carries out the DMA of assigned functions on the host: `iommufd`, `type1`, or the first of them
    /// that the host has and the user may open, `auto` [default: auto]
    #[arg(long, value_name = "KIND")]
    pub host_dma: Option<HostDmaChoice>,

    /// Use the open /dev/iommu that is passed in
    #[arg(long, value_name = "fd=N")]
    pub iommufd: Option<PassedDescriptor>,

    /// Empty slots for host functions that come while the machine runs, and the memory windows that each
    /// keeps for their BARs [defaults: memory=16M, prefetchable=1G]; functions given with --vfio can then go,
    /// too
    #[arg(long, value_name = "N[,memory=SIZE][,prefetchable=SIZE]")]
    pub hotplug: Option<HotPlugSpec>,

    /// Unix socket to change the running machine through, one line of JSON for each request and answer
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,

    /// Emulated device: `edu[,dma-mask=N]`, `probe` or `virtio-blk,path=FILE[,readonly=on]`, on the root
    /// bus, there at `,addr=DD.F`, behind a root port with `,port=on`, or behind the PCIe-to-PCI bridge of
    /// number N with `,bridge=N`; may be repeated
    #[arg(long = "device", value_name = "KIND[,KEY=VALUE]…")]
    #[serde(rename = "device")]
    pub devices: Vec<DeviceSpec>,

    /// Remapping unit: `vtd` or `off` [default: vtd]
    #[arg(long, value_name = "KIND")]
    pub iommu: Option<IommuChoice>,

    /// What the remapping unit can do: `legacy` or `second-stage`, which work with --vfio, `nested`, which does
    /// where the host's unit nests, `first-stage` or `full`, for emulated devices, or `auto`, what serves the
    /// machine best [default: auto]
    #[arg(long, value_name = "NAME")]
    pub iommu_profile: Option<ProfileChoice>,

    /// Features that the profile gets or loses, as in `+posted-interrupts,-pass-through`
    #[arg(long, value_name = "±NAME[,±NAME]…", allow_hyphen_values = true)]
    pub iommu_features: Option<FeatureChanges>,

    /// Address width of the remapping unit in bits: 39, 48 or 57 [default: 48, or 39 where the host
    /// cannot follow more]
    #[arg(long, value_name = "BITS")]
    pub iommu_width: Option<u8>,

    /// Requester ID that the IOAPIC's interrupts carry [default: f0:1f.0]
    #[arg(long, value_name = "BB:DD.F")]
    pub ioapic_id: Option<String>,

    /// Reserved memory region: START,LENGTH,BB:DD.F in guest RAM, or `host` to publish the relaxable
    /// regions of assigned devices; may be repeated
    #[arg(long, value_name = "START,LENGTH,BB:DD.F | host")]
    pub rmrr: Vec<RmrrSpec>,

    /// Assign devices even on a host whose IOMMU does not remap interrupts: a guest can then forge them
    #[arg(long)]
    pub allow_unsafe_interrupts: bool,

    /// Write the ACPI tables to this folder and go on
    #[arg(long, value_name = "FOLDER")]
    pub dump_acpi: Option<PathBuf>,
}

/// A description that makes sense: what [`Options`] comes to.
#[derive(Clone, Debug)]
pub struct Config {
    /// Kernel image.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Kernel command line.
    pub cmdline: String,
    /// Multiboot modules.
    pub modules: Vec<ModuleSpec>,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Guest memory in bytes.
    pub memory: u64,
    /// What backs it.
    pub pages: PageSize,
    /// Assigned functions.
    pub vfio: Vec<VfioSpec>,
    /// What carries out their DMA.
    pub host_dma: HostDmaChoice,
    /// An iommufd that was passed in.
    pub iommufd: Option<i32>,
    /// Slots for functions that come and go.
    pub hotplug: Option<HotPlugSpec>,
    /// Where the control socket is.
    pub control: Option<PathBuf>,
    /// Emulated functions.
    pub devices: Vec<DeviceSpec>,
    /// Whether there is a remapping unit.
    pub iommu: IommuChoice,
    /// What it can do.
    pub unit: UnitSpec,
    /// The IOAPIC's requester ID.
    pub ioapic_id: pci::Bdf,
    /// Reserved memory regions.
    pub rmrr: Vec<RmrrSpec>,
    /// Whether hosts without interrupt remapping are good enough.
    pub allow_unsafe_interrupts: bool,
    /// Where to write the ACPI tables.
    pub dump_acpi: Option<PathBuf>,
}

/// What is wrong with a description, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file is not there.
    #[error("Cannot read the configuration file {path}: check the path given to --config")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration file is not what it should be.
    #[error("Line {line} of the configuration file {path} is not right: {message}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What the parser found there.
        message: String,
    },
    /// Anything else; the sentence says it all.
    #[error("{0}")]
    Invalid(String),
}

/// The largest number of virtual CPUs.
pub const MAX_CPUS: u32 = 64;
/// Less memory than this boots nothing.
pub const MIN_MEMORY: u64 = 4 << 20;

impl Options {
    /// Reads a TOML file.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::from_toml(&text, path)
    }

    /// Reads the text of a TOML file; `path` is for messages.
    fn from_toml(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            ConfigError::Toml { path: path.to_owned(), line, message: error.message().replace('\n', " ") }
        })
    }

    /// Lays `self` (the flags) over `file`: single values win, lists are added.
    #[must_use]
    pub fn over(self, file: Self) -> Self {
        fn join<T>(mut first: Vec<T>, second: Vec<T>) -> Vec<T> {
            first.extend(second);
            first
        }
        Self {
            kernel: self.kernel.or(file.kernel),
            initrd: self.initrd.or(file.initrd),
            cmdline: self.cmdline.or(file.cmdline),
            modules: join(file.modules, self.modules),
            cpus: self.cpus.or(file.cpus),
            memory: self.memory.or(file.memory),
            hugepages: self.hugepages.or(file.hugepages),
            vfio: join(file.vfio, self.vfio),
            host_dma: self.host_dma.or(file.host_dma),
            iommufd: self.iommufd.or(file.iommufd),
            hotplug: self.hotplug.or(file.hotplug),
            control: self.control.or(file.control),
            devices: join(file.devices, self.devices),
            iommu: self.iommu.or(file.iommu),
            iommu_profile: self.iommu_profile.or(file.iommu_profile),
            iommu_features: self.iommu_features.or(file.iommu_features),
            iommu_width: self.iommu_width.or(file.iommu_width),
            ioapic_id: self.ioapic_id.or(file.ioapic_id),
            rmrr: join(file.rmrr, self.rmrr),
            allow_unsafe_interrupts: self.allow_unsafe_interrupts || file.allow_unsafe_interrupts,
            dump_acpi: self.dump_acpi.or(file.dump_acpi),
        }
    }

    /// Fills in the defaults and refuses what cannot be.
    pub fn check(self) -> Result<Config, ConfigError> {
        let invalid = |message: String| Err(ConfigError::Invalid(message));
        let Some(kernel) = self.kernel else {
            return invalid("No kernel was named: give one with --kernel FILE".into());
        };
        let cpus = self.cpus.unwrap_or(1);
        if !(1..=MAX_CPUS).contains(&cpus) {
            return invalid(format!("{cpus} virtual CPUs cannot be had: --cpus takes 1 to {MAX_CPUS}"));
        }
        let memory = self.memory.map_or(512 << 20, |size| size.0);
        if memory < MIN_MEMORY {
            return invalid(format!(
                "Guest memory of {memory} bytes is too small: --memory takes 4M or more"
            ));
        }
        let pages = match self.hugepages.map(|size| size.0) {
            None => PageSize::Normal,
            Some(0x20_0000) => PageSize::Huge2M,
            Some(0x4000_0000) => PageSize::Huge1G,
            Some(_) => return invalid("Huge pages come in two sizes: --hugepages takes 2M or 1G".into()),
        };
        let iommu = self.iommu.unwrap_or_default();
        let unit = UnitSpec {
            profile: self.iommu_profile.unwrap_or_default(),
            features: self.iommu_features.unwrap_or_default(),
            width: self.iommu_width,
        };
        if iommu == IommuChoice::Vtd {
            unit.check().map_err(ConfigError::Invalid)?;
        }
        if iommu == IommuChoice::Off && !self.rmrr.is_empty() {
            return invalid(
                "Reserved memory regions are described by the remapping unit: drop --rmrr or --iommu off"
                    .into(),
            );
        }
        let host_dma = self.host_dma.unwrap_or_default();
        let passed = |spec: &VfioSpec| matches!(spec.source, VfioSource::Descriptor(_));
        if host_dma == HostDmaChoice::Type1 && (self.iommufd.is_some() || self.vfio.iter().any(passed)) {
            return invalid(
                "Descriptors are passed in for iommufd only: drop --host-dma type1, or fd=".into(),
            );
        }
        let ioapic_id = match self.ioapic_id.as_deref() {
            None => pci::Bdf::new(0xF0, 0x1F, 0),
            Some(text) => match parse::guest_function(text) {
                Ok(bdf) if bdf.0 != 0 => bdf,
                Ok(_) => {
                    return invalid(
                        "The IOAPIC's requester ID must not be 00:00.0: change --ioapic-id".into(),
                    );
                }
                Err(message) => return invalid(message),
            },
        };
        Ok(Config {
            kernel,
            initrd: self.initrd,
            cmdline: self.cmdline.unwrap_or_default(),
            modules: self.modules,
            cpus,
            memory,
            pages,
            vfio: self.vfio,
            host_dma,
            iommufd: self.iommufd.map(|passed| passed.0),
            hotplug: self.hotplug,
            control: self.control,
            devices: self.devices,
            iommu,
            unit,
            ioapic_id,
            rmrr: self.rmrr,
            allow_unsafe_interrupts: self.allow_unsafe_interrupts,
            dump_acpi: self.dump_acpi,
        })
    }
}

#[cfg(test)]
mod tests;
