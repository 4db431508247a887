//! Class `confirm`: acknowledgements to producers.

class! {
    85 "confirm";
    /// Wants what is published on the channel acknowledged.
    10 "select" Select [] { nowait: bit } []
    /// It will be.
    11 "select-ok" SelectOk [] {} []
}
