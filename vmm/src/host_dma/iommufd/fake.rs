//! An iommufd that checks arguments as the kernel does, and nothing else: it pins, translates and attaches nothing, so
//! what tests with it show is that the right calls are made, not that devices obey them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};

use iommu::{FirstStage, Forget, Pasid, Permissions};

use super::calls::{Calls, Copy, Intel};
use super::{Attachable, lock};

/// What a mapping is of: an address of this process, and permissions.
pub(super) type Target = (u64, Permissions);

/// The objects of one descriptor.
#[derive(Default)]
pub(super) struct Fake(Mutex<Objects>);

#[derive(Default)]
pub(super) struct Objects {
    next: u32,
    /// What each IOAS maps: length and target, by the first address.
    pub(super) ioases: BTreeMap<u32, BTreeMap<u64, (u64, Target)>>,
    /// Each page table's IOAS and the kind of IOMMU it is for.
    pub(super) tables: BTreeMap<u32, (u32, u32)>,
    /// Those that may be there for PASIDs.
    pub(super) for_pasids: BTreeSet<u32>,
    /// The page table that each device is attached to.
    pub(super) attached: BTreeMap<u32, u32>,
    /// The page table that each device's PASIDs are attached to.
    pub(super) pasids: BTreeMap<(u32, u32), u32>,
    /// Devices that may not be attached to any page table but this one, as long as it says so.
    pub(super) stubborn: Option<(u32, u32)>,
    /// What the units of every kind can do.
    pub(super) unit: Option<Intel>,
    /// Page tables that first-stage tables can stand in front of.
    pub(super) parents: Vec<u32>,
    /// Those that stand there, each with its parent.
    pub(super) nested: BTreeMap<u32, (u32, FirstStage)>,
    /// What each of these was told to forget, call by call.
    pub(super) forgotten: Vec<(u32, Vec<Forget>)>,
    /// The errno of every copy.
    pub(super) copies_fail: Option<i32>,
    /// The errno of every mapping of a file.
    pub(super) files_fail: Option<i32>,
    /// Every range that was to be unmapped: IOAS and first address.
    pub(super) unmapped: Vec<(u32, u64)>,
    /// Every attachment there was: device and page table.
    pub(super) attachments: Vec<(u32, u32)>,
    pub(super) ranges: Vec<(u64, u64)>,
}

/// A device of the fake's, behind an IOMMU of some kind.
pub(super) struct FakeDevice {
    pub(super) fake: Arc<Fake>,
    pub(super) number: u32,
    pub(super) kind: u32,
}

fn refuse<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

impl Fake {
    /// A descriptor with nothing but what is usual: 39 bits, and the window of interrupts.
    pub(super) fn new() -> Arc<Self> {
        let fake = Self::default();
        fake.look(|objects| objects.ranges = vec![(0, 0xFEDF_FFFF), (0xFEF0_0000, (1 << 39) - 1)]);
        Arc::new(fake)
    }

    /// A device, bound and attached to nothing.
    pub(super) fn device(self: &Arc<Self>, number: u32, kind: u32) -> Arc<dyn Attachable> {
        Arc::new(FakeDevice { fake: self.clone(), number, kind })
    }

    /// Looks at the objects, or changes them.
    pub(super) fn look<T>(&self, what: impl FnOnce(&mut Objects) -> T) -> T {
        what(&mut lock(&self.0))
    }

    /// What a device reaches, by the page table it is attached to.
    pub(super) fn reached(&self, device: u32) -> BTreeMap<u64, (u64, Target)> {
        self.look(|objects| match objects.attached.get(&device) {
            Some(table) => objects.ioases[&objects.tables[table].0].clone(),
            None => BTreeMap::new(),
        })
    }
}

impl Objects {
    fn may_be_attached(&self, device: u32, table: u32, pasid: Option<Pasid>) -> bool {
        let beside = match pasid {
            None => self.pasids.keys().any(|(other, _)| *other == device),
            Some(pasid) if pasid.0 == 0 => return false,
            Some(_) => true,
        };
        let without = self.attached.get(&device).filter(|_| pasid.is_some());
        !beside || [Some(&table), without].into_iter().flatten().all(|table| self.for_pasids.contains(table))
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn insert(&mut self, ioas: u32, iova: u64, length: u64, target: Target) -> io::Result<()> {
        let Some(mappings) = self.ioases.get_mut(&ioas) else { return refuse(libc::ENOENT) };
        if length == 0 || !iova.is_multiple_of(4096) || !length.is_multiple_of(4096) {
            return refuse(libc::EINVAL);
        }
        if mappings.range(..iova + length).next_back().is_some_and(|(start, (size, _))| start + size > iova) {
            return refuse(libc::EEXIST);
        }
        mappings.insert(iova, (length, target));
        Ok(())
    }
}

impl Calls for Fake {
    fn unit(&self, _device: u32) -> io::Result<Option<Intel>> {
        Ok(self.look(|objects| objects.unit))
    }

    fn new_parent(&self, ioas: u32, device: u32) -> io::Result<u32> {
        if !self.look(|objects| objects.unit.is_some_and(|unit| unit.registers.nests())) {
            return refuse(libc::EOPNOTSUPP);
        }
        self.look(|objects| {
            let read_only = |(_, (_, permissions)): &(u64, Target)| *permissions == Permissions::READ;
            let forbidden = objects.unit.is_some_and(|unit| unit.no_read_only_parents);
            assert!(!(forbidden && objects.ioases[&ioas].values().any(read_only)), "the erratum is honoured");
        });
        let table = self.new_table(ioas, device, false)?;
        self.look(|objects| objects.parents.push(table));
        Ok(table)
    }

    fn new_nested(&self, parent: u32, device: u32, table: FirstStage, pasids: bool) -> io::Result<u32> {
        self.look(|objects| {
            if !objects.parents.contains(&parent) || !matches!(table.levels, 4 | 5) {
                return refuse(libc::EINVAL);
            }
            let number = objects.number();
            let (ioas, kind) = objects.tables[&parent];
            // What stands behind it is looked at when a device is attached.
            objects.tables.insert(number, (ioas, if kind == device / 10 { kind } else { u32::MAX }));
            objects.nested.insert(number, (parent, table));
            objects.for_pasids.extend(pasids.then_some(number));
            Ok(number)
        })
    }

    fn forget(&self, nested: u32, what: &[Forget]) -> io::Result<()> {
        self.look(|objects| {
            let aligned = |one: &Forget| match one {
                Forget::Everything => true,
                Forget::Pages { iova, count, .. } => iova.0.is_multiple_of(4096) && *count != 0,
            };
            if !objects.nested.contains_key(&nested) || !what.iter().all(aligned) {
                return refuse(libc::EINVAL);
            }
            objects.forgotten.push((nested, what.to_vec()));
            Ok(())
        })
    }

    fn new_ioas(&self) -> io::Result<u32> {
        self.look(|objects| {
            let number = objects.number();
            objects.ioases.insert(number, BTreeMap::new());
            Ok(number)
        })
    }

    /// Devices 0 to 9 are behind IOMMUs of kind 0, and so on.
    fn new_table(&self, ioas: u32, device: u32, pasids: bool) -> io::Result<u32> {
        self.look(|objects| {
            if !objects.ioases.contains_key(&ioas) {
                return refuse(libc::ENOENT);
            }
            let number = objects.number();
            objects.tables.insert(number, (ioas, device / 10));
            objects.for_pasids.extend(pasids.then_some(number));
            Ok(number)
        })
    }

    fn destroy(&self, object: u32) -> io::Result<()> {
        self.look(|objects| {
            if objects.attached.values().any(|table| *table == object)
                || objects.pasids.values().any(|table| *table == object)
                || objects.nested.values().any(|(parent, _)| *parent == object)
                || objects.tables.values().any(|(ioas, _)| *ioas == object)
            {
                return refuse(libc::EBUSY);
            }
            objects.nested.remove(&object);
            objects.parents.retain(|parent| *parent != object);
            let found = objects.tables.remove(&object).is_some() || objects.ioases.remove(&object).is_some();
            if found { Ok(()) } else { refuse(libc::ENOENT) }
        })
    }

    fn map(&self, ioas: u32, iova: u64, host: u64, length: u64, permissions: Permissions) -> io::Result<()> {
        self.look(|objects| objects.insert(ioas, iova, length, (host, permissions)))
    }

    /// The target is the file's number.
    fn map_file(&self, ioas: u32, iova: u64, file: BorrowedFd<'_>, length: u64) -> io::Result<()> {
        let file = rustix::fs::fstat(file)?;
        self.look(|objects| {
            if let Some(errno) = objects.files_fail {
                return refuse(errno);
            }
            if u64::try_from(file.st_size).is_ok_and(|size| size < length) {
                return refuse(libc::EINVAL);
            }
            objects.insert(ioas, iova, length, (file.st_ino, Permissions::READ | Permissions::WRITE))
        })
    }

    fn copy(&self, copy: &Copy) -> io::Result<()> {
        self.look(|objects| {
            if let Some(errno) = objects.copies_fail {
                return refuse(errno);
            }
            let Some(from) = objects.ioases.get(&copy.from) else { return refuse(libc::ENOENT) };
            let mut parts = Vec::new();
            let (mut next, end) = (copy.from_iova, copy.from_iova + copy.length);
            while next < end {
                let source =
                    from.range(..=next).next_back().filter(|(start, (size, _))| *start + size > next);
                let Some((start, (size, (host, _)))) = source else { return refuse(libc::ENOENT) };
                let length = (start + size).min(end) - next;
                parts.push((copy.to_iova + (next - copy.from_iova), length, host + (next - start)));
                next += length;
            }
            for (iova, length, host) in parts {
                objects.insert(copy.to, iova, length, (host, copy.permissions))?;
            }
            Ok(())
        })
    }

    fn unmap(&self, ioas: u32, iova: u64, length: u64) -> io::Result<u64> {
        self.look(|objects| {
            objects.unmapped.push((ioas, iova));
            let Some(mappings) = objects.ioases.get_mut(&ioas) else { return refuse(libc::ENOENT) };
            if iova == 0 && length == u64::MAX {
                let all = mappings.values().map(|(size, _)| size).sum();
                mappings.clear();
                return Ok(all);
            }
            let end = iova + length;
            let overlaps = |start: u64, size: u64| start < end && start + size > iova;
            let inside: Vec<_> = mappings
                .iter()
                .filter(|(start, (size, _))| overlaps(**start, *size))
                .map(|(start, (size, _))| (*start, *size))
                .collect();
            let mut done = 0;
            for (start, size) in inside {
                // Those before it are gone by then.
                if start < iova || start + size > end {
                    return refuse(libc::ENOENT);
                }
                mappings.remove(&start);
                done += size;
            }
            if done == 0 { refuse(libc::ENOENT) } else { Ok(done) }
        })
    }

    fn ranges(&self, _ioas: u32) -> io::Result<Vec<(u64, u64)>> {
        Ok(self.look(|objects| objects.ranges.clone()))
    }
}

impl Attachable for FakeDevice {
    fn number(&self) -> u32 {
        self.number
    }

    fn pasid_bits(&self) -> u8 {
        self.fake.look(|objects| objects.unit.map_or(0, |unit| unit.pasid_bits))
    }

    fn attach(&self, table: u32, pasid: Option<Pasid>) -> io::Result<()> {
        self.fake.look(|objects| match objects.tables.get(&table) {
            None => refuse(libc::ENOENT),
            Some((_, kind)) if *kind != self.kind => refuse(libc::EINVAL),
            // The kernel's rule: page tables for PASIDs are beside their like only.
            Some(_) if !objects.may_be_attached(self.number, table, pasid) => refuse(libc::EINVAL),
            Some(_)
                if objects
                    .stubborn
                    .is_some_and(|(device, except)| device == self.number && table != except) =>
            {
                refuse(libc::EADDRINUSE)
            }
            Some(_) => {
                match pasid {
                    Some(pasid) => objects.pasids.insert((self.number, pasid.0), table),
                    None => objects.attached.insert(self.number, table),
                };
                objects.attachments.push((self.number, table));
                Ok(())
            }
        })
    }

    fn detach(&self, pasid: Option<Pasid>) -> io::Result<()> {
        self.fake.look(|objects| match pasid {
            Some(pasid) => objects.pasids.remove(&(self.number, pasid.0)),
            None => objects.attached.remove(&self.number),
        });
        Ok(())
    }
}

impl Drop for FakeDevice {
    fn drop(&mut self) {
        let _ = self.detach(None);
        self.fake.look(|objects| objects.pasids.retain(|(device, _), _| *device != self.number));
    }
}
