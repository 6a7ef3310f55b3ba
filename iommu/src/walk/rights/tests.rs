use super::*;
use crate::{Pasid, Profile, SourceId};

const CAPABILITIES: Capabilities = Capabilities::new(Profile::Full, 48);
const PLAIN: Request = Request::new(SourceId(0x10), Access::Read).with_pasid(Pasid(1));

fn demand(request: Request) -> Demand {
    Demand::of(&request, request.privileged, 1, &CAPABILITIES)
}

#[test]
fn user_and_supervisor_have_permissions_of_their_own() {
    let supervisor_only = Rights::ALL - Rights::USER;
    assert_eq!(supervisor_only.permissions(false), Permissions::empty());
    assert_eq!(supervisor_only.permissions(true), Permissions::all());
    let read_only = Rights::ALL - Rights::WRITE;
    assert_eq!(read_only.permissions(false), Permissions::READ | Permissions::EXECUTE);
    assert_eq!(read_only.permissions(true), Permissions::all());
    let protected = Rights::ALL - Rights::ANY_WRITE;
    assert_eq!(protected.permissions(true), Permissions::READ | Permissions::EXECUTE);
}

#[test]
fn a_demand_says_what_it_lacks() {
    let write = demand(Request { access: Access::Write, ..PLAIN });
    let atomic = demand(Request { access: Access::Atomic, ..PLAIN });
    let execute = demand(PLAIN.executing());
    for (demand, rights, lack) in [
        (demand(PLAIN), Rights::ALL - Rights::READ, Lack::Read),
        (demand(PLAIN), Rights::ALL - Rights::USER, Lack::Privilege),
        (write, Rights::ALL - Rights::WRITE, Lack::Write),
        (atomic, Rights::ALL - Rights::WRITE, Lack::Write),
        (atomic, Rights::ALL - Rights::READ, Lack::Read),
        (execute, Rights::ALL - Rights::EXECUTE, Lack::Execute),
        (execute, Rights::ALL - Rights::READ, Lack::Read),
    ] {
        assert!(!demand.allowed_by(rights), "{demand:?} {rights:?}");
        assert_eq!(demand.lacking(rights), lack, "{demand:?} {rights:?}");
        assert!(demand.allowed_by(Rights::ALL));
    }
}

#[test]
fn to_execute_means_nothing_without_pasid() {
    let request = Request { pasid: None, ..PLAIN }.executing();
    assert!(demand(request).allowed_by(Rights::ALL - Rights::EXECUTE));
}

#[test]
fn only_what_writes_needs_the_dirty_bit() {
    let clean = Rights::ALL | Rights::CLEAN;
    assert!(demand(PLAIN).met_by(clean));
    for access in [Access::Write, Access::Atomic] {
        let demand = demand(Request { access, ..PLAIN });
        assert!(demand.allowed_by(clean));
        assert!(!demand.met_by(clean));
        assert!(demand.met_by(Rights::ALL));
    }
    // A translation is to be written to later, where that is allowed and asked for.
    assert!(!Demand::translation(false, false, false).met_by(clean));
    assert!(Demand::translation(false, false, true).met_by(clean));
    assert!(Demand::translation(false, false, false).met_by(clean - Rights::WRITE));
    assert!(!Demand::translation(true, false, false).met_by(clean - Rights::WRITE));
}

#[test]
fn a_translation_is_content_with_any_permission() {
    let translation = Demand::translation(false, true, false);
    assert!(translation.allowed_by(Rights::READ | Rights::USER));
    assert!(translation.allowed_by(Rights::WRITE | Rights::USER));
    assert!(!translation.allowed_by(Rights::ALL - Rights::USER));
    assert!(!translation.allowed_by(Rights::EXECUTE | Rights::USER));
}

#[test]
fn behind_a_second_stage_a_page_is_clean_if_it_is_so_in_either() {
    let clean = Rights::ALL | Rights::CLEAN;
    assert_eq!(clean.behind(Rights::ALL), clean);
    assert_eq!(Rights::ALL.behind(clean), clean);
    assert_eq!(Rights::ALL.behind(Rights::ALL), Rights::ALL);
    assert_eq!(Rights::ALL.behind(Rights::READ | Rights::USER), Rights::READ | Rights::USER);
}
