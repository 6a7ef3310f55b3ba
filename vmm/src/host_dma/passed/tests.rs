use std::os::fd::{AsRawFd, IntoRawFd};

use super::*;
use crate::config::Options;

/// A machine that gets descriptors: an iommufd, and functions.
fn config(iommufd: Option<i32>, functions: &[i32]) -> Config {
    let options = Options {
        kernel: Some("kernel".into()),
        iommufd: iommufd.map(|number| format!("fd={number}").parse().unwrap()),
        vfio: functions.iter().map(|number| format!("fd={number}").parse().unwrap()).collect(),
        ..Options::default()
    };
    options.check().unwrap()
}

fn null() -> i32 {
    File::open("/dev/null").unwrap().into_raw_fd()
}

#[test]
fn each_descriptor_is_taken_over_once() {
    let (iommufd, function) = (null(), null());
    let mut passed = Passed::take(&config(Some(iommufd), &[function])).unwrap();
    assert!(passed.has_iommufd());
    assert_eq!(passed.iommufd().unwrap().as_raw_fd(), iommufd);
    assert!(!passed.has_iommufd());
    assert_eq!(passed.function(function).unwrap().as_raw_fd(), function);
    assert!(matches!(passed.function(function), Err(HostError::NoDescriptor(_))));
}

#[test]
fn a_number_that_is_not_open_is_said() {
    let text = Passed::take(&config(None, &[999])).unwrap_err().to_string();
    assert!(text.contains("No descriptor 999") && text.contains("999<>FILE"), "{text}");
}

#[test]
fn a_descriptor_is_not_passed_for_two_things() {
    let number = null();
    let text = Passed::take(&config(Some(number), &[number])).unwrap_err().to_string();
    assert!(text.contains("cannot be used for that"), "{text}");
}
