//! The notebook's protocol on images: real MNIST where `GAINSTAGE_DATA` points to it, drawn digits elsewhere.

use std::sync::Arc;

use gainstage_claims::{Budget, Lab, notebook};
use gainstage_data::{Dataset, Source, load};

fn images() -> Dataset {
    let source =
        if std::env::var_os("GAINSTAGE_DATA").is_some() { Source::Auto } else { Source::Synthetic };
    load(&source, &mut |_| ()).expect("images")
}

#[test]
fn three_epochs_tell_zero_from_the_rest_and_divided_pixels_from_raw_ones() {
    let data = images();
    let (name, classes) = (data.name.clone(), data.classes);
    let counts = data.test.class_counts(classes);
    let trained = data.train.slice(5000..data.train.len()).class_counts(classes);
    let commonest = (0..classes).max_by_key(|&k| (trained[k], classes - k)).expect("classes");
    let share = counts[commonest] as f64 / data.test.len() as f64;
    let lab = Lab::new(1, Budget::Quick, Arc::new(data), Arc::new(|_: &str| ()));
    let runs = notebook(&lab, 1, 3, &|| ()).expect("trains");
    let zero = &runs.models[0].seeds[0];
    assert_eq!(zero.test_accuracy, share, "{name}");
    assert_eq!(zero.test_accuracy_unscaled, share, "{name}");
    if name == "MNIST" {
        assert!((zero.test_loss - 2.301).abs() < 0.003, "{}", zero.test_loss);
    }
    for model in &runs.models[1..] {
        let run = &model.seeds[0];
        assert!(run.test_accuracy > 0.93, "{name}, {}: {}", model.init, run.test_accuracy);
        assert!(run.test_loss < 0.3 && run.test_loss_unscaled > 5.0, "{name}, {}", model.init);
        assert_eq!(run.history.len(), 3);
        let losses: Vec<f64> = run.history.iter().map(|e| e.train_loss).collect();
        assert!(losses.windows(2).all(|w| w[1] < w[0]), "{losses:?}");
    }
}
