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

impl GroupFile {
    /// One that no kernel has.
    pub(in crate::host_dma) fn of_nothing(kvm: &KvmVfio) -> Self {
        let file = File::open("/dev/null").unwrap();
        Self::introduced(file, Arc::new(Container::of_nothing()), Some(kvm)).unwrap()
    }
}

fn refused(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

#[test]
fn the_devices_that_make_a_group_unusable_are_named() {
    let text = not_viable(&found()).to_string();
    assert!(text.contains("(0000:03:00.1 by xhci_hcd)"), "{text}");
    // Somebody may take one of them between the kernel's answer and the next step.
    assert_eq!(join_error(refused(libc::EBUSY), &found()).to_string(), text);
}

#[test]
fn permission_refused_on_joining_means_interrupts_are_not_remapped() {
    let error = |errno| join_error(refused(errno), &found());
    assert!(matches!(error(libc::EPERM), HostError::UnsafeInterrupts { module: "vfio_iommu_type1" }));
    assert!(matches!(error(libc::EINVAL), HostError::Step { .. }));
}

#[test]
fn a_groups_file_that_cannot_be_opened_is_said_by_its_name() {
    let said = |errno| group_error(refused(errno), &found()).to_string();
    assert!(said(libc::ENOENT).contains("/dev/vfio/7 does not exist"));
    assert!(said(libc::EACCES).contains("chown $USER /dev/vfio/7"));
    let busy = said(libc::EBUSY);
    assert!(busy.contains("0000:03:00.0 is in use") && busy.contains("fuser -v /dev/vfio/7"), "{busy}");
    assert!(said(libc::EMFILE).contains("refused to open /dev/vfio/7"));
}

#[test]
fn a_function_that_the_kernel_does_not_hand_over_is_said_with_its_reason() {
    let (kvm, _files) = crate::host_dma::kvm::fake::listening();
    match GroupFile::of_nothing(&kvm).device(&found()).unwrap_err() {
        HostError::Step { action, source } => {
            assert!(action.contains("0000:03:00.0"));
            assert_eq!(source.raw_os_error(), Some(libc::ENOTTY));
        }
        other => panic!("{other}"),
    }
}
