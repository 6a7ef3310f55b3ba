//! `cargo xtask conformance`: what the tests show of the specification, section by section.

use std::process::ExitCode;

use tests::conformance::{self, Entry};

#[derive(clap::Args)]
pub(crate) struct Conformance {
    /// Only these chapters or sections, as `6` or `6.5.2`; all if there are none.
    sections: Vec<String>,
}

impl Conformance {
    pub(crate) fn run(&self) -> anyhow::Result<ExitCode> {
        let sections = conformance::sections()?;
        let results = conformance::run()?;
        let (mut passed, mut failed, mut untested) = (0, 0, 0);
        for Entry { section, title, reason } in &sections {
            if !self.wanted(&section.to_string()) {
                continue;
            }
            println!("{section:<10}{title}");
            for (behaviour, ok) in results.iter().filter(|(behaviour, _)| behaviour.section == *section) {
                *if *ok { &mut passed } else { &mut failed } += 1;
                println!("    {}  {}", if *ok { "pass" } else { "FAIL" }, behaviour.text);
            }
            if let Some(reason) = reason {
                untested += 1;
                println!("    none  {reason}");
            }
        }
        let complaints = conformance::complaints(&sections, results.keys());
        for complaint in &complaints {
            println!("sections.txt: {complaint}");
        }
        println!(
            "\nSummary: {passed} behaviours passed, {failed} failed; {} sections, {untested} of them without a \
             test and with a reason",
            sections.len()
        );
        Ok(ExitCode::from(u8::from(failed > 0 || !complaints.is_empty())))
    }

    fn wanted(&self, section: &str) -> bool {
        let below = |wanted: &String| section == wanted || section.starts_with(&format!("{wanted}."));
        self.sections.is_empty() || self.sections.iter().any(below)
    }
}
