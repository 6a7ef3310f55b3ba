//! What a scenario leaves behind, and the ways to look at it.

use std::path::PathBuf;
use std::time::Duration;

use super::{NEVER_IN_GUEST, NEVER_IN_LEVEL1, Scenario};
use crate::level1::{Device, Disk, from_base64};

/// What a scenario left behind.
#[derive(Debug)]
pub struct Evidence {
    /// The VMM's output: the guest's console.
    pub guest: String,
    /// L1's kernel log since the scenario began, and what the scripts before and after printed.
    pub level1: String,
    /// The VMM's exit status.
    pub status: i32,
    /// From the VMM's start to its end.
    pub elapsed: Duration,
    /// The images behind L1's drives, as they are now.
    pub disks: Vec<Disk>,
    /// The SHA-256 of each image before the guest started.
    pub before: Vec<String>,
}

impl Evidence {
    /// The image behind `device`.
    pub fn image(&self, device: Device) -> Result<PathBuf, String> {
        let disk = self.disks.iter().find(|disk| disk.device == device);
        disk.map(|disk| disk.image.clone()).ok_or_else(|| format!("L1 has no {}", device.name()))
    }

    /// The ACPI tables the guest dumped: `@@ table NAME`, the content in base64, `@@ end of table`.
    pub fn dumped_tables(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut tables = Vec::new();
        for dump in self.guest.split("@@ table ").skip(1) {
            let (name, rest) = dump.split_once('\n').ok_or("a table is cut off")?;
            let (content, _) = rest.split_once("@@ end of table").ok_or("a table is cut off")?;
            let content = from_base64(content).ok_or_else(|| format!("table {name} is garbled"))?;
            tables.push((name.trim().to_owned(), content));
        }
        Ok(tables)
    }

    /// What the guest and L1 measured: the rest of the lines that begin with `@@ figure`.
    pub(super) fn figures(&self) -> Vec<String> {
        let lines = self.guest.lines().chain(self.level1.lines());
        lines.filter_map(|line| line.strip_prefix("@@ figure ")).map(|line| line.trim().to_owned()).collect()
    }

    /// Everything in which the scenario differs from what it must be.
    pub(super) fn problems(&self, scenario: &Scenario) -> Vec<String> {
        let mut problems = Vec::new();
        if self.status != scenario.status {
            let meaning = if matches!(self.status, 143 | 137) { " (out of time)" } else { "" };
            problems
                .push(format!("the VMM ended with status {}{meaning}, not {}", self.status, scenario.status));
        }
        for pattern in &scenario.appears {
            let pattern = self.with_checksums(pattern);
            if !self.guest.lines().any(|line| matches(line, &pattern)) {
                problems.push(format!("the guest never said: {pattern}"));
            }
        }
        for pattern in &scenario.level1_appears {
            let pattern = &self.with_checksums(pattern);
            if !self.level1.lines().any(|line| matches(line, pattern)) {
                problems.push(format!("L1 never said: {pattern}"));
            }
        }
        let tolerated = |pattern: &str| scenario.tolerated.iter().any(|it| it == pattern);
        let forbidden = NEVER_IN_GUEST.into_iter().filter(|it| !tolerated(it));
        for pattern in forbidden.chain(scenario.never.iter().map(String::as_str)) {
            if let Some(line) = self.guest.lines().find(|line| matches(line, pattern)) {
                problems.push(format!("the guest said: {}", line.trim()));
            }
        }
        for pattern in NEVER_IN_LEVEL1.into_iter().filter(|it| !tolerated(it)) {
            if let Some(line) = self.level1.lines().find(|line| matches(line, pattern)) {
                problems.push(format!("L1 said: {}", line.trim()));
            }
        }
        problems.extend(scenario.checks.iter().filter_map(|check| check(self).err()));
        problems
    }

    fn with_checksums(&self, pattern: &str) -> String {
        let mut pattern = pattern.to_owned();
        for (disk, before) in self.disks.iter().zip(&self.before) {
            let name = disk.device.name();
            pattern = pattern.replace(&format!("{{{name}-before.sha256}}"), before);
            let now = format!("{{{name}.sha256}}");
            if pattern.contains(&now) {
                pattern = pattern.replace(&now, &disk.sha256().unwrap_or_else(|error| error.to_string()));
            }
        }
        pattern
    }
}

/// Whether `line` contains the pieces of `pattern` between its asterisks, in that order.
fn matches(line: &str, pattern: &str) -> bool {
    let mut rest = line;
    for piece in pattern.split('*') {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

/// The first number that follows `words` in `text`.
pub fn number_after(text: &str, words: &str) -> Result<f64, String> {
    let after = text.split_once(words).ok_or_else(|| format!("nothing says: {words}"))?.1;
    let digits: String = after
        .chars()
        .skip_while(|c| !c.is_ascii_digit())
        .take_while(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    digits.trim_end_matches('.').parse().map_err(|_| format!("no number follows: {words}"))
}

/// The lines of a guest's kernel log that are warnings or worse, as `dmesg -r` marks them, but for those that every
/// guest prints on a processor of this kind, and the notice in a frame that a kernel with debugfs for IOMMUs prints.
pub fn warnings(log: &str) -> Vec<&str> {
    const USUAL: [&str; 5] = [
        "AMD Zen1",
        "Speculative Return Stack Overflow",
        "microcode",
        "kvm_intel: VMX not supported",
        "<4>**",
    ];
    log.lines()
        .filter(|line| {
            let mut start = line.bytes();
            start.next() == Some(b'<')
                && start.next().is_some_and(|c| (b'0'..=b'4').contains(&c))
                && start.next() == Some(b'>')
        })
        .filter(|line| line.len() > "<4>".len())
        .filter(|line| !USUAL.iter().any(|usual| line.contains(usual)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{matches, number_after, warnings};

    #[test]
    fn asterisks_stand_for_anything() {
        assert!(matches(" 25: 10 IR-PCI-MSIX-0000:00:01.0 nvme0q0", "IR-PCI-MSIX*nvme0q"));
        assert!(!matches("nvme0q0 IR-PCI-MSIX", "IR-PCI-MSIX*nvme0q"));
        assert!(matches("anything", ""));
    }

    #[test]
    fn numbers_are_found() {
        assert_eq!(number_after("x @@ userspace 3.81\n", "@@ userspace"), Ok(3.81));
        assert!(number_after("x", "@@ userspace").is_err());
    }

    #[test]
    fn warnings_are_told_from_other_lines() {
        let log = "<6>[ 0.1] fine\n<4>[ 0.2] bad\n<5>[ 0.3] AMD Zen1\n<4>[ 0.4] AMD Zen1 DIV0\n<x>no\n";
        assert_eq!(warnings(log), ["<4>[ 0.2] bad"]);
        let notice = "<4>\n<4>****\n<4>** NOTICE **\n<4>****\n";
        assert!(warnings(notice).is_empty());
    }
}
