//! Instruments: mergeable moments, intervals, tests of agreement and equivalence, planning.
