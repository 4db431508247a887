//! Class `tx`: transactions.

class! {
    90 "tx";
    /// Makes the channel transactional.
    10 "select" Select [] {} []
    /// It is.
    11 "select-ok" SelectOk [] {} []
    /// Makes what was done come true.
    20 "commit" Commit [] {} []
    /// It has.
    21 "commit-ok" CommitOk [] {} []
    /// Forgets what was done.
    30 "rollback" Rollback [] {} []
    /// It is forgotten.
    31 "rollback-ok" RollbackOk [] {} []
}
