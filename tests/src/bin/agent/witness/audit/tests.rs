//! Tests of what is made of the program's answers.

use std::io::Write as _;
use std::os::unix::net::UnixListener;

use super::{Auditor, Finding, common, findings};

const DRIVE: &str = "0000:00:05.0";

/// An answer for the drive in which a range of so many bytes from `iova` on is `kind`.
fn answer(kind: &str, iova: u64, length: u64) -> String {
    let extent = format!(
        r#"{{"iova":"{iova:#x}","guest":"{:#x}","length":{length},"permissions":"READ"}}"#,
        iova + 0x10_0000
    );
    format!(r#"{{"answer":[{{"vfio":"{DRIVE}","audit":"different","{kind}":[{extent}]}}]}}"#)
}

fn found(line: &str) -> Vec<Finding> {
    findings(line, &[DRIVE]).unwrap().unwrap()
}

#[test]
fn an_exact_audit_finds_nothing() {
    let line = format!(r#"{{"answer":[{{"vfio":"{DRIVE}","audit":"exact"}}]}}"#);
    assert!(found(&line).is_empty());
}

#[test]
fn every_kind_of_difference_is_found() {
    for kind in ["excess", "missing", "refused"] {
        let found = found(&answer(kind, 0x1000, 0x2000));
        let said = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n").to_lowercase();
        assert_eq!(said, format!("audit: {kind} 0x1000..0x3000 to the guest's 0x101000, read"));
    }
}

#[test]
fn events_are_no_answers() {
    let line = r#"{"event":"added","slot":8,"vfio":"0000:00:05.0"}"#;
    assert_eq!(findings(line, &[DRIVE]).unwrap(), None);
}

#[test]
fn an_audit_of_other_functions_or_of_none_is_no_audit() {
    let exact = |name: &str| format!(r#"{{"answer":[{{"vfio":"{name}","audit":"exact"}}]}}"#);
    let refused = |line: &str| findings(line, &[DRIVE]).unwrap_err().to_string();
    assert!(refused(&exact("0000:00:06.0")).contains("were audited"));
    assert!(refused(r#"{"answer":[]}"#).contains("were audited"));
    assert!(refused(&exact(DRIVE).replace("exact", "no remapping unit")).contains("no remapping unit"));
    assert!(refused(&exact(DRIVE).replace("exact", "different")).contains("and yet not"));
    assert!(refused(r#"{"error":"No."}"#).contains("No."));
    assert!(refused(&answer("excess", 0x1000, 0)).contains("garbled"));
    assert!(refused("{}").contains("garbled"));
}

#[test]
fn of_two_audits_the_range_that_both_find_is_left() {
    let one = found(&answer("excess", 0x1000, 0x3000));
    let other = found(&answer("excess", 0x2000, 0x8000));
    assert_eq!(common(&one, &other), found(&answer("excess", 0x2000, 0x2000)));
    assert_eq!(common(&one, &found(&answer("excess", 0x4000, 0x1000))), []);
    assert_eq!(common(&one, &found(&answer("missing", 0x1000, 0x3000))), []);
    let mut elsewhere = one.clone();
    elsewhere[0].shift += 0x1000;
    assert_eq!(common(&one, &elsewhere), []);
}

#[test]
fn a_program_that_ends_gives_no_answer() {
    let path = std::env::temp_dir().join(format!("witness-audit-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let mut auditor = Auditor::connect(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let (mut program, _) = listener.accept().unwrap();
    writeln!(program, r#"{{"event":"removed","slot":8}}"#).unwrap();
    writeln!(program, "{}", answer("missing", 0x1000, 0x1000)).unwrap();
    assert_eq!(auditor.ask(&[DRIVE]).unwrap(), Some(found(&answer("missing", 0x1000, 0x1000))));
    drop(program);
    assert_eq!(auditor.ask(&[DRIVE]).unwrap(), None);
}
