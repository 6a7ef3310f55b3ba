//! The rig's sessions as tests. Each boots machines and takes a minute or more, hence they are ignored unless asked for:
//! `cargo xtask test` runs `smoke`, `.ci/run` all of them, `cargo xtask rig run NAME` one. What takes longer is run by
//! `cargo xtask nightly`.

use tests::parts::{Parts, patience};
use tests::scenario::{self, Settings, Tier};
use tests::{scenarios, skip};

/// Runs a session and reports what failed in it.
fn session(name: &str) {
    let session = scenarios::named(name).expect("the session exists");
    let there = |until| {
        let parts = Parts::open().expect("the cache can be used");
        [session.kernel, session.guest_kernel].into_iter().all(|kernel| parts.await_kernel(kernel, until))
    };
    if !patience::until().is_none_or(there) {
        return skip::skip(name, "its kernel is still being built; it is there for the next run");
    }
    let report = |outcome: &scenario::Outcome| println!("{name}/{outcome}");
    let outcomes = scenario::run(&session, &Settings::default(), |_| true, report).expect("the rig works");
    assert_eq!(outcomes.len(), session.scenarios.len());
    let failed: Vec<_> = outcomes.iter().filter(|it| it.failure.is_some()).map(|it| it.scenario).collect();
    assert!(failed.is_empty(), "failed in {name}: {}", failed.join(", "));
}

macro_rules! sessions {
    ($($name:ident)*) => {
        $(
            #[test]
            #[ignore = "boots machines: see `cargo xtask rig`"]
            fn $name() {
                session(stringify!($name));
            }
        )*

        #[test]
        fn every_session_is_a_test() {
            let sessions = scenarios::all().into_iter().filter(|session| session.tier == Tier::Regression);
            let names: Vec<_> = sessions.map(|session| session.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

sessions!(peer smoke bare boot virtio modes newest sva sleep tables nvme posted stray peers order witness kexec paths refusals limits
    iommufd);
