//! The devices an L1 may have, each in a place of its own that scripts can rely on.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Size of the disks behind NVMe drives.
const DISK_SIZE: usize = 16 << 20;

/// A device of an L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// An NVMe drive on the root bus, in a group of its own.
    Nvme,
    /// A second NVMe drive, behind a root port, in a group of its own.
    NvmeBehindPort,
    /// Another, behind a root port of its own.
    NvmeBehindSecondPort,
    /// A third NVMe drive, on the root bus, with one interrupt for everything: the only kind that Linux lets one move.
    NvmeOneVector,
    /// A fourth NVMe drive, on the root bus, with a megabyte of memory of its own (CMB) in BAR 2.
    NvmeWithMemory,
    /// An NVMe drive behind a root port, in a group of its own, with virtual functions (SR-IOV) that have queues and
    /// interrupts once L1 has given them some. The namespace is everybody's.
    NvmeVirtual,
    /// An Ethernet adapter (igb) behind a root port.
    Igb,
    /// `edu` and `e1000` behind one conventional bridge: a group of two.
    Pair,
    /// An Ethernet adapter (e1000e) on the root bus.
    E1000e,
    /// An NVMe drive and an Ethernet adapter (e1000e), two functions of one device behind a switch, which do not say that
    /// they are kept apart: a group of two.
    Switch,
    /// An Ethernet adapter (virtio) that is L1's own. All adapters are on one wire.
    Peer,
}

/// The disk of a drive.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The drive.
    pub device: Device,
    /// The image file.
    pub image: PathBuf,
}

impl Disk {
    /// The SHA-256 of the image as it is now, in hexadecimal.
    pub fn sha256(&self) -> io::Result<String> {
        let digest = Sha256::digest(std::fs::read(&self.image)?);
        Ok(digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
    }
}

impl Device {
    /// Every device there is.
    pub const ALL: [Self; 11] = [
        Self::Nvme,
        Self::NvmeBehindPort,
        Self::NvmeBehindSecondPort,
        Self::NvmeOneVector,
        Self::NvmeWithMemory,
        Self::NvmeVirtual,
        Self::Igb,
        Self::Pair,
        Self::E1000e,
        Self::Switch,
        Self::Peer,
    ];

    /// Its name on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nvme => "nvme",
            Self::NvmeBehindPort => "nvme-port",
            Self::NvmeBehindSecondPort => "nvme-second-port",
            Self::NvmeOneVector => "nvme-one-vector",
            Self::NvmeWithMemory => "nvme-memory",
            Self::NvmeVirtual => "nvme-virtual",
            Self::Igb => "igb",
            Self::Pair => "pair",
            Self::E1000e => "e1000e",
            Self::Switch => "switch",
            Self::Peer => "peer",
        }
    }

    /// The device called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|device| device.name() == name)
    }

    /// The slot of the root bus it or its port is in.
    const fn slot(self) -> u8 {
        match self {
            Self::Nvme => 0x05,
            Self::NvmeBehindPort => 0x10,
            Self::NvmeBehindSecondPort => 0x13,
            Self::NvmeOneVector => 0x07,
            Self::NvmeWithMemory => 0x09,
            Self::NvmeVirtual => 0x15,
            Self::Igb => 0x11,
            Self::Pair => 0x12,
            Self::E1000e => 0x06,
            Self::Switch => 0x14,
            Self::Peer => 0x08,
        }
    }

    /// Whether it is behind a port or a bridge, and so on a bus of its own.
    const fn is_behind_port(self) -> bool {
        !matches!(self, Self::Nvme | Self::NvmeOneVector | Self::E1000e | Self::NvmeWithMemory | Self::Peer)
    }

    /// Its address in an L1 with the devices `among`; of two, that of the first.
    pub fn address(self, among: &[Self]) -> String {
        if !self.is_behind_port() {
            return format!("0000:00:{:02x}.0", self.slot());
        }
        // The firmware numbers buses in the order of the ports.
        let before = |other: &&Self| other.is_behind_port() && other.slot() < self.slot();
        let bus = 1 + among.iter().filter(before).count();
        // Behind the root port is the switch, and behind that a bus that joins its ports.
        let bus = if self == Self::Switch { bus + 2 } else { bus };
        let slot = u8::from(self == Self::Pair);
        format!("0000:{bus:02x}:{slot:02x}.0")
    }

    /// QEMU's arguments for the device, and the disk they name.
    pub(super) fn arguments(self, index: usize, folder: &Path) -> io::Result<(Vec<String>, Option<Disk>)> {
        let slot = self.slot();
        let port = format!("pcie-root-port,id=port{index},chassis={index},addr={slot:#x}");
        let (devices, disk) = match self {
            Self::Nvme => (vec![nvme(index, &format!("addr={slot:#x}"))], true),
            Self::NvmeOneVector => (vec![nvme(index, &format!("addr={slot:#x},msix_qsize=1"))], true),
            Self::NvmeWithMemory => (vec![nvme(index, &format!("addr={slot:#x},cmb_size_mb=1"))], true),
            Self::NvmeBehindPort | Self::NvmeBehindSecondPort => {
                (vec![port, nvme(index, &format!("bus=port{index}"))], true)
            }
            Self::NvmeVirtual => {
                let subsystem = format!("nvme-subsys,id=subsystem{index}");
                let functions =
                    "sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=4,max_ioqpairs=6,msix_qsize=8";
                let controller = format!("nvme,id=controller{index},serial=rig{index},bus=port{index}");
                let namespace = format!("nvme-ns,drive=drive{index},nsid=1,bus=controller{index}");
                let controller = format!("{controller},subsys=subsystem{index},{functions}");
                (vec![subsystem, port, controller, namespace], true)
            }
            Self::Igb => (vec![port, format!("igb,bus=port{index},netdev=wire{index}")], false),
            Self::Pair => {
                let bridge = format!("pcie-pci-bridge,id=port{index},addr={slot:#x}");
                let on_bridge = |name: &str, addr: u8| format!("{name},bus=port{index},addr={addr:#x}");
                let adapter = on_bridge(&format!("e1000,netdev=wire{index}"), 2);
                (vec![bridge, on_bridge("edu", 1), adapter], false)
            }
            Self::E1000e => (vec![format!("e1000e,addr={slot:#x},netdev=wire{index}")], false),
            Self::Switch => {
                let upstream = format!("x3130-upstream,id=switch{index},bus=port{index}");
                let downstream =
                    format!("xio3130-downstream,id=below{index},bus=switch{index},chassis={}", 100 + index);
                let drive = nvme(index, &format!("bus=below{index},addr=0.0,multifunction=on"));
                let adapter = format!("e1000e,bus=below{index},addr=0.1,netdev=wire{index}");
                (vec![port, upstream, downstream, drive, adapter], true)
            }
            Self::Peer => {
                let adapter = "virtio-net-pci,iommu_platform=on,disable-legacy=on";
                (vec![format!("{adapter},addr={slot:#x},netdev=wire{index}")], false)
            }
        };
        let mut arguments = Vec::new();
        if devices.iter().any(|device| device.contains("netdev=")) {
            arguments.extend(["-netdev".to_owned(), format!("hubport,id=wire{index},hubid=0")]);
        }
        let mut image = None;
        if disk {
            let path = folder.join(format!("{}.img", self.name()));
            std::fs::write(&path, pattern(index as u64 + 1))?;
            arguments.extend([
                "-drive".to_owned(),
                format!("file={},format=raw,if=none,id=drive{index}", path.display()),
            ]);
            image = Some(Disk { device: self, image: path });
        }
        for device in devices {
            arguments.extend(["-device".to_owned(), device]);
        }
        Ok((arguments, image))
    }
}

fn nvme(index: usize, place: &str) -> String {
    format!("nvme,drive=drive{index},serial=rig{index},{place}")
}

/// Bytes that look random and are the same every time (xorshift64*), for a disk.
fn pattern(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(DISK_SIZE);
    while bytes.len() < DISK_SIZE {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::Device;

    #[test]
    fn buses_are_numbered_in_the_order_of_the_ports() {
        let among = [Device::Igb, Device::Nvme, Device::NvmeBehindPort];
        assert_eq!(Device::Nvme.address(&among), "0000:00:05.0");
        assert_eq!(Device::NvmeBehindPort.address(&among), "0000:01:00.0");
        assert_eq!(Device::Igb.address(&among), "0000:02:00.0");
        assert_eq!(Device::Igb.address(&[Device::Igb]), "0000:01:00.0");
        assert_eq!(Device::Switch.address(&[Device::Switch, Device::Pair]), "0000:04:00.0");
    }
}
