//! The conformance tests of the `iommu` crate beside the sections of the specification that they check.
//!
//! A test in `iommu/tests/conformance` has its section in its name; `sections.txt` beside them lists every section,
//! and says of one that has no test why not. [`complaints`] says where the two do not fit.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{fmt, fs, io};

use crate::program::workspace;

/// A section's number: `6.5.2.3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Section(Vec<u32>);

/// One section of the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub section: Section,
    /// Its title.
    pub title: String,
    /// Why it has no test, if it is to have none.
    pub reason: Option<String>,
}

/// A test as its name tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Behaviour {
    /// The section that demands it.
    pub section: Section,
    /// What is demanded.
    pub text: String,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum ConformanceError {
    /// A file or a program cannot be used.
    #[error("Cannot use {0}")]
    Io(PathBuf, #[source] io::Error),
    /// A line of `sections.txt` is not as it should be.
    #[error("Cannot understand this line of sections.txt: {0}")]
    Line(String),
    /// The tests do not build, or say nothing.
    #[error("The tests did not run")]
    Silent,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(u32::to_string).collect();
        f.pad(&numbers.join("."))
    }
}

impl Section {
    fn parse(text: &str) -> Option<Self> {
        text.split('.').map(|number| number.parse().ok()).collect::<Option<_>>().map(Self)
    }

    /// Whether `other` is a part of this section.
    fn contains(&self, other: &Self) -> bool {
        other.0.len() > self.0.len() && other.0.starts_with(&self.0)
    }
}

impl Behaviour {
    /// Reads a test's name, with or without the module's before it: `s6_5_2_3_domain_selective_drops_its_domain`.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.rsplit("::").next()?.strip_prefix('s')?;
        let words: Vec<_> = name.split('_').collect();
        let numbers: Vec<u32> = words.iter().map_while(|word| word.parse().ok()).collect();
        let text = words[numbers.len()..].join(" ");
        (!numbers.is_empty() && !text.is_empty()).then_some(Self { section: Section(numbers), text })
    }
}

fn folder() -> PathBuf {
    workspace().join("iommu/tests/conformance")
}

/// The list of sections.
pub fn sections() -> Result<Vec<Entry>, ConformanceError> {
    let path = folder().join("sections.txt");
    let text = fs::read_to_string(&path).map_err(|error| ConformanceError::Io(path, error))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| entry(line).ok_or_else(|| ConformanceError::Line(line.to_owned()))).collect()
}

fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.split(" | ");
    let section = Section::parse(fields.next()?)?;
    let title = fields.next()?.to_owned();
    let reason = fields.next().map(str::to_owned);
    fields.next().is_none().then_some(Entry { section, title, reason })
}

/// The tests there are, by their sources.
pub fn behaviours() -> Result<Vec<Behaviour>, ConformanceError> {
    let mut tests = Vec::new();
    for file in fs::read_dir(folder()).map_err(|error| ConformanceError::Io(folder(), error))? {
        let path = file.map_err(|error| ConformanceError::Io(folder(), error))?.path();
        if path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|error| ConformanceError::Io(path, error))?;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let name = (line == "#[test]").then(|| lines.next()).flatten();
            let name = name.and_then(|line| line.strip_prefix("fn ")?.strip_suffix("() {"));
            tests.extend(name.and_then(Behaviour::parse));
        }
    }
    tests.sort();
    Ok(tests)
}

/// Runs the tests; each with whether it passed.
pub fn run() -> Result<BTreeMap<Behaviour, bool>, ConformanceError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(&cargo)
        .args(["test", "--quiet", "--package", "iommu", "--test", "conformance", "--"])
        .args(["--format", "pretty", "--color", "never"])
        .current_dir(workspace())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| ConformanceError::Io(cargo.into(), error))?;
    let results = results(&String::from_utf8_lossy(&output.stdout));
    if results.is_empty() { Err(ConformanceError::Silent) } else { Ok(results) }
}

/// What the harness says of each test.
fn results(output: &str) -> BTreeMap<Behaviour, bool> {
    let result = |line: &str| {
        let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
        Some((Behaviour::parse(name)?, verdict == "ok"))
    };
    output.lines().filter_map(result).collect()
}

/// What stands against the list of sections, given the tests there are: it is whole, and says nothing that is not so.
pub fn complaints<'a>(
    sections: &[Entry],
    tests: impl IntoIterator<Item = &'a Behaviour> + Clone,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for pair in sections.windows(2).filter(|pair| pair[0].section >= pair[1].section) {
        complaints.push(format!("{} stands before {}", pair[0].section, pair[1].section));
    }
    for Entry { section, title, reason } in sections {
        let tested = tests.clone().into_iter().any(|test| test.section == *section);
        let divided = sections.iter().any(|other| section.contains(&other.section));
        match reason {
            Some(reason) if tested => {
                complaints.push(format!("{section} {title} has a test, in spite of: {reason}"));
            }
            None if !tested && !divided => {
                complaints.push(format!("{section} {title} has neither a test nor a reason"));
            }
            _ => {}
        }
    }
    for test in tests {
        if !sections.iter().any(|entry| entry.section == test.section) {
            complaints
                .push(format!("{} is not in sections.txt, but has a test: {}", test.section, test.text));
        }
    }
    complaints
}

#[cfg(test)]
mod tests;
