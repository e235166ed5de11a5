//! One body, two tests: whatever is promised holds for root and for an ordinary user.

/// Makes `NAME::as_an_ordinary_user` and `NAME::as_root` of each case.
#[macro_export]
macro_rules! for_each_user {
    ($($(#[$meta:meta])* fn $name:ident($who:ident) $body:block)*) => {$(
        #[cfg(test)]
        mod $name {
            use super::*;

            $(#[$meta])*
            fn case($who: $crate::world::As) -> anyhow::Result<()> $body

            #[test]
            fn as_an_ordinary_user() -> anyhow::Result<()> {
                case($crate::world::As::Ordinary)
            }

            #[test]
            fn as_root() -> anyhow::Result<()> {
                case($crate::world::As::Root)
            }
        }
    )*};
}
