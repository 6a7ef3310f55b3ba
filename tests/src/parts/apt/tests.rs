use super::{Mirrors, mirrors_among};

#[test]
fn the_mirrors_are_those_of_the_machine() {
    let uris = "'http://mirror.example/debian/dists/bookworm/InRelease' mirror.example_InRelease 0 \n\
                'http://mirror.example/debian/dists/bookworm-updates/InRelease' mirror.example_InRelease 0 \n\
                'http://safe.example/sec/dists/bookworm-security/InRelease' safe.example_InRelease 0 \n";
    let expected =
        Mirrors { main: "http://mirror.example/debian".into(), security: "http://safe.example/sec".into() };
    assert_eq!(mirrors_among(uris), Some(expected));
}

#[test]
fn a_missing_security_mirror_is_taken_to_stand_beside_the_main_one() {
    let uris = "'http://mirror.example/debian/dists/sid/InRelease' x 0 \n";
    assert_eq!(mirrors_among(uris).unwrap().security, "http://mirror.example/debian-security");
}

#[test]
fn another_distribution_has_no_debian_mirror() {
    assert_eq!(mirrors_among("'http://mirror.example/ubuntu/dists/noble/InRelease' x 0 \n"), None);
    assert_eq!(mirrors_among(""), None);
}
