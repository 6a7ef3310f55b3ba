//! Writes the "newc" cpio archives that Linux unpacks as its initial file system.
//!
//! Linux accepts several archives one after the other, so an initial file system is put together from parts: the large
//! ones are written once, and only the last one is rewritten when a program was rebuilt.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const SYMBOLIC_LINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive in memory. Folders above an entry are added by themselves.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<String>,
}

impl Archive {
    /// An empty archive.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file at `path` with the permission bits `mode`.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> &mut Self {
        self.parents_of(path);
        self.entry(path, REGULAR | mode & 0o7777, (0, 0), content);
        self
    }

    /// An executable file at `path`.
    pub fn program(&mut self, path: &str, content: &[u8]) -> &mut Self {
        self.file(path, 0o755, content)
    }

    /// A folder at `path`.
    pub fn folder(&mut self, path: &str) -> &mut Self {
        self.parents_of(path);
        let path = path.trim_matches('/');
        if !path.is_empty() && self.folders.insert(path.to_owned()) {
            self.entry(path, DIRECTORY | 0o755, (0, 0), &[]);
        }
        self
    }

    /// A symbolic link at `path` to `target`.
    pub fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.parents_of(path);
        self.entry(path, SYMBOLIC_LINK | 0o777, (0, 0), target.as_bytes());
        self
    }

    /// A character device at `path`.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) -> &mut Self {
        self.parents_of(path);
        self.entry(path, CHARACTER_DEVICE | 0o600, (major, minor), &[]);
        self
    }

    /// A file, link or whole folder of this machine, at `path` in the archive.
    pub fn copy(&mut self, from: &Path, path: &str) -> io::Result<&mut Self> {
        let metadata = from.symlink_metadata()?;
        let kind = metadata.file_type();
        if kind.is_symlink() {
            let target = std::fs::read_link(from)?;
            self.link(path, &target.to_string_lossy());
        } else if kind.is_dir() {
            self.folder(path);
            let mut children = std::fs::read_dir(from)?.collect::<Result<Vec<_>, _>>()?;
            children.sort_by_key(std::fs::DirEntry::file_name);
            for child in children {
                self.copy(&child.path(), &format!("{path}/{}", child.file_name().to_string_lossy()))?;
            }
        } else if !kind.is_char_device() && !kind.is_block_device() && !kind.is_fifo() && !kind.is_socket() {
            self.file(path, metadata.permissions().mode(), &std::fs::read(from)?);
        }
        Ok(self)
    }

    /// The finished archive, padded so that another one may follow.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.pad(512);
        self.bytes
    }

    fn parents_of(&mut self, path: &str) {
        let path = path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            if self.folders.insert(path[..at].to_owned()) {
                self.entry(&path[..at], DIRECTORY | 0o755, (0, 0), &[]);
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let name = path.trim_start_matches('/');
        self.entries += 1;
        let links = if mode & DIRECTORY != 0 { 2 } else { 1 };
        let size = content.len() as u32;
        let fields = [
            self.entries,
            mode,
            0, // owner
            0, // group
            links,
            0, // modification time: the same input gives the same bytes
            size,
            0,
            0, // the device the file is on
            device.0,
            device.1,
            name.len() as u32 + 1,
            0, // no checksum in this format
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad(4);
        self.bytes.extend_from_slice(content);
        self.pad(4);
    }

    fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }
}

#[cfg(test)]
mod tests;
