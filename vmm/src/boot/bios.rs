//! The little that kernels want of a BIOS where there is none.
//!
//! A kernel booted by multiboot takes itself to be on a PC with a BIOS. Xen reads from the BIOS data area how
//! much conventional memory there is, and goes back to real mode to ask for disks, graphics and the memory
//! map. So the data area says how much, and every service answers, as a real BIOS does for what it lacks,
//! with the carry flag set; Xen then takes multiboot's map.

use super::Problem;
use super::arena::Arena;

/// 256 far pointers.
const VECTORS: u64 = 0;
const VECTOR_COUNT: usize = 256;
/// BIOS data area: KiB of conventional memory.
const BASE_MEMORY: u64 = 0x413;
/// Where the service for all vectors goes, after the data area.
const SERVICE: u16 = 0x500;

/// Sets the carry flag among the flags the interrupt has pushed, and returns.
const REFUSE: [u8; 9] = [
    0x55, // push bp
    0x89, 0xe5, // mov bp, sp
    0x83, 0x4e, 0x06, 0x01, // or word [bp + 6], 1
    0x5d, // pop bp
    0xcf, // iret
];

/// Fills the first page: vectors, data area, service. `base_memory` is in KiB.
pub(super) fn write(base_memory: u16, arena: &mut Arena<'_>) -> Result<(), Problem> {
    let end = u64::from(SERVICE) + REFUSE.len() as u64;
    arena.claim(VECTORS, end)?;
    let vector = [SERVICE.to_le_bytes(), [0; 2]].concat();
    arena.write(&vector.repeat(VECTOR_COUNT), VECTORS)?;
    arena.write(&base_memory.to_le_bytes(), BASE_MEMORY)?;
    arena.write(&REFUSE, u64::from(SERVICE))
}
