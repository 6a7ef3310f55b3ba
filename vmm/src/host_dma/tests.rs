use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A folder that looks like `/sys`, gone when dropped.
pub(super) struct FakeHost {
    pub(super) root: PathBuf,
}

impl FakeHost {
    pub(super) fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("kernel/irq/24")).unwrap();
        fs::write(root.join("kernel/irq/24/chip_name"), "IR-PCI-MSIX-0000:00:01.0\n").unwrap();
        Self { root }
    }

    /// Adds a function with a driver and a group, if it has them.
    pub(super) fn add(&self, address: &str, driver: Option<&str>, group: Option<u32>) {
        let device = self.root.join("bus/pci/devices").join(address);
        fs::create_dir_all(&device).unwrap();
        if let Some(driver) = driver {
            symlink(format!("../../../bus/pci/drivers/{driver}"), device.join("driver")).unwrap();
        }
        if let Some(group) = group {
            let folder = self.root.join(format!("kernel/iommu_groups/{group}"));
            symlink(&folder, device.join("iommu_group")).unwrap();
            fs::create_dir_all(folder.join("devices").join(address)).unwrap();
            self.reserve(group, "0x00000000fee00000 0x00000000feefffff msi\n");
        }
    }

    pub(super) fn reserve(&self, group: u32, lines: &str) {
        fs::write(self.root.join(format!("kernel/iommu_groups/{group}/reserved_regions")), lines).unwrap();
    }

    fn host(&self, allow_unsafe_interrupts: bool) -> Host {
        Host { sysfs: self.root.clone(), ..Host::new(Spaces::Each, allow_unsafe_interrupts, None) }
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn sentence(host: &mut Host, address: &str) -> String {
    host.open(address).unwrap_err().to_string()
}

#[test]
fn a_host_that_does_not_remap_interrupts_is_refused_unless_the_user_agrees() {
    let fake = FakeHost::new("no-ir");
    fake.add("0000:03:00.0", Some("vfio-pci"), Some(7));
    fs::write(fake.root.join("kernel/irq/24/chip_name"), "PCI-MSI\n").unwrap();
    let text = sentence(&mut fake.host(false), "0000:03:00.0");
    assert!(text.contains("--allow-unsafe-interrupts"), "{text}");
    assert!(interrupts::check(&fake.root, true).is_ok());
}

#[test]
fn two_functions_of_one_group_are_refused_where_each_needs_its_own_address_space() {
    let fake = FakeHost::new("same-group");
    fake.add("0000:03:00.0", Some("vfio-pci"), Some(7));
    fake.add("0000:03:00.1", Some("vfio-pci"), Some(7));
    let mut host = fake.host(false);
    host.groups.insert(7, "0000:03:00.0".into());
    let text = sentence(&mut host, "0000:03:00.1");
    assert!(text.contains("0000:03:00.0") && text.contains("group (7)"), "{text}");
}

#[test]
fn no_address_space_is_pinned_for_a_machine_without_assigned_functions() {
    assert_eq!(Host::new(Spaces::Each, false, None).address_spaces(), 0);
    assert_eq!(Host::new(Spaces::Shared, false, None).address_spaces(), 0);
}
