use super::*;

const PASID: Option<Pasid> = Some(Pasid(3));

fn response(group: u16, pasid: Option<Pasid>) -> PageResponse {
    PageResponse { pasid, group, code: PageResponseCode::Success }
}

#[test]
fn one_answer_is_for_a_whole_group() {
    let mut pages = Pages::default();
    assert!(pages.begin(5, PASID, 3, false));
    assert!(pages.begin(5, PASID, 3, true));
    assert!(pages.begin(6, PASID, 3, false));
    assert!(!pages.begin(7, PASID, 3, false), "one too many");
    assert_eq!(pages.awaited(), None);
    assert!(pages.answer(&response(5, PASID)));
    assert_eq!(pages.awaited(), Some(PageResponseCode::Success));
    assert!(pages.begin(7, PASID, 3, false));
}

#[test]
fn an_answer_to_nothing_is_unexpected() {
    let mut pages = Pages::default();
    assert!(pages.begin(5, PASID, 8, true));
    assert!(!pages.answer(&response(5, None)));
    assert!(!pages.answer(&response(6, PASID)));
    assert_eq!(pages.awaited(), None);
    // The guest can see them nevertheless, in order.
    assert_eq!(pages.answers(), (2, Some(response(5, None))));
    pages.pop();
    assert_eq!(pages.answers(), (1, Some(response(6, PASID))));
}

#[test]
fn groups_that_wait_are_not_used_twice() {
    let mut pages = Pages::default();
    for expected in 0..600 {
        let index = pages.free_group();
        assert_eq!(index, expected % 512);
        pages.begin(index, PASID, u32::MAX, false);
        if expected != 511 {
            pages.answer(&response(index, PASID));
        }
    }
    pages.next = 511;
    assert_eq!(pages.free_group(), 0);
}

#[test]
fn answers_are_bounded() {
    let mut pages = Pages::default();
    for group in 0..100 {
        pages.answer(&response(group, PASID));
    }
    assert_eq!(pages.answers(), (64, Some(response(36, PASID))));
}
