use super::*;

fn parse<T: std::str::FromStr<Err = String>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn sizes_have_suffixes_and_do_not_overflow() {
    assert_eq!(parse::<Size>("512M").0, 512 << 20);
    assert_eq!(parse::<Size>("0x1000").0, 4096);
    for wrong in ["", "M", "12Q", "99999999999G", "-1"] {
        assert!(wrong.parse::<Size>().is_err(), "{wrong}");
    }
}

#[test]
fn host_functions_may_leave_the_segment_out() {
    assert_eq!(parse::<HostFunction>("0000:03:00.1").to_string(), "0000:03:00.1");
    assert_eq!(parse::<HostFunction>("03:1f.7").to_string(), "0000:03:1f.7");
    assert!("0000:03:20.0".parse::<HostFunction>().is_err());
}

#[test]
fn devices_say_where_they_stand_and_what_they_are() {
    let edu = parse::<DeviceSpec>("edu,addr=04.0,dma-mask=0xffffffff");
    assert_eq!(edu.placement, Placement::Root(Some((4, 0))));
    assert_eq!(edu.kind, DeviceKind::Edu { dma_mask: 0xFFFF_FFFF });
    assert_eq!(parse::<DeviceSpec>("edu,port=on").placement, Placement::Port);
    assert_eq!(parse::<DeviceSpec>("edu,bridge=2").placement, Placement::Bridge(2));
    assert_eq!(parse::<VfioSpec>("0000:03:00.0").placement, None, "the machine's choice");
    assert_eq!(parse::<VfioSpec>("0000:03:00.0,port=on").placement, Some(Placement::Port));
    for wrong in ["edu,bridge=two", "edu,bridge=256", "edu,bridge=1,port=on", "edu,bridge=1,addr=4.0"] {
        assert!(wrong.parse::<DeviceSpec>().is_err(), "{wrong}");
    }
    for (wrong, hint) in [
        ("frobnicator", "edu, probe and virtio-blk"),
        ("virtio-blk", "path=FILE"),
        ("edu,speed=9", "speed"),
        ("edu,addr=04.0,port=on", "drop"),
        ("edu,addr=99.0", "addr=04.0"),
    ] {
        let error = wrong.parse::<DeviceSpec>().unwrap_err();
        assert!(error.contains(hint), "{wrong}: {error}");
    }
}

#[test]
fn reserved_regions_are_whole_pages() {
    assert_eq!(
        parse::<RmrrSpec>("0x1e000000,64K,00:04.0"),
        RmrrSpec::Range { start: 0x1E00_0000, length: 0x1_0000, function: pci::Bdf::new(0, 4, 0) }
    );
    for wrong in ["0x1e000001,64K,00:04.0", "0,0,00:04.0", "1,2", "0xfffffffffffff000,64K,00:04.0"] {
        assert!(wrong.parse::<RmrrSpec>().is_err(), "{wrong}");
    }
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_line() {
    for (text, expected) in [
        ("kernle = 'x'", 1),
        ("cpus = 1\n# two\nkernle = 'x'\n", 3),
        ("cpus = 1\n\ncpus = 2", 3),
        ("cpus = 1\nmemory = '6Q'\n", 2),
        ("kernel = \"vmlinuz", 1),
    ] {
        match Options::from_toml(text, Path::new("vm.toml")) {
            Err(ConfigError::Toml { line, .. }) => assert_eq!(line, expected, "{text:?}"),
            other => panic!("{text:?}: {other:?}"),
        }
    }
}

#[test]
fn every_flag_is_a_toml_key_and_flags_win_over_the_file() {
    let file: Options = toml::from_str(
        r#"
        kernel = "vmlinuz"
        cpus = 2
        memory = "1G"
        vfio = ["0000:03:00.0"]
        device = ["edu"]
        host-dma = "iommufd"
        iommufd = "fd=6"
        iommu-profile = "second-stage"
        iommu-features = "+posted-interrupts"
        "#,
    )
    .unwrap();
    let flags = Options { cpus: Some(4), devices: vec![parse("edu,addr=05.0")], ..Options::default() };
    let config = flags.over(file).check().unwrap();
    assert_eq!((config.cpus, config.memory), (4, 1 << 30));
    assert_eq!((config.vfio.len(), config.devices.len()), (1, 2));
    assert_eq!((config.host_dma, config.iommufd), (HostDmaChoice::Iommufd, Some(6)));
    assert_eq!(config.unit.profile, parse("second-stage"));
    assert_eq!(config.unit.features, parse("+posted-interrupts"));
}

#[test]
fn a_key_that_does_not_exist_is_an_error() {
    assert!(toml::from_str::<Options>("kernal = 'x'").unwrap_err().to_string().contains("kernal"));
}

#[test]
fn what_cannot_be_is_refused_with_one_sentence() {
    let kernel = Some("k".into());
    let base = || Options { kernel: kernel.clone(), ..Options::default() };
    let passed = vec![parse("fd=7,addr=04.0")];
    let cases: [(Options, &str); 7] = [
        (Options::default(), "--kernel"),
        (Options { cpus: Some(65), ..base() }, "1 to 64"),
        (Options { memory: Some(Size(1 << 20)), ..base() }, "too small"),
        (Options { iommu_width: Some(40), ..base() }, "39, 48 or 57"),
        (Options { ioapic_id: Some("00:00.0".into()), ..base() }, "must not be"),
        (Options { vfio: passed, host_dma: Some(HostDmaChoice::Type1), ..base() }, "drop --host-dma type1"),
        (
            Options { iommufd: Some(PassedDescriptor(6)), host_dma: Some(HostDmaChoice::Type1), ..base() },
            "drop --host-dma type1",
        ),
    ];
    for (options, hint) in cases {
        let error = options.check().unwrap_err().to_string();
        assert!(error.contains(hint) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn functions_are_named_by_address_or_by_descriptor() {
    let spec: VfioSpec = parse("fd=7,addr=04.0");
    assert_eq!(
        (spec.source, spec.placement),
        (VfioSource::Descriptor(7), Some(Placement::Root(Some((4, 0)))))
    );
    assert_eq!(spec.source.to_string(), "fd=7");
    let spec: VfioSpec = parse("0000:03:00.0");
    assert_eq!(spec.source.to_string(), "0000:03:00.0");
    for wrong in ["fd=", "fd=2", "fd=-1", "fd=x", "fd=7,port=maybe"] {
        assert!(wrong.parse::<VfioSpec>().is_err(), "{wrong}");
    }
    assert!("warp".parse::<HostDmaChoice>().unwrap_err().contains("auto, iommufd or type1"));
}
