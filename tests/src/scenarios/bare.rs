//! The bare-metal guests on an L1's KVM, which is real: what a machine's own `/dev/kvm` cannot show is shown here.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::bare_metal::{self, Case};
use crate::guest::quoted;
use crate::scenario::{Scenario, Session};

/// Every guest but `assigned`, which wants a function of the host's; a scenario each.
const GUESTS: [&str; 18] = [
    "hello",
    "pci",
    "timers",
    "power",
    "smp",
    "virtio",
    "dma",
    "invalidation",
    "faults",
    "interrupts",
    "posting",
    "ioapic",
    "hostile",
    "probe",
    "scalable",
    "stages",
    "ats",
    "pages",
];

/// Runs one case: its name, the exit code it must end with, what it must say, what its disk must contain, and
/// the program's options.
const RUN_CASE: &str = r#"
failed=0
run_case() {
    name=$1; ends=$2; says=$3; leaves=$4; shift 4
    cp /bare/disk.img /run/disk.img
    said=$(timeout 60 portcullis run "$@" 2>&1 </dev/null); status=$?
    problem=
    [ $status -eq $ends ] || problem="exit code $status, not $ends"
    case $said in *"$says"*) ;; *) problem="$problem; it did not say $says" ;; esac
    [ -z "$leaves" ] || grep -q "$leaves" /run/disk.img || problem="$problem; the disk lacks $leaves"
    if [ -z "$problem" ]; then echo "@@ passed $name"; else echo "@@ FAILED $name: $problem"; echo "$said"; failed=1; fi
}
"#;

pub(super) fn session() -> Session {
    let scenarios =
        GUESTS.map(|guest| Scenario::command(guest, script(guest)).never("@@ FAILED*").within(240));
    Session::new("bare", "the bare-metal guests of the fast tier on a real KVM", scenarios.into())
        .devices(&[])
        .files(files)
}

fn script(guest: &str) -> String {
    let mut script = RUN_CASE.to_owned();
    // Guests whose sources cannot be read have no cases, and fail for that.
    let cases = bare_metal::cases(guest).unwrap_or_default();
    for name in &cases {
        let case = Case::of(guest, name);
        let words = [case.to_string(), case.ends.to_string(), case.says.clone()];
        let words = words.into_iter().chain([case.leaves.unwrap_or_default().to_owned()]);
        let words = words.chain(["--kernel".into(), format!("/bare/{guest}"), "--cmdline".into()]);
        let words = words.chain([case.command_line()]);
        let words = words.chain(case.options.iter().map(|option| option.replace("{disk}", "/run/disk.img")));
        let words: Vec<_> = words.map(|word| quoted(&word)).collect();
        // Writing to a string does not fail.
        let _ = writeln!(script, "run_case {}", words.join(" "));
    }
    let _ = writeln!(script, "[ $failed -eq 0 ] && [ {} -gt 0 ]", cases.len());
    script
}

/// What the scripts need in L1.
fn files() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut files = vec![(bare_metal::disk("bare")?, "bare/disk.img".to_owned())];
    for guest in GUESTS {
        files.push((bare_metal::image(guest)?, format!("bare/{guest}")));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::{GUESTS, bare_metal, script};

    #[test]
    fn every_guest_is_a_scenario() {
        let mut guests = GUESTS;
        guests.sort_unstable();
        let mut all = bare_metal::guests().unwrap();
        all.retain(|guest| guest != "assigned");
        assert_eq!(all, guests);
    }

    #[test]
    fn a_case_is_a_line_of_the_script() {
        let script = script("hello");
        let line = "run_case hello/code 15 '' '' --kernel /bare/hello --cmdline 'code code=7' --memory 128M \
                    --iommu-profile legacy\n";
        assert!(script.contains(line), "{script}");
    }
}
