use super::*;

#[test]
fn news_are_kept_once_for_each_slot_and_heard_once() {
    let mailbox = Mailbox::new().unwrap();
    mailbox.open(8);
    mailbox.open(9);
    assert!(mailbox.bell.read().is_err());
    for _ in 0..1000 {
        mailbox.note(9, |news| news.released = true);
        // There is no such slot.
        mailbox.host(10, HostEvent::Failed);
    }
    mailbox.host(9, HostEvent::Requested);
    let news = News { released: true, requested: true, failed: false };
    assert_eq!(mailbox.take(), [(9, news)]);
    assert!(mailbox.bell.read().is_err());
    assert_eq!(mailbox.take(), []);
}

#[test]
fn what_was_said_of_one_function_is_not_heard_of_the_next() {
    let mailbox = Mailbox::new().unwrap();
    mailbox.open(8);
    mailbox.host(8, HostEvent::Failed);
    mailbox.forget(8);
    assert_eq!(mailbox.take(), []);
    mailbox.host(8, HostEvent::Requested);
    assert_eq!(mailbox.take(), [(8, News { requested: true, ..News::default() })]);
}

#[test]
fn a_function_that_fails_or_is_gone_is_lost_whatever_else_is_said() {
    let mailbox = Mailbox::new().unwrap();
    mailbox.open(8);
    mailbox.host(8, HostEvent::Requested);
    mailbox.host(8, HostEvent::Failed);
    let [(8, news)] = mailbox.take()[..] else { panic!("there is news of one slot") };
    for released in [false, true] {
        assert_eq!(news.step(true, released), Step::Lose);
        assert_eq!(News { requested: true, ..News::default() }.step(false, released), Step::Lose);
    }
}

#[test]
fn what_the_guest_still_wants_is_not_taken_without_asking() {
    let (mut said, mut wanted) = (News::default(), News::default());
    said.released = true;
    wanted.requested = true;
    assert_eq!(said.step(true, true), Step::GiveBack);
    assert_eq!(said.step(true, false), Step::Wait);
    assert_eq!(wanted.step(true, false), Step::Ask);
    assert_eq!(News { released: true, ..wanted }.step(true, false), Step::Ask);
}
