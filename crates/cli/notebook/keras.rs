//! The notebook's accuracies beside those of Keras itself.

use anyhow::Context;
use gainstage_claims::Runs;
use gainstage_report::{Cell, Table};
use gainstage_stats::{Equivalence, Moments, Probability, StatsError, equivalence_welch};
use serde::Serialize;

use super::{FALSE_EQUIVALENCE, MARGIN, badge};

/// Written by `crates/train/tests/fixtures/keras.py`: ten epochs on MNIST, test pixels divided.
const KERAS: &str = include_str!("../../train/tests/fixtures/keras.csv");

/// One initialization in both programs; the seeds are independent.
#[derive(Serialize)]
pub(super) struct BesideKeras {
    init: String,
    keras: Moments,
    ours: Moments,
    /// Of test accuracy, ours minus Keras's.
    equivalence: Equivalence,
}

/// The three models that learn, wherever there are two seeds or more that differ.
pub(super) fn compare(runs: &Runs) -> anyhow::Result<Vec<BesideKeras>> {
    let alpha = Probability::new(FALSE_EQUIVALENCE / 3.0)?;
    let mut found = Vec::new();
    for model in runs.models.iter().skip(1) {
        let keras = accuracies(KERAS, &model.init)?;
        let ours: Moments = model.seeds.iter().map(|s| s.test_accuracy).collect();
        match equivalence_welch(&ours, &keras, MARGIN, alpha) {
            Ok(equivalence) => {
                found.push(BesideKeras { init: model.init.clone(), keras, ours, equivalence });
            }
            Err(StatsError::TooFew { .. } | StatsError::NoSpread { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

/// Test accuracies of one initialization.
fn accuracies(csv: &str, init: &str) -> anyhow::Result<Moments> {
    let rows = csv.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    rows.filter(|row| row.first() == Some(&init))
        .map(|row| {
            let text = row.get(2).context("a row of Keras's runs is cut off")?;
            text.parse::<f64>().with_context(|| format!("Keras's accuracy {text:?}"))
        })
        .collect()
}

pub(super) fn table(comparisons: &[BesideKeras]) -> Table {
    let caption = format!(
        "Test accuracy beside Keras 3.3.3 on TensorFlow 2.16.1, the same protocol with other seeds: the difference, ours minus Keras's, and \
         whether it is shown to be below {MARGIN} (two one-sided Welch tests; {FALSE_EQUIVALENCE} for a false claim among the three)."
    );
    let columns =
        ["model", "ours", "seeds", "Keras", "seeds", "difference", "low", "high", "p (apart)", ""];
    let mut table = Table::new("keras", caption, &columns);
    for BesideKeras { init, keras, ours, equivalence } in comparisons {
        table.push(vec![
            Cell::text(init),
            Cell::number(ours.mean()),
            Cell::number(ours.count() as f64),
            Cell::number(keras.mean()),
            Cell::number(keras.count() as f64),
            Cell::number(equivalence.difference.estimate),
            Cell::number(equivalence.difference.low),
            Cell::number(equivalence.difference.high),
            Cell::number(equivalence.p_value),
            badge(equivalence.conclusion),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use gainstage_claims::{ModelRun, SeedRun};
    use gainstage_stats::Conclusion;

    use super::*;

    /// Runs whose accuracies are Keras's, moved.
    fn moved(by: f64) -> Runs {
        let run = |(seed, accuracy): (usize, f64)| SeedRun {
            seed: seed as u64,
            test_accuracy: accuracy + by,
            test_loss: 0.0,
            test_accuracy_unscaled: 0.0,
            test_loss_unscaled: 0.0,
            validation_accuracy: 0.0,
            history: Vec::new(),
        };
        let values = |init: &str| -> Vec<f64> {
            let rows = KERAS.lines().filter(|line| line.starts_with(&format!("{init},")));
            rows.map(|line| line.split(',').nth(2).expect("whole").parse().expect("a number"))
                .collect()
        };
        let models = ["zero", "normal(0.1)", "xavier", "he"].map(|init| ModelRun {
            init: init.to_owned(),
            // Three times the same, as many more seeds would be.
            seeds: values(init).repeat(3).into_iter().enumerate().map(run).collect(),
        });
        Runs { models: models.into(), seconds: 0.0 }
    }

    #[test]
    fn accuracies_like_keras_are_equivalent_and_others_are_not() {
        let conclusions = |by| {
            let found = compare(&moved(by)).expect("a whole fixture");
            assert!(found.iter().all(|c| c.keras.count() >= 10), "seeds of Keras");
            found.iter().map(|c| c.equivalence.conclusion).collect::<Vec<_>>()
        };
        assert_eq!(conclusions(0.0), [Conclusion::Equivalent; 3]);
        assert_eq!(conclusions(0.006), [Conclusion::Different; 3]);
        assert_eq!(conclusions(-0.006), [Conclusion::Different; 3]);
        // A difference of the margin itself is never called small.
        assert!(!conclusions(MARGIN).contains(&Conclusion::Equivalent));
    }

    #[test]
    fn a_fixture_that_is_cut_off_is_an_error() {
        assert!(accuracies("init,seed\nhe,1", "he").is_err());
        assert!(accuracies("init,seed,test_accuracy\nhe,1,good", "he").is_err());
    }
}
