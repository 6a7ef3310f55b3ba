//! L2: the guest under test, and the command line of the VMM that runs it in L1.

use crate::cpio::Archive;
use crate::level1::base64;

/// Who runs the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vmm {
    /// The program under test.
    Portcullis,
    /// QEMU as L1's VMM, to compare with and to prove the rig itself.
    Qemu,
}

/// What the guest's IOMMU does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Viommu {
    /// Translates DMA and remaps interrupts, in legacy mode.
    #[default]
    On,
    /// There is none.
    Off,
}

/// By which of the kernel's interfaces the VMM has the host map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The one that the VMM chooses by itself.
    #[default]
    Own,
    /// VFIO's type 1.
    Type1,
    /// iommufd.
    Iommufd,
}

/// A device that the VMM emulates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emulated {
    /// An `edu` in a slot of the root bus, whose DMA reaches the addresses under a mask.
    Edu {
        /// Its slot and function, as in `04.0`.
        place: String,
        /// Its mask.
        mask: u64,
    },
    /// A probe in a slot of the root bus; Portcullis only.
    Probe {
        /// Its slot and function.
        place: String,
    },
    /// A virtio disk.
    Disk {
        /// Its image, a file of L1.
        image: String,
    },
}

/// A guest and its VMM.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Who runs it.
    pub vmm: Vmm,
    /// Its kernel if that is one of our own for bare metal: a file of L1.
    pub image: Option<String>,
    /// Its processors.
    pub cpus: u32,
    /// Its memory in MiB.
    pub memory: u32,
    /// Whether it has an IOMMU.
    pub viommu: Viommu,
    /// Added to its kernel command line.
    pub cmdline: String,
    /// L1's addresses of the functions assigned to it, and where each is to be after a comma.
    pub assigned: Vec<String>,
    /// How the host maps for them.
    pub backend: Backend,
    /// Devices that its VMM emulates.
    pub emulated: Vec<Emulated>,
    /// Added to the VMM's command line.
    pub options: Vec<String>,
    /// Whether its own kernel and initial file system lie in `/guest` for it to start once more.
    pub carries_itself: bool,
    /// Whether it has what it takes to run a guest of its own.
    pub hosts: bool,
    /// A command, with its arguments, that runs the VMM.
    pub wrapper: String,
    /// What its first process runs, a shell script.
    pub script: String,
}

impl Guest {
    /// A guest of Portcullis with one processor and 1 GiB, strict translation, and `script` to run.
    pub fn new(script: impl Into<String>) -> Self {
        Self {
            vmm: Vmm::Portcullis,
            image: None,
            cpus: 1,
            memory: 1024,
            viommu: Viommu::On,
            cmdline: "intel_iommu=on iommu.strict=1".into(),
            assigned: Vec::new(),
            backend: Backend::Own,
            emulated: Vec::new(),
            options: Vec::new(),
            carries_itself: false,
            hosts: false,
            wrapper: String::new(),
            script: script.into(),
        }
    }

    /// A guest of our own for bare metal, which is the file `image` of L1, with its case and the arguments to that.
    pub fn bare_metal(image: &str, case: &str) -> Self {
        Self { image: Some(image.to_owned()), cmdline: case.to_owned(), ..Self::new("") }
    }

    /// The same guest run by `vmm`.
    #[must_use]
    pub fn run_by(mut self, vmm: Vmm) -> Self {
        self.vmm = vmm;
        self
    }

    /// With `count` processors.
    #[must_use]
    pub fn cpus(mut self, count: u32) -> Self {
        self.cpus = count;
        self
    }

    /// With `mebibytes` of memory.
    #[must_use]
    pub fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// With `words` on the kernel's command line in place of strict translation.
    #[must_use]
    pub fn cmdline(mut self, words: &str) -> Self {
        words.clone_into(&mut self.cmdline);
        self
    }

    /// Without an IOMMU.
    #[must_use]
    pub fn without_iommu(mut self) -> Self {
        self.viommu = Viommu::Off;
        self
    }

    /// With the remapping unit's `profile`, as the command line names it; Portcullis only.
    #[must_use]
    pub fn profile(self, profile: &str) -> Self {
        self.option(&format!("--iommu-profile {profile}"))
    }

    /// With `features` added to the profile or taken from it, such as `+posted-interrupts`; Portcullis only.
    #[must_use]
    pub fn features(self, features: &str) -> Self {
        self.option(&format!("--iommu-features {features}"))
    }

    /// With L1's function at `address` assigned to it; where in the guest may follow after a comma.
    #[must_use]
    pub fn assign(mut self, address: &str) -> Self {
        self.assigned.push(address.to_owned());
        self
    }

    /// With the host's mappings made by way of `backend`.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// With a device that its VMM emulates.
    #[must_use]
    pub fn emulate(mut self, device: Emulated) -> Self {
        self.emulated.push(device);
        self
    }

    /// With `option` on Portcullis's command line, as one or more words.
    #[must_use]
    pub fn option(mut self, option: &str) -> Self {
        self.options.extend(option.split_whitespace().map(str::to_owned));
        self
    }

    /// With its own kernel and initial file system in `/guest`.
    #[must_use]
    pub fn carrying_itself(mut self) -> Self {
        self.carries_itself = true;
        self
    }

    /// Running `guest` in its turn, after its own script, from the same kernel and initial file system. Lines of that
    /// guest's console begin with `[L3]`.
    #[must_use]
    pub fn hosting(mut self, guest: &Self) -> Self {
        self.hosts = true;
        self.script = format!(
            "{}\nulimit -l unlimited\nset -o pipefail\n(\n{}) </dev/null 2>&1 | awk '{{ print \"[L3] \" $0; fflush() }}'\n",
            self.script,
            guest.job()
        );
        self.carrying_itself()
    }

    /// With `script` behind its own.
    #[must_use]
    pub fn then(mut self, script: &str) -> Self {
        self.script.push_str(script);
        self
    }

    /// With the VMM run by another command.
    #[must_use]
    pub fn under(mut self, wrapper: &str) -> Self {
        wrapper.clone_into(&mut self.wrapper);
        self
    }

    /// The shell script that runs it in L1. The VMM's exit status is the script's.
    pub fn job(&self) -> String {
        format!(
            "{}for bdf in {}; do bind_vfio $bdf || exit 99; done\n\
             exec {} {} 2>&1\n",
            if self.image.is_none() { self.files() } else { String::new() },
            self.assigned.iter().filter_map(|spec| spec.split(',').next()).collect::<Vec<_>>().join(" "),
            self.wrapper,
            self.command()
        )
    }

    /// What of that script makes its initial file system.
    fn files(&self) -> String {
        let mut archive = Archive::new();
        archive.file("script", 0o644, self.script.as_bytes());
        let archive = base64(&archive.finish());
        let itself = if self.carries_itself {
            "; cd /; ls -d guest guest/kernel guest/initrd | cpio -o -H newc 2>/dev/null"
        } else {
            ""
        };
        let host = if self.hosts { " /guest/host" } else { "" };
        format!("( cat /guest/initrd{host}; echo {archive} | base64 -d{itself} ) >/run/guest.initrd\n")
    }

    /// The VMM's command line, for a shell.
    pub fn command(&self) -> String {
        let mut words = match self.vmm {
            Vmm::Portcullis => self.portcullis(),
            Vmm::Qemu => self.qemu(),
        };
        words.extend(self.options.iter().cloned());
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }

    fn kernel_command_line(&self) -> String {
        if self.image.is_some() {
            return self.cmdline.clone();
        }
        format!("console=ttyS0 quiet panic=-1 {}", self.cmdline)
    }

    /// The option for the kernel and that for the initial file system, called so.
    fn software(&self, kernel: &str, initrd: &str) -> Vec<String> {
        match &self.image {
            Some(image) => [kernel, image].map(str::to_owned).into(),
            None => [kernel, "/guest/kernel", initrd, "/run/guest.initrd"].map(str::to_owned).into(),
        }
    }

    fn portcullis(&self) -> Vec<String> {
        let mut words: Vec<String> = ["portcullis", "run"].map(str::to_owned).into();
        words.extend(self.software("--kernel", "--initrd"));
        let mut add = |name: &str, value: String| words.extend([name.to_owned(), value]);
        add("--cmdline", self.kernel_command_line());
        add("--cpus", self.cpus.to_string());
        add("--memory", format!("{}M", self.memory));
        for address in &self.assigned {
            add("--vfio", address.clone());
        }
        match self.backend {
            Backend::Own => {}
            Backend::Type1 => add("--host-dma", "type1".into()),
            Backend::Iommufd => add("--host-dma", "iommufd".into()),
        }
        for device in &self.emulated {
            add(
                "--device",
                match device {
                    Emulated::Edu { place, mask } => format!("edu,addr={place},dma-mask={mask:#x}"),
                    Emulated::Probe { place } => format!("probe,addr={place}"),
                    Emulated::Disk { image } => format!("virtio-blk,path={image}"),
                },
            );
        }
        if self.viommu == Viommu::Off {
            add("--iommu", "off".into());
        }
        words
    }

    fn qemu(&self) -> Vec<String> {
        let mut words: Vec<String> =
            ["qemu", "-M", "q35,kernel-irqchip=split", "-enable-kvm", "-cpu", "host"]
                .into_iter()
                .chain(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"])
                .map(str::to_owned)
                .collect();
        words.extend(self.software("-kernel", "-initrd"));
        if self.image.is_some() {
            words.extend(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"].map(str::to_owned));
        }
        let mut add = |name: &str, value: String| words.extend([name.to_owned(), value]);
        add("-append", self.kernel_command_line());
        add("-smp", self.cpus.to_string());
        add("-m", format!("{}M", self.memory));
        if self.viommu == Viommu::On {
            add("-device", "intel-iommu,intremap=on,caching-mode=on,aw-bits=48".into());
        }
        for device in &self.emulated {
            match device {
                Emulated::Edu { place, mask } => {
                    add("-device", format!("edu,addr={place},dma_mask={mask:#x}"));
                }
                // It has none.
                Emulated::Probe { .. } => {}
                Emulated::Disk { image } => {
                    add("-drive", format!("file={image},format=raw,if=none,id=disk"));
                    add("-device", "virtio-blk-pci,drive=disk,iommu_platform=on,disable-legacy=on".into());
                }
            }
        }
        let backend = if self.backend == Backend::Iommufd { ",iommufd=host" } else { "" };
        if self.backend == Backend::Iommufd {
            add("-object", "iommufd,id=host".into());
        }
        for address in &self.assigned {
            add("-device", format!("vfio-pci,host={address}{backend}"));
        }
        words
    }
}

/// `word` as one word of a shell's command line.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Guest, Vmm};

    #[test]
    fn the_command_line_survives_a_shell() {
        let guest = Guest::new("").cmdline("iommu=pt a='b c'").assign("0000:00:05.0");
        assert_eq!(
            guest.command(),
            "portcullis run --kernel /guest/kernel --initrd /run/guest.initrd \
             --cmdline 'console=ttyS0 quiet panic=-1 iommu=pt a='\\''b c'\\''' \
             --cpus 1 --memory 1024M --vfio 0000:00:05.0"
        );
    }

    #[test]
    fn a_guest_of_a_guest_is_run_from_the_outer_ones_script() {
        let inner = Guest::new("true").assign("0000:01:00.0");
        let outer = Guest::new("false").hosting(&inner);
        assert!(
            outer.script.starts_with("false\n") && outer.script.contains(&inner.job()),
            "{}",
            outer.script
        );
        assert!(outer.job().contains("cat /guest/initrd /guest/host;"), "{}", outer.job());
        assert!(!inner.job().contains("/guest/host"), "{}", inner.job());
    }

    #[test]
    fn profile_and_features_of_the_unit_are_flags() {
        let command = Guest::new("").profile("full").features("+posted-interrupts,-queue").command();
        let flags = "--iommu-profile full --iommu-features +posted-interrupts,-queue";
        assert!(command.ends_with(flags), "{command}");
    }

    #[test]
    fn the_peer_gets_the_same_machine() {
        let command = Guest::new("").run_by(Vmm::Qemu).assign("0000:00:05.0").cpus(2).command();
        for words in ["-smp 2", "caching-mode=on,aw-bits=48", "-device vfio-pci,host=0000:00:05.0"] {
            assert!(command.contains(words), "{command}");
        }
    }
}
