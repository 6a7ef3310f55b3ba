use super::*;
use crate::host_dma::tests::FakeHost;

fn sentence(fake: &FakeHost, address: &str) -> String {
    inspect(&fake.root, address).unwrap_err().to_string()
}

#[test]
fn a_function_bound_to_vfio_is_found_with_its_group() {
    let fake = FakeHost::new("found");
    fake.add("0000:03:00.0", Some("vfio-pci"), Some(7));
    fake.add("0000:04:00.0", Some("mlx5_vfio_pci"), Some(8));
    assert_eq!(inspect(&fake.root, "0000:03:00.0").unwrap().group, Some(7));
    assert_eq!(inspect(&fake.root, "0000:04:00.0").unwrap().group, Some(8));
}

#[test]
fn an_address_that_is_none_is_said() {
    let fake = FakeHost::new("absent");
    assert!(sentence(&fake, "0000:09:00.0").contains("lspci -D"));
    assert!(matches!(inspect(&fake.root, "../../kernel"), Err(HostError::NoDevice(_))));
}

#[test]
fn another_driver_is_named_with_what_to_type() {
    let fake = FakeHost::new("driver");
    fake.add("0000:03:00.0", Some("nvme"), Some(7));
    fake.add("0000:04:00.0", None, Some(8));
    let text = sentence(&fake, "0000:03:00.0");
    assert!(text.contains("bound to nvme") && text.contains("driver/unbind"), "{text}");
    assert!(text.contains("echo vfio-pci > /sys/bus/pci/devices/0000:03:00.0/driver_override"), "{text}");
    let text = sentence(&fake, "0000:04:00.0");
    assert!(text.contains("bound to no driver") && !text.contains("unbind"), "{text}");
}

#[test]
fn a_host_without_an_iommu_is_said() {
    let fake = FakeHost::new("no-group");
    fake.add("0000:03:00.0", Some("vfio-pci"), None);
    assert!(sentence(&fake, "0000:03:00.0").contains("intel_iommu=on"));
}

#[test]
fn a_direct_region_refuses_the_device_and_a_relaxable_one_does_not() {
    let fake = FakeHost::new("direct");
    fake.add("0000:03:00.0", Some("vfio-pci"), Some(7));
    fake.reserve(7, "0x000000007b800000 0x000000007fffffff direct-relaxable\n");
    let found = inspect(&fake.root, "0000:03:00.0").unwrap();
    let expected =
        ReservedRegion { start: 0x7b80_0000, end: 0x7fff_ffff, kind: ReservedKind::DirectRelaxable };
    assert_eq!(found.reserved, [expected]);

    fake.reserve(7, "0x000000007b800000 0x000000007fffffff direct\n0xfee00000 0xfeefffff msi\n");
    assert!(sentence(&fake, "0000:03:00.0").contains("0x7b800000-0x7fffffff"));
}

#[test]
fn regions_that_make_no_sense_are_left_out() {
    assert_eq!(parse_region(""), None);
    assert_eq!(parse_region("0x1000"), None);
    assert_eq!(parse_region("0x1000 later msi"), None);
    let kind = |line| parse_region(line).unwrap().kind;
    assert_eq!(kind("0x0 0xfff reserved"), ReservedKind::Other);
}

#[test]
fn neighbours_with_a_driver_of_the_host_are_in_use() {
    let fake = FakeHost::new("neighbours");
    fake.add("0000:03:00.0", Some("vfio-pci"), Some(7));
    for (address, driver) in [
        ("0000:03:00.1", Some("snd_hda_intel")),
        ("0000:02:00.0", Some("pcieport")),
        ("0000:03:00.2", None),
        ("0000:03:00.3", Some("vfio-pci")),
    ] {
        fake.add(address, driver, Some(7));
    }
    let found = inspect(&fake.root, "0000:03:00.0").unwrap();
    assert_eq!(found.neighbours.len(), 4);
    let in_use: Vec<_> = found.neighbours.iter().filter(|n| n.in_use()).map(|n| n.address.as_str()).collect();
    assert_eq!(in_use, ["0000:03:00.1"]);
}
