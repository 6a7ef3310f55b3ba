use std::collections::BTreeMap;
use std::sync::Mutex;

use devices::GuestRam;
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap};

use super::*;

type Mapping = (u64, u64, bool, bool);

/// A container as the kernel behaves: no map over a map, no unmap through the middle of one.
#[derive(Default)]
struct FakePort {
    mappings: Mutex<BTreeMap<u64, Mapping>>,
    /// The map call that fails, counted from 0, and how.
    failing: Option<(usize, i32)>,
    calls: Mutex<usize>,
    /// Whether everything can be unmapped in one call.
    at_once: bool,
    /// How many unmap calls there were.
    unmaps: Mutex<usize>,
}

impl DmaPort for FakePort {
    fn map(&self, iova: u64, host: u64, length: u64, readable: bool, writable: bool) -> io::Result<()> {
        let mut calls = self.calls.lock().unwrap();
        let call = *calls;
        *calls += 1;
        if let Some((failing, errno)) = self.failing
            && failing == call
        {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let mut mappings = self.mappings.lock().unwrap();
        if mappings.range(..iova + length).next_back().is_some_and(|(start, m)| start + m.1 > iova) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        mappings.insert(iova, (host, length, readable, writable));
        Ok(())
    }

    fn unmap_all(&self) -> io::Result<bool> {
        if self.at_once {
            *self.unmaps.lock().unwrap() += 1;
            self.mappings.lock().unwrap().clear();
        }
        Ok(self.at_once)
    }

    fn unmap(&self, iova: u64, length: u64) -> io::Result<u64> {
        *self.unmaps.lock().unwrap() += 1;
        let mut mappings = self.mappings.lock().unwrap();
        let inside: Vec<_> =
            mappings.range(iova..=iova + (length - 1)).map(|(start, m)| (*start, m.1)).collect();
        if inside.iter().any(|(start, size)| start + (size - 1) > iova + (length - 1)) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        for (start, _) in &inside {
            mappings.remove(start);
        }
        Ok(inside.iter().map(|(_, size)| size).sum())
    }

    fn usable(&self, first: u64, _last: u64) -> bool {
        first < 1 << 39
    }
}

/// Two regions that touch, so that a span can cross from one to the other, and a third apart.
fn memory() -> Arc<GuestRam> {
    let ranges =
        [(GuestAddress(0), 0x8000), (GuestAddress(0x8000), 0x8000), (GuestAddress(0x10_0000), 0x4000)];
    Arc::new(GuestMemoryMmap::from_ranges(&ranges).unwrap())
}

fn mapper(failing: Option<(usize, i32)>) -> (Arc<FakePort>, Type1) {
    over(FakePort { failing, ..FakePort::default() })
}

fn over(port: FakePort) -> (Arc<FakePort>, Type1) {
    let port = Arc::new(port);
    let mapper =
        Type1 { port: port.clone(), targets: Arc::new(Targets::new(memory())), full: AtomicBool::new(false) };
    (port, mapper)
}

fn host_address(mapper: &Type1, guest: u64) -> u64 {
    mapper.targets.ram().get_host_address(GuestAddress(guest)).unwrap() as u64
}

const BOTH: Permissions = Permissions::READ.union(Permissions::WRITE);

#[test]
fn permissions_reach_the_host_as_they_are() {
    let (port, mapper) = mapper(None);
    for (iova, permissions) in [(0, Permissions::READ), (0x1000, Permissions::WRITE), (0x2000, BOTH)] {
        mapper.map(Iova(iova), GuestAddress(0x3000), 0x1000, permissions).unwrap();
    }
    let mappings = port.mappings.lock().unwrap();
    let host = host_address(&mapper, 0x3000);
    assert_eq!(mappings[&0], (host, 0x1000, true, false));
    assert_eq!(mappings[&0x1000], (host, 0x1000, false, true));
    assert_eq!(mappings[&0x2000], (host, 0x1000, true, true));
}

#[test]
fn a_span_over_two_regions_is_two_mappings_that_go_as_one() {
    let (port, mapper) = mapper(None);
    mapper.map(Iova(0x10_0000), GuestAddress(0x6000), 0x4000, BOTH).unwrap();
    {
        let mappings = port.mappings.lock().unwrap();
        assert_eq!(mappings[&0x10_0000], (host_address(&mapper, 0x6000), 0x2000, true, true));
        assert_eq!(mappings[&0x10_2000], (host_address(&mapper, 0x8000), 0x2000, true, true));
    }
    mapper.unmap(Iova(0x10_0000), 0x4000).unwrap();
    assert!(port.mappings.lock().unwrap().is_empty());
}

#[test]
fn a_span_that_fails_in_its_second_part_leaves_nothing() {
    let (port, mapper) = mapper(Some((1, libc::ENOSPC)));
    let error = mapper.map(Iova(0), GuestAddress(0x6000), 0x4000, BOTH).unwrap_err();
    assert_eq!(error, MapError::Full);
    assert!(port.mappings.lock().unwrap().is_empty());
}

#[test]
fn what_is_not_guest_memory_is_not_mapped_even_in_part() {
    let (port, mapper) = mapper(None);
    let error = mapper.map(Iova(0), GuestAddress(0xF000), 0x2000, BOTH).unwrap_err();
    assert_eq!(error, MapError::NotMemory(GuestAddress(0x1_0000)));
    let error = mapper.map(Iova(0), GuestAddress(u64::MAX - 0xFFF), 0x2000, BOTH).unwrap_err();
    assert_eq!(error, MapError::NotMemory(GuestAddress(u64::MAX - 0xFFF)));
    assert_eq!(*port.calls.lock().unwrap(), 0);
}

#[test]
fn addresses_that_wrap_are_refused() {
    let (port, mapper) = mapper(None);
    let iova = Iova(u64::MAX - 0xFFF);
    assert_eq!(mapper.map(iova, GuestAddress(0), 0x2000, BOTH), Err(MapError::Unusable(iova)));
    assert_eq!(mapper.map(Iova(0), GuestAddress(0), 0, BOTH), Err(MapError::Unusable(Iova(0))));
    assert_eq!(*port.calls.lock().unwrap(), 0);
}

#[test]
fn the_kernels_refusals_have_their_meaning() {
    let refusal = |iova, errno| {
        let (_, mapper) = mapper(Some((0, errno)));
        mapper.map(Iova(iova), GuestAddress(0), 0x1000, BOTH).unwrap_err()
    };
    assert_eq!(refusal(0, libc::ENOSPC), MapError::Full);
    assert_eq!(refusal(0, libc::EFAULT), MapError::NotMemory(GuestAddress(0)));
    assert_eq!(refusal(1 << 40, libc::EINVAL), MapError::Unusable(Iova(1 << 40)));
    assert!(matches!(refusal(0, libc::EINVAL), MapError::Host(_)));
    assert!(matches!(refusal(0, libc::EEXIST), MapError::Host(_)));
    assert!(matches!(refusal(0, libc::ENOMEM), MapError::Host(text) if text.contains("locked memory")));
}

#[test]
fn an_unmap_of_what_is_not_there_or_not_whole_is_an_error() {
    let (port, mapper) = mapper(None);
    mapper.map(Iova(0), GuestAddress(0), 0x2000, BOTH).unwrap();
    assert!(mapper.unmap(Iova(0), 0x1000).is_err());
    assert!(mapper.unmap(Iova(0x4000), 0x1000).is_err());
    assert!(mapper.unmap(Iova(0), 0x3000).is_err());
    assert!(port.mappings.lock().unwrap().is_empty(), "the last one named it whole, and more");
}

#[test]
fn everything_goes_at_once_and_nothing_going_is_no_error() {
    // In one call where the kernel has it, and by halves where not.
    for (at_once, calls) in [(true, 2), (false, 4)] {
        let (port, mapper) = over(FakePort { at_once, ..FakePort::default() });
        mapper.unmap_all();
        mapper.map(Iova(0), GuestAddress(0), 0x2000, BOTH).unwrap();
        mapper.map(Iova(1 << 38), GuestAddress(0), 0x1000, Permissions::READ).unwrap();
        mapper.unmap_all();
        assert!(port.mappings.lock().unwrap().is_empty());
        assert_eq!(*port.unmaps.lock().unwrap(), calls);
    }
}
