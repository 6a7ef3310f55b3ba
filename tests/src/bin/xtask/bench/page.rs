//! The page that says what has been measured.

use std::fmt;
use std::time::Duration;

use tests::guest::{Backend, Vmm};
use tests::parts::Kernel;

use super::measurement::Measurements;
use super::variant::Variant;

/// How a page with figures came about.
pub(super) struct Facts {
    pub(super) day: String,
    pub(super) machine: String,
    pub(super) rounds: u32,
    pub(super) boots: u32,
    pub(super) kernel: Kernel,
    pub(super) taken: Duration,
}

/// The page.
pub(super) struct Page<'a> {
    pub(super) measurements: &'a Measurements,
    pub(super) variants: &'a [Variant],
    pub(super) facts: Facts,
}

/// A line of the table.
struct Row {
    says: &'static str,
    scenario: &'static str,
    metric: &'static str,
    unit: Unit,
    floor: Floor,
    aim: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Microseconds,
    Calls,
    Ram,
}

/// What of a figure is the host's own, whoever asks.
#[derive(Clone, Copy, PartialEq)]
enum Floor {
    None,
    /// A guest that announces a page, and then its end, to a VMM that does nothing but call the host.
    Pair,
}

const fn row(says: &'static str, scenario: &'static str, metric: &'static str, unit: Unit) -> Row {
    Row { says, scenario, metric, unit, floor: Floor::None, aim: "" }
}

impl Row {
    const fn less_floor(mut self) -> Self {
        self.floor = Floor::Pair;
        self
    }

    const fn aim(mut self, aim: &'static str) -> Self {
        self.aim = aim;
        self
    }
}

const ROWS: [Row; 17] = {
    const EXTRA: &str = "≤ 0.40 of QEMU's";
    const FEW: &str = "≤ 0.25 of QEMU's";
    use Unit::{Calls, Microseconds, Ram};
    [
        row("a page mapped and unmapped ¹", "own guest", "page", Microseconds).less_floor().aim(EXTRA),
        row("what translation adds to a read of 4 KiB ¹", "Linux", "4096 bytes, extra", Microseconds)
            .less_floor(),
        row("a read of 4 KiB, translated", "Linux", "4096 bytes, strict", Microseconds),
        row("a read of 4 KiB, passed through", "Linux", "4096 bytes, pass-through", Microseconds),
        row("128 KiB in one piece mapped and unmapped ¹", "own guest", "buffer", Microseconds).less_floor(),
        row("128 KiB in 32 pieces mapped and unmapped", "own guest", "scattered buffer", Microseconds),
        row("what translation adds to a read of 128 KiB ¹", "Linux", "131072 bytes, extra", Microseconds)
            .less_floor(),
        row("host calls for 128 KiB in one piece", "own guest", "buffer, calls", Calls).aim(FEW),
        row("host calls for 128 KiB in 32 pieces", "own guest", "scattered buffer, calls", Calls),
        row("host calls for a read of 128 KiB", "Linux", "131072 bytes, host calls that map", Calls).aim(FEW),
        row("host calls for a read of 4 KiB", "Linux", "4096 bytes, host calls that map", Calls),
        row("exits to user space for a read of 4 KiB", "Linux", "4096 bytes, exits", Calls),
        row("locked memory, four drives reach all of RAM", "four drives", "locked memory", Ram)
            .aim("≤ 1.05 × RAM, iommufd"),
        row("domain flush, nothing changed, host calls", "own guest", "flush, calls", Calls).aim("0"),
        row("domain flush, nothing changed, 1 GiB in pages of 2 MiB", "own guest", "flush", Microseconds),
        row("the same, 64 MiB in pages of 4 KiB", "own guest", "flush of small pages", Microseconds),
        row("the same, host calls", "own guest", "flush of small pages, calls", Calls).aim("0"),
    ]
};

impl Page<'_> {
    fn median(&self, variant: Variant, row: &Row) -> Option<f64> {
        self.measurements.median_of(row.scenario, variant.name(), row.metric)
    }

    fn floor(&self, variant: Variant, floor: Floor) -> Option<f64> {
        if floor == Floor::None {
            return Some(0.0);
        }
        let interface = if variant.backend == Backend::Iommufd { "iommufd" } else { "type1" };
        let of_host = |metric| self.measurements.median_of("floor", "host", metric);
        of_host(interface)
    }

    /// The figure of `variant` over that of its peer, both less the floor; none where nothing is left of one.
    fn ratio(&self, variant: Variant, row: &Row) -> Option<f64> {
        let less = |variant| Some(self.median(variant, row)? - self.floor(variant, row.floor)?);
        let (own, peers) = (less(variant)?, less(variant.peer())?);
        (own >= 0.0 && peers > 0.0).then_some(own / peers)
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| |")?;
        for variant in self.variants {
            write!(f, " {} |", variant.name())?;
            if variant.vmm == Vmm::Portcullis {
                write!(f, " of QEMU's |")?;
            }
        }
        writeln!(f, " aim |")?;
        write!(f, "|---|")?;
        for variant in self.variants {
            write!(f, "---:|{}", if variant.vmm == Vmm::Portcullis { "---:|" } else { "" })?;
        }
        writeln!(f, "---|")?;
        for row in &ROWS {
            if !self.variants.iter().any(|variant| self.median(*variant, row).is_some()) {
                continue;
            }
            write!(f, "| {} |", row.says)?;
            for &variant in self.variants {
                let text = self.median(variant, row).map_or("–".into(), |value| row.unit.show(value));
                write!(f, " {text} |")?;
                if variant.vmm == Vmm::Portcullis {
                    let ratio = self.ratio(variant, row).map_or(String::new(), |ratio| format!("{ratio:.2}"));
                    write!(f, " {ratio} |")?;
                }
            }
            writeln!(f, " {} |", row.aim)?;
        }
        Ok(())
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Microseconds => format!("{:.0} µs", value * 1e6),
            Self::Calls => format!("{value:.1}"),
            Self::Ram => format!("{value:.2} × RAM"),
        }
    }
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts { day, machine, rounds, boots, kernel, taken } = &self.facts;
        let times = if *boots == 1 { "once".to_owned() } else { format!("{boots} times") };
        let minutes = taken.as_secs_f64() / 60.0;
        let kernel = match kernel {
            Kernel::Iommufd => "built from `resources/rig/first-level-kernel.fragment`",
            _ => "Debian's",
        };
        write!(
            f,
            "# What it takes to have the host follow a guest's tables\n\n\
             `cargo xtask bench-shadow --write docs/shadow-speed.md` wrote this page on {day} ({machine}; {minutes:.1} \
             minutes).\n\n\
             An L1 of the rig, booted {times}, whose kernel is {kernel}, runs Portcullis and QEMU 10 in turns, {rounds} \
             times each; the figures are medians. L1 is emulated, so only ratios mean anything: \"of QEMU's\" is \
             Portcullis' figure over that of QEMU by the same interface of the kernel. Both have the same guests, of \
             one processor and with one NVMe drive assigned, behind a unit with caching mode.\n\n"
        )?;
        self.table(f)?;
        write!(
            f,
            "\n¹ For the ratio, the floor is taken off both: what is left of a VMM that does nothing but pass each \
             announcement of a page on to the host, with a guest that does nothing but announce (`agent floor follow`)."
        )?;
        let floor =
            |metric| self.measurements.median_of("floor", "host", metric).map(|seconds| seconds * 1e6);
        if let Some(pair) = floor("type1") {
            write!(f, " That takes {pair:.0} µs by type1")?;
            if let Some(pair) = floor("iommufd") {
                write!(f, " and {pair:.0} µs by iommufd")?;
            }
            write!(f, ".")?;
        }
        writeln!(f)?;
        f.write_str(EXPLANATION)
    }
}

const EXPLANATION: &str = "
- Where no Linux is named, the guest is `tests/guests/assigned.c`: it writes table entries, a descriptor for the range, a
  wait and the tail register, and waits for the status; then the same to unmap. Linux is Debian's 6.12, which reads the
  drive with `O_DIRECT`; what translation adds is the difference to reads of the same guest after its drive has been put
  into an identity domain.
- No ratio stands where a figure is below the floor.
- All VMMs run on L1's first processor. On the second, KVM writes a register before each entry and after each exit: what
  a VMM takes would depend on where it happened to run.
- What comes first is not counted, since L1's emulator translates code that it meets for the first time.
- Host calls are the `ioctl`s that map, copy or unmap, counted apart from what is timed: the kernel tells of every `ioctl`
  by way of a seccomp filter (`agent calls`).
- A read of 128 KiB takes two host calls where the guest's buffer happens to lie in one piece, and one for each piece and
  one more where it does not; QEMU's are two for each page.
- Locked memory is `VmLck` and `VmPin` of the VMM: what type1 and iommufd charge for.
- During the domain flushes 1 GiB stays mapped, or 64 MiB in small pages: type1 takes no more than 65 535 mappings.
";
