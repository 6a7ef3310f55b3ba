use std::fs;
use std::os::unix::fs::symlink;

use iommu::GuestAddress;
use vm_memory::GuestMemoryMmap;

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

    fn host(&self, allow_unsafe_interrupts: bool, choice: HostDmaChoice) -> Host {
        let passed = Passed::default();
        let wishes = Wishes { spaces: Spaces::Each, choice, allow_unsafe_interrupts, passed };
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x10_0000)]).unwrap();
        let dev = self.root.join("dev");
        Host { sysfs: self.root.clone(), dev, ..Host::new(wishes, Arc::new(memory), None) }
    }

    /// Gives a function a character device, and the host an iommufd.
    fn add_character_device(&self, address: &str, name: &str) {
        fs::create_dir_all(self.root.join("bus/pci/devices").join(address).join("vfio-dev").join(name))
            .unwrap();
        fs::create_dir_all(self.root.join("dev/vfio/devices")).unwrap();
        for file in ["iommu", &format!("vfio/devices/{name}")] {
            fs::write(self.root.join("dev").join(file), "").unwrap();
        }
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

const FUNCTION: &str = "0000:03:00.0";

fn source(address: &str) -> VfioSource {
    address.parse().unwrap()
}

fn sentence(host: &mut Host, address: &str) -> String {
    host.open(source(address)).map(|taken| taken.name).unwrap_err().to_string()
}

/// Whether iommufd would be used for the function, and what would be said about it.
fn chosen(fake: &FakeHost, choice: HostDmaChoice, passed: bool) -> (bool, Option<String>) {
    let mut host = fake.host(false, choice);
    let found = sysfs::inspect(&fake.root, FUNCTION).unwrap();
    (host.wants_iommufd(&found, passed), host.fallback())
}

#[test]
fn a_host_that_does_not_remap_interrupts_is_refused_unless_the_user_agrees() {
    let fake = FakeHost::new("no-ir");
    fake.add(FUNCTION, Some("vfio-pci"), Some(7));
    fs::write(fake.root.join("kernel/irq/24/chip_name"), "PCI-MSI\n").unwrap();
    let text = sentence(&mut fake.host(false, HostDmaChoice::Type1), FUNCTION);
    assert!(
        text.contains("--allow-unsafe-interrupts") && text.contains("module/vfio_iommu_type1/"),
        "{text}"
    );
    assert!(interrupts::check(&fake.root, true, "iommufd").is_ok());
}

#[test]
fn functions_of_one_group_are_in_it_together_until_the_last_is_given_back() {
    let fake = FakeHost::new("same-group");
    fake.add(FUNCTION, Some("vfio-pci"), Some(7));
    let mut host = fake.host(false, HostDmaChoice::Iommufd);
    let found = sysfs::inspect(&fake.root, FUNCTION).unwrap();
    let members = || Arc::new(Members::new(Arc::new(Iommufd::of_nothing())));
    let group = host.know(&found, Backing::Movable(members()));
    assert!(Arc::ptr_eq(&host.groups[&Some(7)].upgrade().unwrap(), &group));
    assert_eq!(host.containers(), 1);
    drop(group);
    assert_eq!(host.containers(), 0);
}

#[test]
fn kvm_knows_a_group_until_the_last_function_of_it_is_given_back() {
    let fake = FakeHost::new("known-group");
    fake.add(FUNCTION, Some("vfio-pci"), Some(7));
    let mut host = fake.host(false, HostDmaChoice::Type1);
    let found = sysfs::inspect(&fake.root, FUNCTION).unwrap();
    let (kvm, files) = kvm::fake::listening();
    let backing = || Backing::Container(Arc::new(GroupFile::of_nothing(&kvm)));
    let first = host.know(&found, backing());
    let second = host.groups[&Some(7)].upgrade().unwrap();
    assert_eq!(files.known(), 1);
    drop(first);
    assert_eq!(files.known(), 1, "one of the group is still there");
    drop(second);
    assert_eq!(files.known(), 0);
    // And knows it when it comes again.
    let _again = host.know(&found, backing());
    assert_eq!(files.known(), 1);
}

#[test]
fn a_container_that_everyone_has_left_is_not_used_again() {
    let fake = FakeHost::new("left");
    fake.add(FUNCTION, Some("vfio-pci"), Some(7));
    let mut host = fake.host(false, HostDmaChoice::Type1);
    let found = sysfs::inspect(&fake.root, FUNCTION).unwrap();
    let (kvm, _files) = kvm::fake::listening();
    let file = Arc::new(GroupFile::of_nothing(&kvm));
    let container = file.container().clone();
    host.shared = Some(SharedSpace::Container(container.clone()));
    let group = host.know(&found, Backing::Container(file));
    assert!(Arc::ptr_eq(&host.container().unwrap(), &container));
    drop(group);
    // There may be no VFIO here to make a new one of.
    let _ = host.container();
    assert!(host.shared.is_none());
}

#[test]
fn iommufd_is_used_where_host_and_device_have_it_and_the_user_may_open_both() {
    let fake = FakeHost::new("choice");
    fake.add(FUNCTION, Some("vfio-pci"), Some(7));
    assert_eq!(chosen(&fake, HostDmaChoice::Auto, false), (false, None), "no such kernel");
    fake.add_character_device(FUNCTION, "vfio3");
    assert_eq!(chosen(&fake, HostDmaChoice::Auto, false), (true, None));
    assert_eq!(chosen(&fake, HostDmaChoice::Type1, false), (false, None));
    fs::remove_file(fake.root.join("dev/iommu")).unwrap();
    assert_eq!(chosen(&fake, HostDmaChoice::Auto, false), (false, None), "no iommufd");
    assert_eq!(chosen(&fake, HostDmaChoice::Iommufd, false), (true, None));
    assert_eq!(chosen(&fake, HostDmaChoice::Auto, true), (true, None), "a descriptor was passed in");
}

#[test]
fn a_device_that_may_not_be_opened_goes_by_a_container_and_the_user_hears_why() {
    let fake = FakeHost::new("no-permission");
    fake.add(FUNCTION, Some("vfio-pci"), Some(7));
    fake.add_character_device(FUNCTION, "vfio3");
    // Opening fails for root too.
    let device = fake.root.join("dev/vfio/devices/vfio3");
    fs::remove_file(&device).unwrap();
    let (used, why) = chosen(&fake, HostDmaChoice::Auto, false);
    let why = why.unwrap();
    assert!(
        !used && why.contains("dev/vfio/devices/vfio3 may not be opened") && why.contains("chown"),
        "{why}"
    );
}

#[test]
fn a_host_without_iommufd_says_so_where_it_is_asked_for() {
    let fake = FakeHost::new("no-iommufd");
    fake.add(FUNCTION, Some("vfio-pci"), Some(7));
    let text = sentence(&mut fake.host(false, HostDmaChoice::Iommufd), FUNCTION);
    assert!(text.contains("dev/iommu does not exist") && text.contains("--host-dma type1"), "{text}");
}

#[test]
fn a_file_of_another_kind_is_no_iommufd() {
    let fake = FakeHost::new("not-iommufd");
    fake.add(FUNCTION, Some("vfio-pci"), Some(7));
    fake.add_character_device(FUNCTION, "vfio3");
    let text = sentence(&mut fake.host(false, HostDmaChoice::Iommufd), FUNCTION);
    assert!(text.contains("not one of iommufd") || text.contains("locked memory"), "{text}");
}

#[test]
fn a_function_that_was_not_passed_in_is_said() {
    let fake = FakeHost::new("not-passed");
    let text = sentence(&mut fake.host(false, HostDmaChoice::Auto), "fd=77");
    assert!(text.contains("No descriptor 77"), "{text}");
}

#[test]
fn no_address_space_is_pinned_for_a_machine_without_assigned_functions() {
    let fake = FakeHost::new("nobody");
    assert_eq!(fake.host(false, HostDmaChoice::Auto).containers(), 0);
}
