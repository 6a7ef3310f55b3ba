use super::*;

#[test]
fn every_expectation_is_of_a_case() {
    let cases = cases().unwrap();
    for Expectation { guest, case, .. } in EXPECTATIONS {
        assert!(cases.iter().any(|(it, _)| it.guest == *guest && it.name == *case), "{guest}/{case}");
    }
    assert_eq!(cases.iter().filter(|(_, expected)| expected.is_some()).count(), EXPECTATIONS.len());
}

#[test]
fn the_documentation_has_the_list() {
    let path = crate::program::workspace().join("docs/qemu.md");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(
        text.contains(&table()),
        "docs/qemu.md is to have what `cargo xtask qemu-compare --table` prints"
    );
}

#[test]
fn a_machine_is_described_in_the_words_of_the_other() {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let ours = words("--memory 128M --device edu,addr=04.0,dma-mask=0xff --device edu,port=on --cpus 3");
    let theirs = qemu::options(&ours).join(" ");
    assert!(theirs.contains("-m 128M -smp 3 -device intel-iommu,"), "{theirs}");
    assert!(
        theirs.ends_with(
            "-device edu,addr=04.0,dma_mask=0xff -device pcie-root-port,id=port2,chassis=2 -device edu,bus=port2"
        ),
        "{theirs}"
    );
    assert!(!qemu::options(&words("--iommu off")).join(" ").contains("intel-iommu"));
}
