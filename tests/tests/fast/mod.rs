//! Turns the cases of a guest into tests.

/// A module of tests named after the guest, one for each of its cases, and one that all its cases are there.
macro_rules! cases {
    ($guest:ident: $($case:ident)*) => {
        mod $guest {
            $(
                #[test]
                fn $case() {
                    tests::bare_metal::test(stringify!($guest), stringify!($case));
                }
            )*

            #[test]
            fn every_case_is_a_test() {
                let cases = tests::bare_metal::cases(stringify!($guest)).unwrap();
                assert_eq!(cases, [$(stringify!($case)),*]);
            }
        }
    };
}
pub(crate) use cases;
