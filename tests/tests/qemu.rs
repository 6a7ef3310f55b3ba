//! The bare-metal guests under QEMU: each case ends there as here, or as the list of differences says.

use std::sync::Mutex;

use tests::comparison::{self, Counterpart};
use tests::skip;

#[test]
fn every_case_ends_as_listed_under_qemu() {
    let qemu = match Counterpart::open() {
        Ok(qemu) => qemu,
        Err(error) => return skip::skip("the comparison with QEMU", &format!("{error:#}")),
    };
    let cases = Mutex::new(comparison::cases().unwrap());
    let surprises = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().unwrap().pop();
                    let Some((case, expected)) = next else { break };
                    let verdict = comparison::compare(&qemu, case, expected).unwrap();
                    if let Some(surprise) = verdict.surprise {
                        surprises.lock().unwrap().push(format!("{}: {surprise}", verdict.case));
                    }
                }
            });
        }
    });
    let surprises = surprises.into_inner().unwrap();
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}
