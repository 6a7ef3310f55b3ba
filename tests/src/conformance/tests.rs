use super::*;

fn section(text: &str) -> Section {
    Section::parse(text).unwrap()
}

#[test]
fn every_section_has_a_test_or_a_reason() {
    let (sections, tests) = (sections().unwrap(), behaviours().unwrap());
    assert!(tests.len() > 100, "the sources have tests in them: {}", tests.len());
    assert_eq!(complaints(&sections, &tests), [""; 0]);
}

#[test]
fn a_test_is_named_after_its_section() {
    let behaviour = Behaviour::parse("s6_invalidation::s6_5_2_10_a_tail_of_16_bytes").unwrap();
    assert_eq!(behaviour.section, section("6.5.2.10"));
    assert_eq!(behaviour.text, "a tail of 16 bytes");
    assert_eq!(Behaviour::parse("support::tests::something"), None);
    assert_eq!(Behaviour::parse("s6_5"), None);
}

#[test]
fn what_the_harness_says_is_read() {
    let output = "\nrunning 2 tests\ntest s3::s3_2_one ... ok\ntest s3::s3_2_two ... FAILED\n\nfailures:\n\n\
                  ---- s3::s3_2_two stdout ----\n";
    let results: Vec<_> = results(output).into_values().collect();
    assert_eq!(results, [true, false]);
}

#[test]
fn a_list_that_does_not_fit_is_complained_about() {
    let list = |text: &str| text.lines().map(|line| entry(line).unwrap()).collect::<Vec<_>>();
    let tests = [Behaviour::parse("s3_1_works").unwrap()];
    let fits = list("3 | Chapter\n3.1 | Tested\n3.2 | Not | because");
    assert_eq!(complaints(&fits, &tests), [""; 0]);
    for (text, what) in [
        ("3.1 | Tested\n3.2 | Not", "neither a test nor a reason"),
        ("3.1 | Tested | because", "in spite of"),
        ("3.2 | Not | because", "not in sections.txt"),
        ("3.2 | Not | because\n3.1 | Tested", "stands before"),
    ] {
        let complaints = complaints(&list(text), &tests);
        assert!(complaints.len() == 1 && complaints[0].contains(what), "{complaints:?}");
    }
}
