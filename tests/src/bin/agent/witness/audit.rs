//! What the program under test finds itself when it is asked by its control socket: where the host's mappings that it
//! knows of differ from the guest's tables.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

/// How long the program may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// A connection to the control socket.
pub(super) struct Auditor(BufReader<UnixStream>);

/// A range that the program finds wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    kind: Kind,
    /// The first address, for the function.
    start: u64,
    /// Where the range ends; not part of it.
    end: u64,
    /// How far beyond its addresses the guest's memory is that they lead to.
    shift: u64,
    permissions: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Excess,
    Missing,
    Refused,
}

/// A line from the program.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Answer(Vec<Report>),
    Error(String),
    // Of what happens in the machine only that it is no answer matters.
    #[serde(untagged)]
    Event {
        #[serde(rename = "event")]
        _event: String,
    },
}

/// What it says of a function.
#[derive(Deserialize)]
struct Report {
    vfio: String,
    audit: String,
    #[serde(default)]
    excess: Vec<Extent>,
    #[serde(default)]
    missing: Vec<Extent>,
    #[serde(default)]
    refused: Vec<Extent>,
}

#[derive(Deserialize)]
struct Extent {
    iova: String,
    guest: String,
    length: u64,
    permissions: String,
}

impl Auditor {
    pub(super) fn connect(socket: &Path) -> anyhow::Result<Self> {
        let stream =
            UnixStream::connect(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// What is wrong with `functions`, which must be all that the guest has; nothing if the program has ended.
    pub(super) fn ask(&mut self, functions: &[&str]) -> anyhow::Result<Option<Vec<Finding>>> {
        if self.0.get_mut().write_all(b"{\"command\": \"audit\"}\n").is_err() {
            return Ok(None);
        }
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).context("no answer to the audit")? == 0 {
                return Ok(None);
            }
            if let Some(findings) = findings(&line, functions)? {
                return Ok(Some(findings));
            }
        }
    }
}

/// What a line says to be wrong; nothing if it is no answer.
fn findings(line: &str, functions: &[&str]) -> anyhow::Result<Option<Vec<Finding>>> {
    let garbled = || format!("garbled: {line}");
    let reports = match serde_json::from_str(line).with_context(garbled)? {
        Line::Event { .. } => return Ok(None),
        Line::Error(error) => bail!("the audit was refused: {error}"),
        Line::Answer(reports) => reports,
    };
    let names: Vec<_> = reports.iter().map(|report| report.vfio.as_str()).collect();
    ensure!(
        names.len() == functions.len() && functions.iter().all(|name| names.contains(name)),
        "{names:?} were audited, not {functions:?}"
    );
    let mut findings = Vec::new();
    for Report { audit, excess, missing, refused, .. } in reports {
        let before = findings.len();
        for (kind, extents) in [(Kind::Excess, excess), (Kind::Missing, missing), (Kind::Refused, refused)] {
            for extent in &extents {
                findings.push(Finding::new(kind, extent).with_context(garbled)?);
            }
        }
        match audit.as_str() {
            "exact" => ensure!(findings.len() == before, "exact, and yet: {line}"),
            "different" => ensure!(findings.len() > before, "different, and yet not: {line}"),
            other => bail!("there was no audit: {other}"),
        }
    }
    Ok(Some(findings))
}

impl Finding {
    fn new(kind: Kind, extent: &Extent) -> Option<Self> {
        let number = |text: &str| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok();
        let (start, guest) = (number(&extent.iova)?, number(&extent.guest)?);
        let end = start.saturating_add(extent.length);
        let permissions = extent.permissions.clone();
        (end > start).then_some(Self { kind, start, end, shift: guest.wrapping_sub(start), permissions })
    }

    /// The part of it that `other` finds as well.
    fn and(&self, other: &Self) -> Option<Self> {
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        let common = Self { start, end, ..self.clone() };
        (start < end && common == Self { start, end, ..other.clone() }).then_some(common)
    }
}

/// What is found both times.
pub(super) fn common(one: &[Finding], other: &[Finding]) -> Vec<Finding> {
    one.iter().flat_map(|finding| other.iter().filter_map(|other| finding.and(other))).collect()
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, start, end, shift, permissions } = self;
        let guest = start.wrapping_add(*shift);
        write!(f, "audit: {kind:?} {start:#x}..{end:#x} to the guest's {guest:#x}, {permissions}")
    }
}

#[cfg(test)]
mod tests;
