use super::*;
use crate::host_dma::tests::FakeHost;

fn found(neighbours: Vec<Neighbour>) -> Found {
    Found { address: "0000:03:00.0".into(), group: Some(7), neighbours, reserved: Vec::new() }
}

fn refusal(errno: i32, found: &Found) -> String {
    bind_error(io::Error::from_raw_os_error(errno), found, "/dev/vfio/devices/vfio3").to_string()
}

#[test]
fn the_character_device_of_a_function_is_found_in_sysfs() {
    let fake = FakeHost::new("cdev");
    fake.add("0000:03:00.0", Some("vfio-pci"), Some(7));
    let dev = Path::new("/dev");
    assert_eq!(path(&fake.root, dev, &found(Vec::new())), None);
    std::fs::create_dir_all(fake.root.join("bus/pci/devices/0000:03:00.0/vfio-dev/vfio3")).unwrap();
    assert_eq!(path(&fake.root, dev, &found(Vec::new())), Some("/dev/vfio/devices/vfio3".into()));
}

#[test]
fn each_way_a_function_is_in_use_names_the_file_that_is_open() {
    let alone = found(Vec::new());
    let elsewhere = refusal(libc::EINVAL, &alone);
    assert!(elsewhere.contains("in use by another program"), "{elsewhere}");
    assert!(elsewhere.contains("fuser -v /dev/vfio/devices/vfio3"), "{elsewhere}");
    let by_group = refusal(libc::EBUSY, &alone);
    assert!(by_group.contains("fuser -v /dev/vfio/7"), "{by_group}");
    let neighbour = Neighbour { address: "0000:03:00.1".into(), driver: Some("snd_hda_intel".into()) };
    let by_host = refusal(libc::EBUSY, &found(vec![neighbour]));
    assert!(by_host.contains("0000:03:00.1 by snd_hda_intel"), "{by_host}");
}

#[test]
fn other_refusals_say_what_to_do() {
    let alone = found(Vec::new());
    assert!(refusal(libc::EPERM, &alone).contains("/sys/module/iommufd/parameters/allow_unsafe_interrupts"));
    assert!(refusal(libc::ENODEV, &alone).contains("taken from vfio-pci"));
    assert!(refusal(libc::ENOMEM, &alone).contains("bind 0000:03:00.0 to iommufd"));
}

#[test]
fn files_of_other_kinds_are_no_character_devices_of_vfio() {
    for path in ["/dev/null", "/proc/self/status"] {
        let error = check_unbound(&File::open(path).unwrap(), &found(Vec::new())).unwrap_err();
        assert!(matches!(error, HostError::NotCharacterDevice(_)), "{path}: {error}");
    }
}

#[test]
fn a_missing_or_closed_file_is_named() {
    let error = open(Path::new("/nowhere/vfio3"), &found(Vec::new())).unwrap_err();
    assert!(error.to_string().contains("/nowhere/vfio3 does not exist"), "{error}");
}
