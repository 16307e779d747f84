//! Errors that tests plant and must see.

/// One wrong term, for the tests that must see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Inputs of a batch drawn independently of each other.
    Uncorrelated,
    /// The backward pass as if its weights had not been used forward.
    Unconditioned,
    /// Fresh rows that still act on what the forward pass has fixed.
    Unprojected,
}

#[cfg(test)]
thread_local! {
    pub(super) static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Whether a test has planted this fault; never outside tests.
#[inline(always)]
pub(super) fn planted(fault: Fault) -> bool {
    #[cfg(test)]
    return PLANTED.get() == Some(fault);
    #[cfg(not(test))]
    return {
        let _ = fault;
        false
    };
}
