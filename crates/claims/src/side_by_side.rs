//! Experiments side by side: where one leaves a core idle, another goes on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::Serialize;

use crate::claim::{Claim, Verdict};
use crate::document::Run;
use crate::ledger::run;
use crate::{ClaimError, Lab, Plant};

/// A claim that was run with an error planted: the verdict must be another one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Planted {
    /// Code of the claim.
    pub code: &'static str,
    /// The error.
    pub planted: String,
    /// The claim's verdict without it.
    pub expected: Verdict,
    /// The verdict with it.
    pub verdict: Verdict,
    /// Whether the two differ.
    pub noticed: bool,
    /// What the claim says with it.
    pub sentence: String,
    /// Wall-clock seconds.
    pub seconds: f64,
}

/// Runs claims on `workers` threads of their own, each of which hands its parallel work to rayon's pool.
///
/// Claims of one chapter run one after another, since they may share what is trained. The result is
/// in the order of `claims` and does not depend on `workers`; seconds do. `begin` and `end` are called
/// with each claim.
///
/// # Errors
/// The [`ClaimError`] of a claim that cannot be run.
pub fn run_all(
    claims: &[&'static Claim],
    lab: &Lab,
    workers: usize,
    begin: &(dyn Fn(&Claim) + Sync),
    end: &(dyn Fn(&Claim) + Sync),
) -> Result<Vec<Run>, ClaimError> {
    let groups = grouped(claims, |a, b| a.chapter == b.chapter);
    side_by_side(&groups, workers, |claim| {
        begin(claim);
        let (record, outcome) = run(claim, lab)?;
        end(claim);
        Ok(Run { claim, record, outcome })
    })
}

/// Runs claims with each of their errors planted, in the manner of [`run_all`].
///
/// # Errors
/// As [`run_all`].
pub fn run_planted(
    claims: &[&'static Claim],
    lab: &Lab,
    workers: usize,
    begin: &(dyn Fn(&Claim) + Sync),
    end: &(dyn Fn(&Claim) + Sync),
) -> Result<Vec<Planted>, ClaimError> {
    struct Case {
        claim: &'static Claim,
        plant: Plant,
        lab: Lab,
    }
    // One lab for each error: claims of a chapter share what is trained with it.
    let mut labs: Vec<Lab> = Vec::new();
    let mut cases = Vec::new();
    for &claim in claims {
        for &plant in claim.planted {
            let known = labs.iter().find(|lab| lab.plant == Some(plant)).cloned();
            let lab = known.unwrap_or_else(|| {
                labs.push(lab.clone().with_plant(plant));
                labs[labs.len() - 1].clone()
            });
            cases.push(Case { claim, plant, lab });
        }
    }
    let same = |a: &Case, b: &Case| (a.claim.chapter, a.plant) == (b.claim.chapter, b.plant);
    side_by_side(&grouped(&cases, same), workers, |case| {
        let Case { claim, plant, lab } = case;
        begin(claim);
        let started = Instant::now();
        let (record, _) = run(claim, lab)?;
        end(claim);
        Ok(Planted {
            code: claim.code,
            planted: plant.to_string(),
            expected: claim.expected,
            verdict: record.verdict,
            noticed: record.verdict != claim.expected,
            sentence: record.sentence,
            seconds: started.elapsed().as_secs_f64(),
        })
    })
}

/// A job and its place.
type Placed<'a, J> = (usize, &'a J);

/// Jobs in groups of the same kind, groups in the order of their first jobs.
fn grouped<J>(jobs: &[J], same: impl Fn(&J, &J) -> bool) -> Vec<Vec<Placed<'_, J>>> {
    let mut groups: Vec<Vec<Placed<'_, J>>> = Vec::new();
    for job in jobs.iter().enumerate() {
        match groups.iter_mut().find(|group| same(group[0].1, job.1)) {
            Some(group) => group.push(job),
            None => groups.push(vec![job]),
        }
    }
    groups
}

/// Runs groups on up to `workers` threads, a group's jobs in order on one of them; results in the order
/// of places. After an error no further group is begun.
fn side_by_side<J: Sync, R: Send>(
    groups: &[Vec<Placed<'_, J>>],
    workers: usize,
    run: impl Fn(&J) -> Result<R, ClaimError> + Sync,
) -> Result<Vec<R>, ClaimError> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    let work = || {
        while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
            for (place, job) in group {
                let result = run(job);
                if result.is_err() {
                    next.store(groups.len(), Ordering::Relaxed);
                }
                // A worker that panicked takes all others with it when the scope ends.
                if let Ok(mut results) = results.lock() {
                    results.push((*place, result));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        (1..workers.min(groups.len())).for_each(|_| {
            scope.spawn(work);
        });
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_groups_their_thread() {
        let jobs: Vec<usize> = (0..40).collect();
        let groups = grouped(&jobs, |a, b| a % 3 == b % 3);
        assert_eq!(groups.len(), 3);
        let all = |workers| {
            let run = |job: &usize| Ok((*job * 2, std::thread::current().id()));
            side_by_side(&groups, workers, run).expect("no job fails")
        };
        for workers in [1, 2, 8] {
            let found = all(workers);
            let values: Vec<usize> = found.iter().map(|f| f.0).collect();
            assert_eq!(values, (0..40).map(|j| j * 2).collect::<Vec<_>>());
            assert!(found.iter().enumerate().all(|(i, f)| f.1 == found[i % 3].1));
        }
    }

    #[test]
    fn an_error_is_told() {
        let jobs = [1, 2, 3];
        let groups = grouped(&jobs, |_, _| false);
        let run = |job: &i32| {
            if *job == 2 { Err(ClaimError::Budget("two".to_owned())) } else { Ok(*job) }
        };
        assert!(matches!(side_by_side(&groups, 2, run), Err(ClaimError::Budget(_))));
    }
}
