//! A file to load, of which every read is checked against its length.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use devices::GuestRam;
use vm_memory::{Bytes, GuestAddress};

use super::{Error, Problem, Role};

/// An open file that is not empty.
pub(super) struct Image {
    role: Role,
    path: PathBuf,
    file: File,
    length: u64,
}

impl Image {
    pub(super) fn open(path: &Path, role: Role) -> Result<Self, Error> {
        let error = |problem| Error { role, file: path.to_owned(), problem };
        let unreadable = |source| error(Problem::Unreadable(source));
        // Before opening: to open a pipe would wait for its other end.
        let metadata = path.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(error(Problem::NotAFile));
        }
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        if length == 0 {
            return Err(error(Problem::Empty));
        }
        Ok(Self { role, path: path.to_owned(), file, length })
    }

    /// What the file is to be.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The file's name without its folders, with nothing in it that would split a command line.
    pub(super) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        name.replace(|c: char| c.is_whitespace() || c == '\0', "_")
    }

    /// An error about this file.
    pub(super) fn error(&self, problem: Problem) -> Error {
        Error { role: self.role, file: self.path.clone(), problem }
    }

    /// The first bytes, `most` of them if there are so many.
    pub(super) fn start(&mut self, most: u64) -> Result<Vec<u8>, Problem> {
        self.read(0, most.min(self.length))
    }

    /// Bytes from the middle. Never more than the file has, so a length that lies costs no memory.
    pub(super) fn read(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, Problem> {
        self.seek(offset, length)?;
        let length = usize::try_from(length).map_err(|_| Problem::Damaged("a length is out of range"))?;
        let mut bytes = vec![0; length];
        self.file.read_exact(&mut bytes).map_err(Problem::Unreadable)?;
        Ok(bytes)
    }

    /// Copies bytes of the file to `address`.
    pub(super) fn copy(
        &mut self,
        offset: u64,
        length: u64,
        ram: &GuestRam,
        address: u64,
    ) -> Result<(), Problem> {
        self.seek(offset, length)?;
        let length = usize::try_from(length).map_err(|_| Problem::Damaged("a length is out of range"))?;
        Ok(ram.read_exact_volatile_from(GuestAddress(address), &mut self.file, length)?)
    }

    fn seek(&mut self, offset: u64, length: u64) -> Result<(), Problem> {
        let needed = offset.checked_add(length).ok_or(Problem::Damaged("an offset is out of range"))?;
        if needed > self.length {
            return Err(Problem::Truncated { length: self.length, needed });
        }
        self.file.seek(SeekFrom::Start(offset)).map_err(Problem::Unreadable)?;
        Ok(())
    }
}
