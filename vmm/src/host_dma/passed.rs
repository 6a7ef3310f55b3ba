//! Descriptors that the program was started with.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};

use super::HostError;
use crate::config::{Config, VfioSource};

/// What was passed in, by the numbers it was passed in as.
#[derive(Debug, Default)]
pub struct Passed {
    iommufd: Option<File>,
    functions: BTreeMap<i32, File>,
}

impl Passed {
    /// Takes over the descriptors that `config` names. To be called while the program has opened nothing
    /// itself, so that none of them is its own.
    pub fn take(config: &Config) -> Result<Self, HostError> {
        let functions = config.vfio.iter().filter_map(|spec| match spec.source {
            VfioSource::Descriptor(number) => Some(number),
            VfioSource::Address(_) => None,
        });
        let mut taken = BTreeMap::new();
        for number in functions.chain(config.iommufd) {
            if number <= libc::STDERR_FILENO || taken.contains_key(&number) {
                return Err(HostError::DescriptorTaken(number));
            }
            taken.insert(number, own(number)?);
        }
        let iommufd = config.iommufd.and_then(|number| taken.remove(&number));
        Ok(Self { iommufd, functions: taken })
    }

    /// Whether an iommufd was passed in.
    pub(super) const fn has_iommufd(&self) -> bool {
        self.iommufd.is_some()
    }

    /// The iommufd, if one was passed in and is still here.
    pub(super) fn iommufd(&mut self) -> Option<File> {
        self.iommufd.take()
    }

    /// The function that was passed in as `number`; it can be had once.
    pub(super) fn function(&mut self, number: i32) -> Result<File, HostError> {
        self.functions.remove(&number).ok_or(HostError::NoDescriptor(number))
    }
}

/// Makes a descriptor that was passed in the program's own, and not its children's.
fn own(number: i32) -> Result<File, HostError> {
    // SAFETY: only the flags of the number are asked for, and it need not be open for that.
    let open = unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
    if !open {
        return Err(HostError::NoDescriptor(number));
    }
    // SAFETY: it is open, and stays so during the call.
    let flagged = fcntl_setfd(unsafe { BorrowedFd::borrow_raw(number) }, FdFlags::CLOEXEC);
    flagged.map_err(|error| HostError::step(format!("keep descriptor {number}"))(error.into()))?;
    // SAFETY: it is open, and the caller vouches that nothing in the program owns it: the user says that it was
    // passed in for this, and each number is taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) }.into())
}

#[cfg(test)]
mod tests;
