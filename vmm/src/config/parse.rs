//! The small languages of the command line: sizes, addresses, devices.

use std::path::PathBuf;
use std::str::FromStr;

use pci::Bdf;

use super::unit::{FeatureChanges, ProfileChoice};

/// Makes a type that has `FromStr` readable from a TOML string.
macro_rules! from_string {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    )*};
}
from_string!(
    HotPlugSpec,
    Size,
    ModuleSpec,
    VfioSpec,
    DeviceSpec,
    RmrrSpec,
    IommuChoice,
    ProfileChoice,
    FeatureChanges,
    HostDmaChoice,
    PassedDescriptor
);

/// A number of bytes: `512M`, `0x1000`, `4096`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, shift) = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
            Some(b'K') => (&text[..text.len() - 1], 10),
            Some(b'M') => (&text[..text.len() - 1], 20),
            Some(b'G') => (&text[..text.len() - 1], 30),
            _ => (text, 0),
        };
        number(digits)
            .and_then(|value| value.checked_shl(shift).filter(|shifted| shifted >> shift == value))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a size: write something like 512M or 2G"))
    }
}

/// A PCI function of the host, as sysfs names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFunction {
    /// PCI segment.
    pub segment: u16,
    /// Bus, device, function.
    pub bdf: Bdf,
}

impl std::fmt::Display for HostFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x}:{}", self.segment, self.bdf)
    }
}

impl FromStr for HostFunction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not a PCI address: write something like 0000:03:00.0 (see lspci -D)");
        let (segment, bdf) = match text.matches(':').count() {
            2 => text.split_once(':').ok_or_else(wrong)?,
            _ => ("0", text),
        };
        Ok(Self {
            segment: u16::from_str_radix(segment, 16).map_err(|_| wrong())?,
            bdf: guest_function(bdf).map_err(|_| wrong())?,
        })
    }
}

/// Where a function goes in the guest's topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On the root bus, at the next free device number or at this one.
    Root(Option<(u8, u8)>),
    /// Behind a root port of its own.
    Port,
    /// Behind the PCIe-to-PCI bridge of this number, with whatever else is.
    Bridge(u8),
}

/// A multiboot module: a file and its command line.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct ModuleSpec {
    /// The file.
    pub path: PathBuf,
    /// What the module is told.
    pub arguments: String,
}

impl FromStr for ModuleSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, arguments) = text.split_once(',').unwrap_or((text, ""));
        Ok(Self { path: path.into(), arguments: arguments.into() })
    }
}

/// How a host function is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VfioSource {
    /// By its address.
    Address(HostFunction),
    /// By a descriptor of its character device, which the program was started with.
    Descriptor(i32),
}

impl std::fmt::Display for VfioSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Descriptor(number) => write!(f, "fd={number}"),
        }
    }
}

impl FromStr for VfioSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("fd=") {
            Some(_) => Ok(Self::Descriptor(text.parse::<PassedDescriptor>()?.0)),
            None => text.parse().map(Self::Address),
        }
    }
}

/// A descriptor that the program was started with: `fd=6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct PassedDescriptor(pub i32);

impl FromStr for PassedDescriptor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("fd=").and_then(|digits| digits.parse().ok());
        number.filter(|number| *number > 2).map(Self).ok_or_else(|| {
            format!("`{text}` is not a descriptor that can be passed in: write something like fd=3")
        })
    }
}

/// Which part of the host's kernel carries out the DMA of assigned functions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum HostDmaChoice {
    /// The newer one, where the host has it.
    #[default]
    Auto,
    /// iommufd.
    Iommufd,
    /// VFIO's containers.
    Type1,
}

impl FromStr for HostDmaChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "iommufd" => Ok(Self::Iommufd),
            "type1" => Ok(Self::Type1),
            _ => Err(format!("There is no way of DMA `{text}`: --host-dma takes auto, iommufd or type1")),
        }
    }
}

/// A host function to assign.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct VfioSpec {
    /// The function.
    pub source: VfioSource,
    /// Where the guest sees it. Left to the machine, a root port of its own, or the same PCIe-to-PCI bridge for
    /// functions that the host cannot tell apart.
    pub placement: Option<Placement>,
}

impl FromStr for VfioSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (source, rest) = text.split_once(',').unwrap_or((text, ""));
        let mut keys = Keys::parse(rest, text)?;
        let placement = keys.placement()?;
        keys.finish(text)?;
        Ok(Self { source: source.parse()?, placement })
    }
}

/// Slots for functions that come and go while the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct HotPlugSpec {
    /// How many are empty at the start.
    pub slots: u8,
    /// Memory below 4 GiB that each slot keeps for BARs.
    pub memory: u64,
    /// Prefetchable memory that each slot keeps for BARs, if the user insists.
    pub prefetchable: Option<u64>,
}

impl HotPlugSpec {
    /// More slots there are not.
    pub const MOST: u8 = 16;
    /// Enough for any device whose large BARs are prefetchable.
    const MEMORY: u64 = 16 << 20;
}

impl FromStr for HotPlugSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (slots, rest) = text.split_once(',').unwrap_or((text, ""));
        let slots = slots.parse().ok().filter(|slots| *slots <= Self::MOST).ok_or_else(|| {
            format!("`{slots}` is not a number of slots: --hotplug takes 0 to {}", Self::MOST)
        })?;
        let mut keys = Keys::parse(rest, text)?;
        let mut size = |key| {
            let size = keys.take(key).map(|size| size.parse::<Size>()).transpose()?;
            match size {
                Some(Size(bytes)) if !bytes.is_multiple_of(1 << 20) => {
                    Err(format!("Bridges pass memory on in pieces of 1 MiB: make {key}= a multiple of 1M"))
                }
                size => Ok(size.map(|size| size.0)),
            }
        };
        let memory = size("memory")?.unwrap_or(Self::MEMORY);
        let prefetchable = size("prefetchable")?;
        keys.finish(text)?;
        Ok(Self { slots, memory, prefetchable })
    }
}

/// An emulated function.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct DeviceSpec {
    /// Where the guest sees it.
    pub placement: Placement,
    /// What it is.
    pub kind: DeviceKind,
}

/// The emulated functions there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// The teaching device, whose DMA engine reaches only addresses under its mask.
    Edu {
        /// Address bits its DMA engine drives.
        dma_mask: u64,
    },
    /// The device that sends any request a script tells it to.
    Probe,
    /// A disk.
    VirtioBlk {
        /// The image.
        path: PathBuf,
        /// Whether writes are refused.
        read_only: bool,
    },
}

impl FromStr for DeviceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, rest) = text.split_once(',').unwrap_or((text, ""));
        let mut keys = Keys::parse(rest, text)?;
        let placement = keys.placement()?.unwrap_or(Placement::Root(None));
        let kind = match kind {
            "edu" => {
                let mask = keys.take("dma-mask");
                let dma_mask = match &mask {
                    None => 0x0FFF_FFFF,
                    Some(value) => number(value).ok_or_else(|| {
                        format!("`{value}` is not a mask: write something like dma-mask=0xfffffff")
                    })?,
                };
                DeviceKind::Edu { dma_mask }
            }
            "probe" => DeviceKind::Probe,
            "virtio-blk" => DeviceKind::VirtioBlk {
                path: keys.take("path").ok_or("A virtio-blk device needs an image: add path=FILE")?.into(),
                read_only: keys.switch("readonly")?,
            },
            other => {
                return Err(format!("There is no device `{other}`: the kinds are edu, probe and virtio-blk"));
            }
        };
        keys.finish(text)?;
        Ok(Self { placement, kind })
    }
}

/// A reserved memory region to publish.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum RmrrSpec {
    /// The relaxable reserved regions of assigned functions.
    Host,
    /// A range of guest RAM for one function.
    Range {
        /// First address.
        start: u64,
        /// Length in bytes.
        length: u64,
        /// The function, as the guest first sees it.
        function: Bdf,
    },
}

impl FromStr for RmrrSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "host" {
            return Ok(Self::Host);
        }
        let wrong = || {
            format!(
                "`{text}` is not a reserved region: write START,LENGTH,BB:DD.F, such as 0x1e000000,64K,00:04.0"
            )
        };
        let mut parts = text.split(',');
        let mut next = || parts.next().ok_or_else(wrong);
        let (start, length, function) = (next()?, next()?, next()?);
        let start = start.parse::<Size>().map_err(|_| wrong())?.0;
        let length = length.parse::<Size>().map_err(|_| wrong())?.0;
        let function = guest_function(function).map_err(|_| wrong())?;
        if parts.next().is_some() {
            return Err(wrong());
        }
        if length == 0
            || !start.is_multiple_of(4096)
            || !length.is_multiple_of(4096)
            || start.checked_add(length).is_none()
        {
            return Err(format!(
                "The reserved region `{text}` does not consist of whole 4 KiB pages: align its start and length"
            ));
        }
        Ok(Self::Range { start, length, function })
    }
}

/// Whether the machine has a remapping unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum IommuChoice {
    /// An Intel VT-d unit.
    #[default]
    Vtd,
    /// None.
    Off,
}

impl FromStr for IommuChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "vtd" => Ok(Self::Vtd),
            "off" => Ok(Self::Off),
            _ => Err(format!("There is no remapping unit `{text}`: --iommu takes vtd or off")),
        }
    }
}

/// Bus, device and function as `BB:DD.F`; the bus may be left out.
pub(super) fn guest_function(text: &str) -> Result<Bdf, String> {
    let wrong = || format!("`{text}` is not a PCI function: write something like 00:04.0");
    let (bus, rest) = text.split_once(':').unwrap_or(("0", text));
    let bus = u8::from_str_radix(bus, 16).map_err(|_| wrong())?;
    let (device, function) = slot(rest).ok_or_else(wrong)?;
    Ok(Bdf::new(bus, device, function))
}

/// Device and function as `DD.F`.
fn slot(text: &str) -> Option<(u8, u8)> {
    let (device, function) = text.split_once('.').unwrap_or((text, "0"));
    let device = u8::from_str_radix(device, 16).ok().filter(|device| *device < 32)?;
    let function = u8::from_str_radix(function, 16).ok().filter(|function| *function < 8)?;
    Some((device, function))
}

/// A decimal number, or a hexadecimal one after `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The `key=value` pairs behind a device's name.
struct Keys(Vec<(String, String)>);

impl Keys {
    fn parse(text: &str, whole: &str) -> Result<Self, String> {
        text.split(',')
            .filter(|pair| !pair.is_empty())
            .map(|pair| match pair.split_once('=') {
                Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
                None => Err(format!("`{pair}` in `{whole}` has no value: write {pair}=VALUE")),
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let index = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.swap_remove(index).1)
    }

    fn switch(&mut self, key: &str) -> Result<bool, String> {
        match self.take(key).as_deref() {
            None | Some("off") => Ok(false),
            Some("on") => Ok(true),
            Some(other) => Err(format!("`{key}={other}` is neither on nor off: write {key}=on")),
        }
    }

    fn placement(&mut self) -> Result<Option<Placement>, String> {
        let behind_port = self.switch("port")?;
        let address = self.take("addr");
        if let Some(text) = self.take("bridge") {
            if behind_port || address.is_some() {
                return Err("A function is in one place only: drop addr= and port=on, or bridge=".into());
            }
            let number = number(&text).and_then(|number| u8::try_from(number).ok());
            return number.map(|number| Some(Placement::Bridge(number))).ok_or_else(|| {
                format!("`{text}` is not the number of a bridge: write something like bridge=1")
            });
        }
        match address {
            Some(_) if behind_port => {
                Err("A function behind a port of its own has no address to choose: drop addr= or port=on"
                    .into())
            }
            Some(text) => slot(&text).map(|slot| Some(Placement::Root(Some(slot)))).ok_or_else(|| {
                format!("`{text}` is not a place on the root bus: write something like addr=04.0")
            }),
            None => Ok(behind_port.then_some(Placement::Port)),
        }
    }

    fn finish(self, whole: &str) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => {
                Err(format!("`{key}` in `{whole}` means nothing here: see portcullis run --help"))
            }
        }
    }
}
