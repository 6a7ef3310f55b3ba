//! The project's own commands: `cargo xtask …`.
use std::time::Duration;
use tests::guest::*;
fn main() {
    let parts = tests::parts::Parts::open().unwrap();
    let mut config = tests::level1::Config::default();
    config.contents.peer = true;
    config.contents.guest = Some(tests::parts::Kernel::Debian);
    let t = std::time::Instant::now();
    let mut l = tests::level1::Level1::boot(&parts, &config, std::path::Path::new("target/rig/try"))
        .unwrap_or_else(|e| panic!("{e}"));
    eprintln!("boot {:?}", t.elapsed());
    for _ in 0..2 {
        for a in ["intel_iommu=on iommu.strict=1", "intel_iommu=on iommu=pt"] {
            let g = Guest::new("cat /proc/interrupts; sha256sum /dev/nvme0n1; time dd if=/dev/nvme0n1 of=/dev/null bs=4k count=2000 iflag=direct; ls /sys/kernel/iommu_groups | wc -l").run_by(Vmm::Qemu).assign("0000:00:05.0").cmdline(a);
            let o = l.run(&g.job(), Duration::from_secs(60)).unwrap_or_else(|e| panic!("{e}"));
            println!("{}\n== {} {:?}", o.text, o.status, o.elapsed);
        }
    }
    println!("{}", l.disks()[0].sha256().unwrap());
}
