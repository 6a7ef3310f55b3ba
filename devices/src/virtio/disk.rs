//! The file or block device behind a virtio disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The unit in which virtio addresses disks, in bytes.
pub(super) const SECTOR: u64 = 512;

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It cannot be opened or measured.
    #[error("Cannot open the disk image {path}")]
    Open {
        /// The image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ends inside a sector.
    #[error("The size of the disk image {path}, {length} bytes, is not a multiple of 512")]
    Size {
        /// The image.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
}

/// An image, addressed in sectors.
#[derive(Debug)]
pub struct Disk {
    file: File,
    sectors: u64,
    read_only: bool,
}

impl Disk {
    /// Opens the raw image, or block device, at `path`.
    pub fn open(path: &Path, read_only: bool) -> Result<Self, DiskError> {
        let open = || {
            let mut file = OpenOptions::new().read(true).write(!read_only).open(path)?;
            // The end, unlike the metadata, is also right for a block device.
            let length = file.seek(SeekFrom::End(0))?;
            Ok((file, length))
        };
        let (file, length) = open().map_err(|source| DiskError::Open { path: path.into(), source })?;
        if !length.is_multiple_of(SECTOR) {
            return Err(DiskError::Size { path: path.into(), length });
        }
        Ok(Self { file, sectors: length / SECTOR, read_only })
    }

    /// How many sectors there are.
    pub(super) fn sectors(&self) -> u64 {
        self.sectors
    }

    /// Whether writes are refused.
    pub(super) fn read_only(&self) -> bool {
        self.read_only
    }

    /// Where, in bytes, `length` bytes from `sector` on begin; `None` unless all of them are whole sectors
    /// of this disk.
    pub(super) fn locate(&self, sector: u64, length: u64) -> Option<u64> {
        let end = sector.checked_add(length / SECTOR)?;
        (length.is_multiple_of(SECTOR) && end <= self.sectors).then(|| sector * SECTOR)
    }

    /// Fills `data` from byte `offset` on.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(data, offset)
    }

    /// Writes `data` from byte `offset` on.
    pub(super) fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }

    /// Makes everything written so far durable.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
