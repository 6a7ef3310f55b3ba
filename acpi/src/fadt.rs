//! The fixed ACPI description table (section 5.2.9) and the firmware control structure it points to.

use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};

use crate::PowerManagement;
use crate::tables::{OEM_ID, OEM_REVISION, OEM_TABLE_ID, bytes_of};

/// IA-PC boot architecture flags (table 5.10).
const LEGACY_DEVICES: u16 = 1 << 0;
const KEYBOARD_CONTROLLER: u16 = 1 << 1;
const NO_VGA: u16 = 1 << 2;
const NO_ASPM: u16 = 1 << 4;

/// Latencies at or above these mean that the machine has no C2 and no C3.
const NO_C2: u16 = 101;
const NO_C3: u16 = 1001;

/// The table, pointing to a FACS and a DSDT below 4 GiB.
pub(crate) fn fadt(power: &PowerManagement, keyboard_controller: bool, facs: u32, dsdt: u32) -> Vec<u8> {
    let mut table = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .preferred_pm_profile(PmProfile::Unspecified)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        // There is a power button among the fixed hardware (its flag is clear), but no sleep button, and the
        // clock cannot wake the machine.
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::TmrValExt)
        .flag(Flags::ResetRegSup);

    // Both widths say the same: Xen grumbles where one is missing.
    table.firmware_ctrl = facs.into();
    table.x_firmware_ctrl = u64::from(facs).into();
    table.dsdt = dsdt.into();
    table.x_dsdt = u64::from(dsdt).into();
    table.sci_int = u16::from(power.sci).into();
    table.p_lvl2_lat = NO_C2.into();
    table.p_lvl3_lat = NO_C3.into();

    table.pm1a_evt_blk = u32::from(power.pm1a_event).into();
    table.pm1_evt_len = 4;
    table.x_pm1a_evt_blk = ports(power.pm1a_event, 4, AccessSize::WordAccess);
    table.pm1a_cnt_blk = u32::from(power.pm1a_control).into();
    table.pm1_cnt_len = 2;
    table.x_pm1a_cnt_blk = ports(power.pm1a_control, 2, AccessSize::WordAccess);
    table.pm_tmr_blk = u32::from(power.timer).into();
    table.pm_tmr_len = 4;
    table.x_pm_tmr_blk = ports(power.timer, 4, AccessSize::DwordAccess);
    if let Some(gpe0) = power.gpe0 {
        table.gpe0_blk = u32::from(gpe0).into();
        table.gpe0_blk_len = 8;
        table.x_gpe0_blk = ports(gpe0, 8, AccessSize::ByteAccess);
    }

    // Link power of an assigned device is the host's to manage.
    let mut architecture = LEGACY_DEVICES | NO_VGA | NO_ASPM;
    if keyboard_controller {
        architecture |= KEYBOARD_CONTROLLER;
    }
    table.iapc_boot_arch = architecture.into();
    table.reset_reg = ports(power.reset.port, 1, AccessSize::ByteAccess);
    table.reset_value = power.reset.value;

    bytes_of(&table.finalize())
}

/// `length` ports as a generic address.
fn ports(first: u16, length: u8, access: AccessSize) -> GAS {
    GAS::new(AddressSpace::SystemIo, length * 8, 0, access, u64::from(first))
}

#[cfg(test)]
mod tests;
