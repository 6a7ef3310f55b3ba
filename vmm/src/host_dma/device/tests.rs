use vmm_sys_util::errno::Error as SysError;

use super::*;

fn found() -> Found {
    let neighbour = |address: &str, driver: Option<&str>| Neighbour {
        address: address.into(),
        driver: driver.map(Into::into),
    };
    Found {
        address: "0000:03:00.0".into(),
        group: Some(7),
        neighbours: vec![neighbour("0000:03:00.1", Some("xhci_hcd")), neighbour("0000:03:00.2", None)],
        reserved: Vec::new(),
    }
}

fn said(error: VfioError) -> String {
    open_error(error, &found()).to_string()
}

#[test]
fn the_devices_that_make_a_group_unusable_are_named() {
    let text = said(VfioError::GroupViable);
    assert!(text.contains("(0000:03:00.1 by xhci_hcd)"), "{text}");
    // Somebody may take one of them between the kernel's answer and the next step.
    let late = join_error(io::Error::from_raw_os_error(libc::EBUSY), &found()).to_string();
    assert_eq!(late, text);
}

#[test]
fn permission_refused_on_joining_means_interrupts_are_not_remapped() {
    let refusal = |errno| open_error(VfioError::ContainerSetIOMMU(SysError::new(errno)), &found());
    assert!(matches!(refusal(libc::EPERM), HostError::UnsafeInterrupts { module: "vfio_iommu_type1" }));
    assert!(matches!(refusal(libc::EINVAL), HostError::Step { .. }));
    let second = |errno| join_error(io::Error::from_raw_os_error(errno), &found());
    assert!(matches!(second(libc::EPERM), HostError::UnsafeInterrupts { module: "vfio_iommu_type1" }));
    assert!(matches!(second(libc::EINVAL), HostError::Step { .. }));
}

#[test]
fn a_groups_file_that_cannot_be_opened_is_said_by_its_name() {
    let refusal = |errno| said(VfioError::OpenGroup(io::Error::from_raw_os_error(errno), "7".into()));
    assert!(refusal(libc::ENOENT).contains("/dev/vfio/7 does not exist"));
    assert!(refusal(libc::EACCES).contains("chown $USER /dev/vfio/7"));
    let busy = refusal(libc::EBUSY);
    assert!(busy.contains("0000:03:00.0 is in use") && busy.contains("fuser -v /dev/vfio/7"), "{busy}");
    assert!(refusal(libc::EMFILE).contains("refused to open /dev/vfio/7"));
}

#[test]
fn steps_that_the_kernel_refuses_keep_its_reason() {
    let errno = |error| match open_error(error, &found()) {
        HostError::Step { source, .. } | HostError::Device(vfio::VfioError::Step { source, .. }) => {
            source.raw_os_error()
        }
        other => panic!("{other}"),
    };
    assert_eq!(errno(VfioError::GroupGetDeviceFD(SysError::new(libc::EIO))), Some(libc::EIO));
    assert_eq!(errno(VfioError::SetDeviceAttr(SysError::new(libc::ENOMEM))), Some(libc::ENOMEM));
    assert_eq!(errno(VfioError::VfioDeviceGetInfo(SysError::new(libc::ENODEV))), Some(libc::ENODEV));
}

#[test]
fn what_is_no_pci_function_is_said_to_be_none() {
    for error in [VfioError::VfioDeviceGetInfoPCI, VfioError::VfioDeviceGetInfoOther] {
        let text = said(error);
        assert!(text.contains("0000:03:00.0 is no PCI function"), "{text}");
    }
}
