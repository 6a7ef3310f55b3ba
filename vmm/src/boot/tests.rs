mod kvm;

use std::path::{Path, PathBuf};

use super::testing::{RSDP, TestFile, TestMachine, bzimage};
use super::*;

fn error(kernel: &str) -> Error {
    let request = Request { kernel: kernel.into(), ..Request::default() };
    let test = TestMachine::new(8);
    load(&request, &test.ram, &test.map, RSDP).unwrap_err()
}

#[test]
fn a_kernel_that_is_not_there_is_named_with_the_reason_as_source() {
    let error = error("/nonexistent/vmlinuz");
    assert_eq!(
        error.to_string(),
        "The kernel /nonexistent/vmlinuz cannot be read: check its path and permissions"
    );
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("No such file"));
}

#[test]
fn a_folder_or_a_device_is_no_kernel() {
    for path in ["/", "/dev/null"] {
        assert!(matches!(error(path).problem, Problem::NotAFile), "{path}");
    }
}

#[test]
fn an_empty_file_is_no_kernel_and_no_initrd() {
    let test = TestMachine::new(64);
    assert_eq!(test.refusal(b""), "is empty: copy or build it again");
    let error = test.boot_with(&bzimage(&[]), "", Some(b""), &[]).unwrap_err();
    assert_eq!(
        (error.role, error.problem.to_string().as_str()),
        (Role::Initrd, "is empty: copy or build it again")
    );
}

#[test]
fn nothing_is_loaded_when_a_file_beside_the_kernel_is_missing() {
    let kernel = TestFile::new(&bzimage(&[0xf4]));
    let request =
        Request { kernel: kernel.path(), initrd: Some("/nonexistent".into()), ..Request::default() };
    let test = TestMachine::new(64);
    let error = load(&request, &test.ram, &test.map, RSDP).unwrap_err();
    assert_eq!(error.role, Role::Initrd);
    assert_eq!(test.bytes(16 << 20, 0x300), [0; 0x300]);
}

#[test]
fn memory_that_the_map_has_and_the_machine_has_not_is_an_error() {
    let mut test = TestMachine::new(17);
    test.map[2].length = 100 << 20;
    assert!(matches!(
        test.boot_with(&bzimage(&[]), "", Some(&[1]), &[]).unwrap_err().problem,
        Problem::Memory(_)
    ));
}

/// Files below `folder` whose names begin with `prefix`.
fn find(folder: &Path, prefix: &str, depth: u8) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && depth > 0 {
            found.extend(find(&entry.path(), prefix, depth - 1));
        } else if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn kernels_of_a_distribution_are_loaded() {
    let cache = std::env::var_os("PORTCULLIS_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/portcullis"),
        PathBuf::from,
    );
    let kernels = find(&cache, "vmlinuz", 5);
    if kernels.is_empty() {
        eprintln!("SKIPPED: no vmlinuz below {}, so no real kernel was loaded", cache.display());
    }
    let test = TestMachine::new(256);
    for kernel in kernels {
        let request = Request { command_line: "console=ttyS0".into(), kernel, ..Request::default() };
        let entry = load(&request, &test.ram, &test.map, RSDP).unwrap();
        assert_eq!(entry.protocol, Protocol::Linux);
        assert_eq!(test.bytes(entry.rsi + 0x202, 4), b"HdrS");
        // Every 64-bit Linux begins by clearing the direction flag or masking interrupts.
        assert!(matches!(test.bytes(entry.rip, 1)[..], [0xfc | 0xfa]), "{:x?}", test.bytes(entry.rip, 8));
    }
}
