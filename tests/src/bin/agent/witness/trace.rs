//! What the guest told its remapping unit, from L1's own trace of its writes to the unit's registers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

const INSTANCES: &str = "/sys/kernel/tracing/instances";
/// The unit's Global Command register, and its bits Translation Enable and Set Root Table Pointer.
const GLOBAL_COMMAND: u64 = 0xfed9_0018;
const TRANSLATION_ENABLE: u64 = 1 << 31;
const SET_ROOT_TABLE: u64 = 1 << 30;
/// The unit's Root Table Address register.
const ROOT_TABLE: u64 = 0xfed9_0020;

/// How the guest set its unit up.
pub(super) struct Unit {
    /// Whether it translates; otherwise DMA goes through as it is.
    pub(super) translates: bool,
    /// What it takes for its Root Table Address register.
    pub(super) root: u64,
}

/// A trace of our own beside that of anybody else.
pub(super) struct Trace(PathBuf);

impl Trace {
    pub(super) fn start() -> anyhow::Result<Self> {
        let folder = Path::new(INSTANCES).join("witness");
        if folder.exists() {
            fs::remove_dir(&folder).context("another witness is at work")?;
        }
        fs::create_dir(&folder).context("L1 has no trace")?;
        let trace = Self(folder);
        let event = "events/kvm/kvm_mmio";
        // Of writes only, which are type 2.
        let filter = format!("type == 2 && (gpa == {GLOBAL_COMMAND:#x} || gpa == {ROOT_TABLE:#x})");
        trace.write("buffer_size_kb", "256")?;
        trace.write(&format!("{event}/filter"), &filter)?;
        trace.write(&format!("{event}/enable"), "1")?;
        trace.write("tracing_on", "1")?;
        Ok(trace)
    }

    fn write(&self, name: &str, value: &str) -> anyhow::Result<()> {
        fs::write(self.0.join(name), value).with_context(|| format!("cannot set up L1's trace: {name}"))
    }

    pub(super) fn translation_is_on(&self) -> anyhow::Result<bool> {
        Ok(self.unit()?.translates)
    }

    /// The unit as it is now.
    pub(super) fn unit(&self) -> anyhow::Result<Unit> {
        let text = fs::read_to_string(self.0.join("trace"))?;
        ensure!(!text.contains("LOST"), "L1's trace has lost events");
        Ok(replay(&text))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.write("events/kvm/kvm_mmio/enable", "0").ok();
        fs::remove_dir(&self.0).ok();
    }
}

/// Follows the writes of a trace.
fn replay(text: &str) -> Unit {
    let mut unit = Unit { translates: false, root: 0 };
    let mut next = 0;
    for line in text.lines() {
        let Some((_, write)) = line.split_once("mmio write ") else { continue };
        let field = |name: &str| {
            let digits = write.split_once(name)?.1.split_whitespace().next()?;
            u64::from_str_radix(digits.trim_start_matches("0x"), 16).ok()
        };
        match (field("gpa "), field("val "), field("len ")) {
            (Some(ROOT_TABLE), Some(value), Some(8)) => next = value,
            (Some(ROOT_TABLE), Some(value), _) => next = next & !0xffff_ffff | value,
            (Some(GLOBAL_COMMAND), Some(value), _) => {
                unit.translates = value & TRANSLATION_ENABLE != 0;
                if value & SET_ROOT_TABLE != 0 {
                    unit.root = next;
                }
            }
            _ => {}
        }
    }
    unit
}

#[cfg(test)]
mod tests {
    use super::replay;

    #[test]
    fn the_root_table_counts_from_the_command_on() {
        let trace = "\
 portcullis-1 [000] 1.0: kvm_mmio: mmio write len 8 gpa 0xfed90020 val 0x1234000\n\
 portcullis-1 [000] 1.0: kvm_mmio: mmio write len 4 gpa 0xfed90018 val 0x40000000\n\
 portcullis-1 [000] 1.0: kvm_mmio: mmio write len 8 gpa 0xfed90020 val 0x5678400\n";
        let unit = replay(trace);
        assert_eq!((unit.translates, unit.root), (false, 0x0123_4000));
        let on = " portcullis-1 [000] 1.0: kvm_mmio: mmio write len 4 gpa 0xfed90018 val 0xc0000000\n";
        let unit = replay(&format!("{trace}{on}"));
        assert_eq!((unit.translates, unit.root), (true, 0x0567_8400));
    }
}
