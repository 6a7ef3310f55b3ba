use super::*;

fn answer(address: u64, size: u64, permissions: Permissions) -> Translation {
    Translation {
        address: GuestAddress(address),
        size,
        permissions,
        privileged: false,
        untranslated_only: false,
    }
}

fn with_pasid(pasid: u32) -> Attributes {
    Attributes { pasid: Some(Pasid(pasid)), ..Attributes::default() }
}

/// Two pages without PASID and one with PASID 7, all of them readable.
fn some() -> Translations {
    let mut translations = Translations::default();
    let plain = Attributes::default();
    translations.keep(0, plain, Iova(0x1234), answer(0xA000, 0x1000, Permissions::READ));
    translations.keep(0, plain, Iova(0x20_1234), answer(0xC0_0000, 0x20_0000, Permissions::READ_WRITE));
    translations.keep(0, with_pasid(7), Iova(0x1234), answer(0xB000, 0x1000, Permissions::READ));
    translations
}

fn find(translations: &Translations, attributes: Attributes, iova: u64) -> Option<u64> {
    translations.find(attributes, Iova(iova), Permissions::READ).map(|found| found.address.0)
}

#[test]
fn answers_hold_for_their_page_address_space_and_permissions() {
    let translations = some();
    let plain = Attributes::default();
    assert_eq!(find(&translations, plain, 0x1FFF), Some(0xAFFF));
    assert_eq!(find(&translations, plain, 0x2000), None);
    assert_eq!(find(&translations, plain, 0x3F_FFFF), Some(0xDF_FFFF));
    assert_eq!(find(&translations, with_pasid(7), 0x1000), Some(0xB000));
    assert_eq!(find(&translations, with_pasid(8), 0x1000), None);
    assert_eq!(find(&translations, Attributes { privileged: true, ..with_pasid(7) }, 0x1000), None);
    assert_eq!(translations.find(plain, Iova(0x1000), Permissions::WRITE), None);
    let rest = Found { address: GuestAddress(0xAF00), length: 0x100 };
    assert_eq!(translations.find(plain, Iova(0x1F00), Permissions::READ), Some(rest));
}

#[test]
fn an_invalidation_names_a_range_and_whose() {
    use DeviceTlbScope::{EveryPasid, Pasid as Of, WithoutPasid};
    let invalidate = |scope, iova, size| {
        let mut translations = some();
        translations.invalidate(&DeviceTlbInvalidation { scope, iova: Iova(iova), size });
        let plain = Attributes::default();
        [(plain, 0x1000), (plain, 0x20_0000), (with_pasid(7), 0x1000)]
            .map(|(attributes, iova)| find(&translations, attributes, iova).is_some())
    };
    assert_eq!(invalidate(WithoutPasid, 0x1000, Some(0x1000)), [false, true, true]);
    assert_eq!(invalidate(WithoutPasid, 0x30_0000, Some(0x1000)), [true, false, true]);
    assert_eq!(invalidate(WithoutPasid, 0, Some(0x40_0000)), [false, false, true]);
    assert_eq!(invalidate(WithoutPasid, 0, None), [false, false, true]);
    assert_eq!(invalidate(Of(Pasid(7)), 0x1000, Some(0x1000)), [true, true, false]);
    assert_eq!(invalidate(Of(Pasid(8)), 0, None), [true, true, true]);
    assert_eq!(invalidate(EveryPasid, 0x1000, Some(0x1000)), [true, true, false]);
    assert_eq!(invalidate(WithoutPasid, 1 << 63, Some(1 << 63)), [true, true, true]);
}

#[test]
fn an_answer_older_than_an_invalidation_is_not_kept() {
    let mut translations = some();
    let generation = translations.generation();
    let nothing =
        DeviceTlbInvalidation { scope: DeviceTlbScope::WithoutPasid, iova: Iova(0), size: Some(0x1000) };
    translations.invalidate(&nothing);
    let late = answer(0xF000, 0x1000, Permissions::READ);
    translations.keep(generation, Attributes::default(), Iova(0x9000), late);
    assert_eq!(find(&translations, Attributes::default(), 0x9000), None);
    translations.keep(translations.generation(), Attributes::default(), Iova(0x9000), late);
    assert_eq!(find(&translations, Attributes::default(), 0x9000), Some(0xF000));
}

#[test]
fn it_is_bounded() {
    let mut translations = Translations::default();
    for page in 0..10 * TRANSLATIONS as u64 {
        let answer = answer(page << 12, 0x1000, Permissions::READ);
        translations.keep(0, Attributes::default(), Iova(page << 12), answer);
    }
    assert_eq!(translations.count(), TRANSLATIONS);
    let newest = (10 * TRANSLATIONS as u64 - 1) << 12;
    assert_eq!(find(&translations, Attributes::default(), newest), Some(newest));
    assert_eq!(find(&translations, Attributes::default(), 0), None);
}
