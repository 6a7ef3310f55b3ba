use super::*;
use crate::cache::table::Keeper;
use crate::{Access, Pasid, SourceId};

const SOURCE: SourceId = SourceId(0x0108);
const PLAIN: Request = Request::new(SOURCE, Access::Read);

fn answer(guest: u64) -> Answer {
    let leaf = Leaf { guest: GuestAddress(guest), level: Level::PAGE, rights: Rights::READ | Rights::USER };
    Answer { leaf, privileged: false }
}

fn fill(keeper: &Keeper, recent: &Recent, request: &Request, iova: u64, answer: &Answer) {
    let mut change = keeper.fill(keeper.epoch()).unwrap();
    recent.fill(&mut change, request, Iova(iova), answer);
}

#[test]
fn an_answer_comes_back_whole() {
    let (keeper, recent) = (Keeper::default(), Recent::new());
    for level in [Level::PAGE, Level::PAGE_2M, Level::PAGE_1G] {
        for privileged in [false, true] {
            let leaf = Leaf { guest: GuestAddress(0xF_FFFF_C000_0000), level, rights: Rights::all() };
            let answer = Answer { leaf, privileged };
            fill(&keeper, &recent, &PLAIN, 0x1234, &answer);
            assert_eq!(recent.get(keeper.epoch(), &PLAIN, Iova(0x1FFF)), Some(answer));
        }
    }
}

#[test]
fn an_answer_is_for_one_requester_one_pasid_and_one_small_page() {
    let (keeper, recent) = (Keeper::default(), Recent::new());
    let asked = PLAIN.with_pasid(Pasid(5));
    fill(&keeper, &recent, &asked, 0x1000, &answer(0x8000));
    let get = |request: &Request, iova| recent.get(keeper.epoch(), request, Iova(iova));
    assert!(get(&asked, 0x1000).is_some());
    assert_eq!(get(&asked, 0x2000), None);
    assert_eq!(get(&asked, 1 << 63 | 0x1000), None);
    assert_eq!(get(&PLAIN, 0x1000), None);
    assert_eq!(get(&PLAIN.with_pasid(Pasid(1 << 20 | 5)), 0x1000), None);
    let other = Request { source: SourceId(0x0109), ..asked };
    assert_eq!(get(&other, 0x1000), None);
}

#[test]
fn special_requests_neither_leave_answers_nor_find_any() {
    let (keeper, recent) = (Keeper::default(), Recent::new());
    let plain = PLAIN.with_pasid(Pasid(5));
    let special = [plain.privileged(), plain.executing(), plain.translated()];
    for request in &special {
        fill(&keeper, &recent, request, 0x1000, &answer(0x8000));
        assert_eq!(recent.get(keeper.epoch(), request, Iova(0x1000)), None, "{request:?}");
    }
    fill(&keeper, &recent, &plain, 0x1000, &answer(0x8000));
    for request in &special {
        assert_eq!(recent.get(keeper.epoch(), request, Iova(0x1000)), None, "{request:?}");
    }
}

#[test]
fn an_answer_ends_with_its_epoch_and_its_place_is_used_again() {
    let (keeper, recent) = (Keeper::default(), Recent::new());
    let before = keeper.epoch();
    fill(&keeper, &recent, &PLAIN, 0x1000, &answer(0x8000));
    drop(keeper.evict());
    assert_eq!(recent.get(keeper.epoch(), &PLAIN, Iova(0x1000)), None);
    // A request that began before may still use it.
    assert!(recent.get(before, &PLAIN, Iova(0x1000)).is_some());
    fill(&keeper, &recent, &PLAIN, 0x1000, &answer(0x9000));
    assert_eq!(recent.get(keeper.epoch(), &PLAIN, Iova(0x1000)), Some(answer(0x9000)));
}
