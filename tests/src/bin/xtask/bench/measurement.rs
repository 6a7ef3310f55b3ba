//! Samples, their medians, and the two ways of showing them.

use serde::Serialize;

/// One thing measured, several times.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measurement {
    scenario: String,
    vmm: String,
    metric: String,
    unit: String,
    samples: Vec<f64>,
    median: f64,
}

/// Everything measured, in the order in which it first was.
#[derive(Default)]
pub(super) struct Measurements(Vec<Measurement>);

impl Measurements {
    /// Adds one sample.
    pub(super) fn add(&mut self, scenario: &str, vmm: &str, metric: &str, unit: &str, sample: f64) {
        let same = |it: &&mut Measurement| it.scenario == scenario && it.vmm == vmm && it.metric == metric;
        if let Some(known) = self.0.iter_mut().find(same) {
            known.samples.push(sample);
            known.median = median(&known.samples);
        } else {
            let [scenario, vmm, metric, unit] = [scenario, vmm, metric, unit].map(str::to_owned);
            self.0.push(Measurement { scenario, vmm, metric, unit, samples: vec![sample], median: sample });
        }
    }

    /// The median of one thing, if it was measured.
    pub(super) fn median_of(&self, scenario: &str, vmm: &str, metric: &str) -> Option<f64> {
        let same = |it: &&Measurement| it.scenario == scenario && it.vmm == vmm && it.metric == metric;
        self.0.iter().find(same).map(|it| it.median)
    }

    /// All of them.
    pub(super) fn list(&self) -> &[Measurement] {
        &self.0
    }

    /// Prints medians as a table, with the ratio to QEMU's.
    pub(super) fn print(&self) {
        println!(
            "{:<14} {:<28} {:<12} {:>14} {:>16}",
            "scenario", "metric", "vmm", "median", "against QEMU's"
        );
        for it in &self.0 {
            let peer = |other: &&Measurement| {
                other.vmm == "qemu" && other.scenario == it.scenario && other.metric == it.metric
            };
            let ratio = self.0.iter().find(peer).filter(|_| it.vmm != "qemu");
            let ratio = ratio.map_or(String::new(), |peer| format!("{:.2}", it.median / peer.median));
            let digits = if it.unit == "s" { 6 } else { 0 };
            let value = format!("{:.digits$} {}", it.median, it.unit);
            println!("{:<14} {:<28} {:<12} {value:>14} {ratio:>16}", it.scenario, it.metric, it.vmm);
        }
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0]) - 2.5).abs() < 1e-9);
    }
}
