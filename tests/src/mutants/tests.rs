use std::collections::BTreeSet;
use std::fs;

use super::*;
use crate::program::workspace;

fn read(path: impl AsRef<std::path::Path>) -> String {
    let path = workspace().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_mutant_can_be_planted() {
    let rotten: Vec<_> =
        all().iter().filter_map(|mutant| mutant.planted_in(&read(mutant.file)).err()).collect();
    assert!(rotten.is_empty(), "{rotten:#?}");
}

#[test]
fn every_mutant_names_a_test_that_there_is() {
    for Mutant { name, killed_by, .. } in all() {
        let (test, path) = killed_by.place();
        let text = read(&path);
        assert!(text.contains(&format!("fn {test}(")), "{name}: no test {test} in {}", path.display());
        // The module must be one: a file that nothing includes has no tests.
        if let Some((parent, module)) = killed_by.declaration() {
            let declared = format!("mod {module};");
            assert!(read(&parent).contains(&declared), "{name}: {} has no `{declared}`", parent.display());
        }
    }
}

#[test]
fn names_are_unique_and_reasons_are_sentences() {
    let all = all();
    let names: BTreeSet<_> = all.iter().map(|mutant| mutant.name).collect();
    assert_eq!(names.len(), all.len());
    for Mutant { name, why, find, replace, .. } in all {
        assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-'), "{name}");
        assert!(why.ends_with('.') && why.chars().next().is_some_and(char::is_uppercase), "{name}");
        assert_ne!(find, replace, "{name}");
    }
}

/// The overview at the top of the list and the list say the same.
#[test]
fn the_overview_names_every_mutant_and_no_other() {
    let overview = include_str!("../mutants.rs").lines().map_while(|line| line.strip_prefix("//!"));
    let entries = overview.skip_while(|line| line.trim() != "Translation and its caches:");
    let entries = entries.collect::<Vec<_>>().join("\n");
    let named: BTreeSet<_> = entries.split('`').skip(1).step_by(2).collect();
    assert_eq!(named, all().iter().map(|mutant| mutant.name).collect());
}

#[test]
fn a_text_that_is_missing_or_there_twice_is_an_error_with_the_mutants_name() {
    let mutant = Mutant { name: "some", file: "a.rs", find: "x", replace: "y", ..all()[0] };
    assert_eq!(mutant.planted_in("axb").unwrap(), "ayb");
    for (text, count) in [("ab", 0), ("axbx", 2)] {
        let error = mutant.planted_in(text).unwrap_err();
        assert_eq!(error, Rotten { name: "some", file: "a.rs", count });
        assert!(error.to_string().contains("some"));
    }
}

#[test]
fn tests_are_found_where_modules_are() {
    let place = |test: Test| test.place();
    assert_eq!(place(Test::unit("iommu", "a::b::tests::c")), ("c", "iommu/src/a/b/tests.rs".into()));
    assert_eq!(place(Test::unit("portcullis", "a::tests::c")), ("c", "vmm/src/a/tests.rs".into()));
    assert_eq!(place(Test::unit("iommu", "a::b_tests::c")), ("c", "iommu/src/a/b/tests.rs".into()));
    assert_eq!(place(Test::integration("pci", "whole", "c")), ("c", "pci/tests/whole.rs".into()));
    assert_eq!(place(Test::integration("pci", "whole", "a::c")), ("c", "pci/tests/whole/a.rs".into()));
}
