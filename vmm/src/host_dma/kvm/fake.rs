//! A KVM that only listens.

use std::sync::Mutex;

use super::*;

/// The files it has been told of and has not forgotten, in order.
#[derive(Default)]
pub(in crate::host_dma) struct Files(Mutex<Vec<RawFd>>);

impl Files {
    pub(in crate::host_dma) fn known(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Listener for Files {
    fn tell(&self, file: RawFd, what: u32) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let place = files.iter().position(|known| *known == file);
        // As the kernel answers.
        match (what, place) {
            (KVM_DEV_VFIO_FILE_ADD, None) => files.push(file),
            (KVM_DEV_VFIO_FILE_ADD, Some(_)) => return Err(io::Error::from_raw_os_error(libc::EEXIST)),
            (_, None) => return Err(io::Error::from_raw_os_error(libc::ENOENT)),
            (_, Some(place)) => drop(files.remove(place)),
        }
        Ok(())
    }
}

/// One, and what it knows.
pub(in crate::host_dma) fn listening() -> (KvmVfio, Arc<Files>) {
    let files = Arc::new(Files::default());
    (KvmVfio(files.clone()), files)
}
