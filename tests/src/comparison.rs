//! The bare-metal guests under QEMU's `intel-iommu`: a second opinion on what each of their cases expects.
//!
//! The same image runs in a machine that has the same devices in the same places, emulated without KVM. Where QEMU
//! does not end a case as Portcullis does, [`EXPECTATIONS`] has the section of the specification that decides, and
//! who is right by it; what cannot be compared is listed there too. A case that ends otherwise than expected is a
//! change in one of the two that somebody has to look at.

mod expected;
mod qemu;

use std::fmt::{self, Write as _};

pub use expected::EXPECTATIONS;
pub use qemu::Counterpart;

use crate::bare_metal::{self, BuildError, Case};

/// The guests that are about the remapping unit. The others have nothing that QEMU's could be asked.
pub const GUESTS: [&str; 7] = ["dma", "invalidation", "faults", "interrupts", "ioapic", "hostile", "stages"];

/// Who does as the specification says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Portcullis; QEMU does not.
    Portcullis,
    /// Both: the specification leaves it open.
    Both,
}

/// What is expected of QEMU, where that is not that it passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It ends otherwise.
    Differs {
        /// What the guest or QEMU says at that.
        says: &'static str,
        /// The section that decides.
        section: &'static str,
        /// By that section.
        right: Right,
        /// What is different.
        why: &'static str,
    },
    /// It is not run.
    Skipped(&'static str),
}

/// What is expected of one case.
#[derive(Clone, Copy, Debug)]
pub struct Expectation {
    /// The guest.
    pub guest: &'static str,
    /// The case.
    pub case: &'static str,
    /// What is expected.
    pub expected: Expected,
}

/// How a case ended under QEMU, and whether that was to be expected.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The case.
    pub case: Case,
    /// Whether it passed; none if it was not run.
    pub passed: Option<bool>,
    /// What is on the list.
    pub expected: Option<Expected>,
    /// What is wrong with that, if anything is.
    pub surprise: Option<String>,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portcullis => "Portcullis is right",
            Self::Both => "both may",
        })
    }
}

/// Every case of [`GUESTS`], with what is expected of it.
pub fn cases() -> Result<Vec<(Case, Option<Expected>)>, BuildError> {
    let mut cases = Vec::new();
    for guest in GUESTS {
        // Now, because cases that run at the same time in one process must not compile it at the same time.
        bare_metal::image(guest)?;
        for name in bare_metal::cases(guest)? {
            let expected = EXPECTATIONS.iter().find(|it| (it.guest, it.case) == (guest, &name));
            cases.push((Case::of(guest, &name), expected.map(|it| it.expected)));
        }
    }
    Ok(cases)
}

/// The list of differences as a table in Markdown.
pub fn table() -> String {
    let mut table = String::from("| Case | QEMU 10 | Section | By it |\n|---|---|---|---|\n");
    for Expectation { guest, case, expected } in EXPECTATIONS {
        // Writing to a string does not fail.
        let _ = match expected {
            Expected::Differs { section, right, why, .. } => {
                writeln!(table, "| `{guest}/{case}` | {why} | §{section} | {right} |")
            }
            Expected::Skipped(why) => writeln!(table, "| `{guest}/{case}` | not run: {why} | | |"),
        };
    }
    table
}

/// Runs a case, if it can be, and compares.
pub fn compare(qemu: &Counterpart, case: Case, expected: Option<Expected>) -> anyhow::Result<Verdict> {
    if let Some(Expected::Skipped(_)) = expected {
        return Ok(Verdict { case, passed: None, expected, surprise: None });
    }
    let run = qemu.run(&case)?;
    let surprise = match expected {
        None if !run.passed => {
            Some(format!("it differs, and no difference is listed. It said:\n{}", run.output))
        }
        Some(Expected::Differs { .. }) if run.passed => {
            Some("it passes, in spite of the difference listed".into())
        }
        Some(Expected::Differs { says, .. }) if !run.output.contains(says) => {
            Some(format!("it differs otherwise than listed, without `{says}`. It said:\n{}", run.output))
        }
        _ => None,
    };
    Ok(Verdict { case, passed: Some(run.passed), expected, surprise })
}

#[cfg(test)]
mod tests;
