use super::*;

fn capability() -> (ConfigSpace, PageRequestInterface) {
    let mut config = ConfigSpace::new();
    let pages = PageRequestInterface::add(&mut config, 64).unwrap();
    (config, pages)
}

/// Software's write to the control register.
fn control(config: &mut ConfigSpace, pages: PageRequestInterface, value: u16) {
    config.write(pages.control, &value.to_le_bytes());
    pages.settle(config);
}

#[test]
fn software_finds_it_stopped_and_may_enable_it() {
    let (mut config, pages) = capability();
    assert_eq!(config.u16(0x100), id::PAGE_REQUEST);
    assert_eq!(config.u16(pages.status), STOPPED | PASID_REQUIRED);
    assert_eq!(config.u32(0x108), 64);
    config.write(pages.allocation, &32u32.to_le_bytes());
    assert_eq!(pages.granted(&config), 0);
    control(&mut config, pages, ENABLE);
    assert_eq!((config.u16(pages.status), pages.granted(&config)), (PASID_REQUIRED, 32));
    control(&mut config, pages, 0);
    assert_eq!(config.u16(pages.status), STOPPED | PASID_REQUIRED);
}

#[test]
fn the_reset_bit_reads_zero() {
    let (mut config, pages) = capability();
    control(&mut config, pages, RESET);
    assert_eq!(config.u16(pages.control), 0);
}

#[test]
fn errors_stay_until_software_clears_them() {
    let (mut config, pages) = capability();
    control(&mut config, pages, ENABLE);
    pages.show_failure(&mut config);
    pages.show_unexpected_group(&mut config);
    control(&mut config, pages, ENABLE);
    assert_eq!(config.u16(pages.status), PASID_REQUIRED | RESPONSE_FAILURE | UNEXPECTED_GROUP);
    config.write(pages.status, &RESPONSE_FAILURE.to_le_bytes());
    assert_eq!(config.u16(pages.status), PASID_REQUIRED | UNEXPECTED_GROUP);
}
