//! The kernels that run in L1 and L2.

use std::path::{Path, PathBuf};

use super::{Modules, Override, PartError, Parts, Result, file_error, kernel_build};

pub(super) const IMAGE: Override = Override {
    variable: "PORTCULLIS_KERNEL",
    meaning: "a Linux 6.12 bzImage (for L1 and L2) with NVMe built in",
};
pub(super) const MODULES: Override = Override {
    variable: "PORTCULLIS_MODULES",
    meaning: "the /lib/modules/VERSION of that kernel, with KVM and VFIO",
};
pub(super) const NEWEST_IMAGE: Override = Override {
    variable: "PORTCULLIS_NEWEST_KERNEL",
    meaning: "a bzImage of the newest Linux (for L2) with NVMe built in",
};
pub(super) const NEWEST_MODULES: Override =
    Override { variable: "PORTCULLIS_NEWEST_MODULES", meaning: "the /lib/modules/VERSION of that kernel" };
pub(super) const IOMMUFD_IMAGE: Override = Override {
    variable: "PORTCULLIS_IOMMUFD_KERNEL",
    meaning: "a bzImage built with resources/rig/first-level-kernel.fragment",
};

/// Which kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernel {
    /// Debian's 6.12 for clouds: NVMe built in; KVM, VFIO and type1 as modules; no iommufd.
    #[default]
    Debian,
    /// Debian's newest for clouds.
    Newest,
    /// Debian's newest source with what no Debian kernel has, all built in: iommufd, posted interrupts, tests of
    /// suspend, and the probe's driver for shared virtual addressing.
    Iommufd,
}

/// A kernel and its modules.
#[derive(Debug)]
pub struct KernelImage {
    /// The bzImage.
    pub image: PathBuf,
    /// Its modules, if it has any.
    pub modules: Option<Modules>,
}

impl Parts {
    /// The kernel `which`.
    pub fn kernel(&self, which: Kernel) -> Result<KernelImage> {
        match which {
            Kernel::Debian => self.debian_kernel(),
            Kernel::Newest => self.newest_kernel(),
            Kernel::Iommufd => self.iommufd_kernel(),
        }
    }

    fn iommufd_kernel(&self) -> Result<KernelImage> {
        if let Some(image) = IOMMUFD_IMAGE.path() {
            return Ok(KernelImage { image, modules: None });
        }
        let busybox = self.busybox()?;
        let folder = self.part(&kernel_build::name(), |apt, to| kernel_build::build(apt, &busybox, to))?;
        Ok(KernelImage { image: folder.join("bzImage"), modules: None })
    }

    fn newest_kernel(&self) -> Result<KernelImage> {
        let busybox = self.busybox()?;
        if let Some(image) = NEWEST_IMAGE.path() {
            let modules =
                NEWEST_MODULES.path().map(|folder| Modules::in_folder(&folder, &busybox)).transpose()?;
            return Ok(KernelImage { image, modules });
        }
        let folder = self.part("linux-newest", |apt, to| {
            let image = apt.newest_behind_meta_package("linux-image-cloud-amd64")?;
            let packages =
                ["linux-binary-", "linux-modules-"].map(|kind| image.replace("linux-image-", kind));
            apt.unpack(&packages.each_ref().map(String::as_str), to)
        })?;
        let modules = folder.join("usr/lib/modules");
        let version = std::fs::read_dir(&modules)
            .map_err(file_error("cannot read", &modules))?
            .flatten()
            .next()
            .ok_or_else(|| PartError::Unavailable(format!("no kernel in {}", modules.display())))?;
        let modules = Modules::in_folder(&version.path(), &busybox)?;
        Ok(KernelImage { image: image_in(&version.path())?, modules: Some(modules) })
    }

    fn debian_kernel(&self) -> Result<KernelImage> {
        let busybox = self.busybox()?;
        if let Some(image) = IMAGE.path() {
            let modules = MODULES.path().map(|folder| Modules::in_folder(&folder, &busybox)).transpose()?;
            return Ok(KernelImage { image, modules });
        }
        let folder = self.part("linux-debian", |apt, to| {
            let package = apt.behind_meta_package("linux-image-6.12-cloud-amd64")?;
            apt.unpack(&[&package], to)
        })?;
        let modules = Modules::in_folder(&folder.join("lib/modules"), &busybox)?;
        Ok(KernelImage { image: image_in(&folder.join("boot"))?, modules: Some(modules) })
    }
}

fn image_in(folder: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder).map_err(file_error("cannot read", folder))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")))
        .ok_or_else(|| PartError::Unavailable(format!("no kernel in {}", folder.display())))
}
