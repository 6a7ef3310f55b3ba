use super::{Case, cases, guests};

#[test]
fn guests_and_cases_are_found() {
    let guests = guests().unwrap();
    assert!(guests.contains(&"hello".to_owned()), "{guests:?}");
    assert_eq!(cases("hello").unwrap()[..2], ["hello", "code"]);
}

#[test]
fn no_two_cases_of_a_guest_have_the_same_name() {
    for guest in guests().unwrap() {
        let mut names = cases(&guest).unwrap();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{guest}");
        assert_ne!(count, 0, "{guest}");
    }
}

#[test]
fn arguments_follow_the_case() {
    assert_eq!(Case::of("hello", "hello").command_line(), "hello");
    assert_eq!(Case::of("hello", "code").command_line(), "code code=7");
    assert_eq!(Case::of("hello", "code").ends, 15);
}
