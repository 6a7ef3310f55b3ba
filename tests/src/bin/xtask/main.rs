//! The project's own commands: `cargo xtask …`.
fn main() {
    let parts = tests::parts::Parts::open().unwrap();
    println!("{:?}", parts.busybox());
    println!("{:?}", parts.qemu().map(|q| q.command()));
    let k = parts.kernel(Default::default()).unwrap();
    println!("{:?}", k.image);
    for (n, c) in k.modules.unwrap().with_dependencies(&["kvm-amd", "vfio-pci", "vfio_iommu_type1"]).unwrap()
    {
        println!("{n} {}", c.len());
    }
    println!("{}", parts.peer().unwrap().len());
}
