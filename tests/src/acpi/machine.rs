//! The machine as a guest's kernel sees it: its PCI functions and the memory map its firmware gave it.

use acpi::dmar::{PciFunction, PciKind, Topology};
use acpi::{AddressRange, RangeKind};

/// A shell script that prints what this module reads.
pub const SCRIPT: &str = "\
for function in /sys/bus/pci/devices/*; do
    echo \"@@ function ${function##*/} $(od -An -v -tx1 -N256 $function/config | tr -d ' \\n')\"
done
for range in /sys/firmware/memmap/*; do
    echo \"@@ range $(cat $range/start) $(cat $range/end) $(cat $range/type)\"
done
";

/// Reads the PCI functions a guest printed, and the IOAPICs of its MADT.
pub fn topology(console: &str, madt: &[u8]) -> Result<Topology, String> {
    let functions = console
        .lines()
        .filter_map(|line| line.trim().strip_prefix("@@ function "))
        .map(|line| function(line).ok_or_else(|| format!("not a PCI function: {line}")))
        .collect::<Result<Vec<_>, _>>()?;
    if functions.is_empty() {
        return Err("the guest shows no PCI functions".into());
    }
    Ok(Topology { functions, ioapics: ioapics(madt) })
}

/// Reads the memory map a guest printed.
pub fn memory(console: &str) -> Result<Vec<AddressRange>, String> {
    let ranges: Vec<_> = console
        .lines()
        .filter_map(|line| line.trim().strip_prefix("@@ range "))
        .map(|line| range(line).ok_or_else(|| format!("not a range of memory: {line}")))
        .collect::<Result<_, _>>()?;
    if ranges.is_empty() { Err("the guest shows no memory map".into()) } else { Ok(ranges) }
}

/// `0000:00:1f.0 HEADER`, the header as bytes in hexadecimal.
fn function(line: &str) -> Option<PciFunction> {
    let (address, header) = line.split_once(' ')?;
    let mut numbers = address.split([':', '.']).map(|text| u16::from_str_radix(text, 16).ok());
    let mut number = || numbers.next().flatten();
    let (segment, bus, device, function) = (number()?, number()?, number()?, number()?);
    let byte = |at: usize| u8::from_str_radix(header.get(2 * at..2 * at + 2)?, 16).ok();
    let kind = if byte(0x0e)? & 0x7f == 1 {
        PciKind::Bridge {
            secondary: byte(0x19)?,
            subordinate: byte(0x1a)?,
            root_port: port_type(&byte) == Some(4),
        }
    } else {
        PciKind::Endpoint
    };
    Some(PciFunction { segment, bus: bus as u8, device: device as u8, function: function as u8, kind })
}

/// The Device/Port Type of the PCI Express capability (PCIe base specification, section 7.5.3.2).
fn port_type(byte: &impl Fn(usize) -> Option<u8>) -> Option<u8> {
    const EXPRESS: u8 = 0x10;
    let mut at = usize::from(byte(0x34)?);
    // A list of capabilities that leads in a circle is longer than there is room for.
    for _ in 0..48 {
        if at == 0 {
            return None;
        }
        if byte(at)? == EXPRESS {
            return Some(byte(at + 2)? >> 4);
        }
        at = usize::from(byte(at + 1)?);
    }
    None
}

/// `0x0 0x9ffff System RAM`.
fn range(line: &str) -> Option<AddressRange> {
    let mut words = line.splitn(3, ' ');
    let mut number = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let (base, last) = (number()?, number()?);
    let kind = match words.next()? {
        "System RAM" => RangeKind::Memory,
        "ACPI Tables" => RangeKind::AcpiReclaimable,
        "ACPI Non-volatile Storage" => RangeKind::AcpiNvs,
        "Unusable memory" => RangeKind::Unusable,
        _ => RangeKind::Reserved,
    };
    Some(AddressRange { base, length: last - base + 1, kind })
}

/// The IDs of the IOAPICs in a MADT (ACPI specification, section 5.2.12.3).
fn ioapics(madt: &[u8]) -> Vec<u8> {
    const HEADER: usize = 44;
    let mut rest = madt.get(HEADER..).unwrap_or_default();
    let mut found = Vec::new();
    while let [kind, length, id, ..] = *rest {
        if kind == 1 {
            found.push(id);
        }
        rest = rest.get(usize::from(length).max(2)..).unwrap_or_default();
    }
    found
}

#[cfg(test)]
mod tests {
    use acpi::dmar::PciKind;

    use super::{ioapics, memory, topology};

    #[test]
    fn a_root_port_is_told_by_its_capability() {
        let mut header = [0_u8; 64];
        (header[0x0e], header[0x19], header[0x1a], header[0x34]) = (1, 2, 3, 0x40);
        let bytes = header
            .iter()
            .chain(&[0x10, 0, 0x42, 0])
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let found = topology(&format!("@@ function 0000:00:1c.1 {bytes}\n"), &[]).unwrap().functions[0];
        assert_eq!((found.device, found.function), (0x1c, 1));
        assert_eq!(found.kind, PciKind::Bridge { secondary: 2, subordinate: 3, root_port: true });
    }

    #[test]
    fn memory_and_ioapics_are_read() {
        assert_eq!(memory("@@ range 0x1000 0x1fff System RAM\n").unwrap()[0].length, 0x1000);
        assert!(memory("@@ range 0x1000\n").is_err());
        let mut madt = vec![0; 44];
        madt.extend([0, 8, 0, 0, 1, 0, 0, 0, 1, 12, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(ioapics(&madt), [7]);
        assert!(ioapics(&[0; 45]).is_empty());
    }
}
