//! Every initializer against its declared law, with instruments of different blind spots: second
//! moment (scale), kurtosis (tails), KS (shape), exact support, independence across keys, rows and
//! columns, orthogonality. Each check runs at a false-alarm rate of 1e-6 and has a twin with a wrong
//! law that must fail.

use gainstage_spec::{Initializer, Layout, WeightShape};
use gainstage_stats::{
    Moments, Planned, Property, Rates, correlation_test, ks_test, ks_two_sample_test,
};
use rand::RngExt;
use rand_distr::{Distribution, Normal, StandardNormal, Uniform};

use crate::{Key, Purpose, Stream, fill, fill_f64};

/// Laws of independent entries. 300 x 400 = 120,000 draws see 6% of variance or less.
const INDEPENDENT: [&str; 18] = [
    "uniform(low = -0.2, high = 0.3)",
    "normal(std = 0.1)",
    "normal(mean = 0.5, std = 0.2)",
    "truncated_normal(std = 0.05)",
    "truncated_normal(std = 0.05, std_is = after)",
    "truncated_normal(std = 1, mean = 0.3, low = -0.5, high = 3)",
    "pytorch_trunc_normal(std = 1)",
    "lecun_normal",
    "lecun_uniform",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "he_normal(slope = 0.25, mode = fan_out)",
    "keras_he_normal",
    "keras_glorot_normal",
    "pytorch_linear",
    "variance_scaling(scale = 3, mode = fan_geometric_mean, distribution = uniform)",
];

fn shape() -> WeightShape {
    WeightShape::dense(300, 400).expect("valid")
}

fn key(layer: u32) -> Key {
    Key::new(77, Purpose::Weights, 0, layer)
}

fn draw(text: &str, shape: &WeightShape, key: Key) -> Vec<f32> {
    let initializer: Initializer = text.parse().expect(text);
    let mut out = vec![0.0f32; shape.elements()];
    fill(&initializer, shape, Layout::OutIn, key, &mut out).expect(text);
    out
}

/// Whether draws agree with the law of `declared` in scale about its mean and in shape.
fn agrees(declared: &str, draws: &[f32]) -> bool {
    let law = declared.parse::<Initializer>().and_then(|i| i.law(&shape())).expect(declared);
    let centred: Vec<f64> = draws.iter().map(|&w| f64::from(w) - law.mean()).collect();
    let kurtosis = law.kurtosis().expect("not constant");
    let plan = Planned::new(
        Property::SecondMoment { kurtosis },
        0.06,
        draws.len() as u64,
        Rates::ONE_IN_A_MILLION,
    )
    .expect("enough draws");
    let scale =
        plan.check_moments(&Moments::from(centred.as_slice()), law.variance()).expect("finite");
    let mean = centred.iter().sum::<f64>()
        / centred.len() as f64
        / (law.std() / (draws.len() as f64).sqrt());
    let values: Vec<f64> = draws.iter().map(|&w| f64::from(w)).collect();
    let ks = ks_test(&values, |x| law.cdf(x)).expect("finite");
    scale.holds() && mean.abs() < 4.89 && ks.p_value > 1e-6
}

#[test]
fn independent_entries_follow_their_declared_law() {
    for (layer, text) in INDEPENDENT.iter().enumerate() {
        let draws = draw(text, &shape(), key(layer as u32));
        assert!(agrees(text, &draws), "{text}");
        let law = text.parse::<Initializer>().and_then(|i| i.law(&shape())).expect(text);
        let (low, high) = law.support();
        assert!(
            draws.iter().all(|&w| (low..=high).contains(&f64::from(w))),
            "{text} leaves its support"
        );
        // The twin: 5% on the scale.
        let wrong: Vec<f32> = draws
            .iter()
            .map(|&w| (law.mean() + 1.05 * (f64::from(w) - law.mean())) as f32)
            .collect();
        assert!(!agrees(text, &wrong), "{text}: a gain wrong by 5% passes");
    }
}

#[test]
fn swapped_fans_and_missing_corrections_are_seen() {
    let with_fans = draw("he_normal(mode = fan_out)", &shape(), key(0));
    assert!(!agrees("he_normal", &with_fans));
    let uncorrected = draw("truncated_normal(std = 0.0816496580927726)", &shape(), key(1));
    assert!(!agrees("keras_he_normal", &uncorrected));
    let normal = draw("he_normal", &shape(), key(2));
    // Same variance, another shape: only KS and kurtosis can tell.
    assert!(!agrees("he_uniform", &normal));
}

#[test]
fn kurtosis_is_the_declared_one() {
    for (layer, text) in INDEPENDENT.iter().enumerate() {
        let law = text.parse::<Initializer>().and_then(|i| i.law(&shape())).expect(text);
        let draws = draw(text, &shape(), key(layer as u32));
        let measured = Moments::from(draws.as_slice()).kurtosis();
        let declared = law.kurtosis().expect("not constant");
        // Standard error of a normal sample's kurtosis sqrt(24/n) = 0.0141; lighter tails have less.
        let envelope = 4.89 * 0.0142;
        assert!((measured - declared).abs() < envelope, "{text}: {measured} against {declared}");
        // The twin: one draw in a thousand three times too large.
        let mut heavy = draws;
        let mean = law.mean() as f32;
        heavy.iter_mut().step_by(1000).for_each(|w| *w = mean + 3.0 * (*w - mean));
        let measured = Moments::from(heavy.as_slice()).kurtosis();
        assert!((measured - declared).abs() > envelope, "{text}: {measured} passes");
    }
}

#[test]
fn different_coordinates_are_uncorrelated_and_one_shared_key_is_seen() {
    let values = |layer, trial| -> Vec<f64> {
        let key = Key::new(5, Purpose::Weights, trial, layer);
        draw("lecun_normal", &shape(), key).iter().map(|&w| f64::from(w)).collect()
    };
    let base = values(0, 0);
    for other in [values(1, 0), values(0, 1), values(2, 9)] {
        assert!(correlation_test(&base, &other, 0.0).expect("finite").p_value > 1e-6);
    }
    // The twin: a seed shared by two layers, even at another scale.
    let shared: Vec<f64> = base.iter().map(|w| 3.0 * w).collect();
    assert!(correlation_test(&base, &shared, 0.0).expect("finite").p_value < 1e-6);
    // Neighbours within rows and columns.
    for stride in [1, 300] {
        let (a, b): (Vec<f64>, Vec<f64>) =
            (base[..100_000].to_vec(), base[stride..100_000 + stride].to_vec());
        assert!(correlation_test(&a, &b, 0.0).expect("finite").p_value > 1e-6);
    }
}

#[test]
fn layouts_hold_the_same_matrix() {
    for (shape, text) in [
        (WeightShape::dense(5, 7), "he_normal"),
        (WeightShape::conv(&[3, 2], 4, 6, 2), "glorot_uniform"),
        (WeightShape::conv_transposed(&[2], 3, 4, 1), "he_uniform"),
    ] {
        let shape = shape.expect("valid");
        let initializer: Initializer = text.parse().expect(text);
        let mut torch = vec![0.0f32; shape.elements()];
        let mut keras = torch.clone();
        fill(&initializer, &shape, Layout::OutIn, key(0), &mut torch).expect("fills");
        fill(&initializer, &shape, Layout::InOut, key(0), &mut keras).expect("fills");
        let (axes, field) = (shape.axes(Layout::OutIn), shape.field());
        for i in 0..axes[0] {
            for j in 0..axes[1] {
                for k in 0..field {
                    assert_eq!(
                        torch[(i * axes[1] + j) * field + k],
                        keras[(k * axes[1] + j) * axes[0] + i]
                    );
                }
            }
        }
    }
}

/// Largest deviation of the Gram matrix of the shorter side from the identity.
fn gram_error(w: &[f64], rows: usize, cols: usize) -> f64 {
    let (short, long) = (rows.min(cols), rows.max(cols));
    let at = |i: usize, k: usize| if rows <= cols { w[i * cols + k] } else { w[k * cols + i] };
    let mut worst = 0.0f64;
    for i in 0..short {
        for j in 0..short {
            let dot: f64 = (0..long).map(|k| at(i, k) * at(j, k)).sum();
            worst = worst.max((dot - f64::from(u8::from(i == j))).abs());
        }
    }
    worst
}

#[test]
fn orthogonal_arrays_are_orthogonal_and_haar() {
    for (inputs, outputs) in [(1, 1), (1, 6), (6, 1), (20, 20), (30, 12), (12, 30)] {
        let shape = WeightShape::dense(inputs, outputs).expect("valid");
        let mut w = vec![0.0f64; shape.elements()];
        fill_f64(&Initializer::Orthogonal { gain: 1.0 }, &shape, Layout::OutIn, key(3), &mut w)
            .expect("fills");
        assert!(gram_error(&w, outputs, inputs) < 1e-12, "{inputs} -> {outputs}");
    }
    // Haar on 3 x 3: entries uniform on [-1, 1] (Archimedes), determinant +-1 with equal probability.
    let shape = WeightShape::dense(3, 3).expect("valid");
    let law = Initializer::Orthogonal { gain: 1.0 }.law(&shape).expect("defined");
    let trials = 20_000u32;
    let (mut entries, mut positive) = (vec![Vec::new(); 9], 0.0);
    for trial in 0..trials {
        let mut w = vec![0.0f64; 9];
        let key = Key::new(11, Purpose::Weights, trial, 0);
        fill_f64(&Initializer::Orthogonal { gain: 1.0 }, &shape, Layout::OutIn, key, &mut w)
            .expect("fills");
        let minor = |a: usize, b: usize, c: usize, d: usize| w[a] * w[d] - w[b] * w[c];
        let determinant =
            w[0] * minor(4, 5, 7, 8) - w[1] * minor(3, 5, 6, 8) + w[2] * minor(3, 4, 6, 7);
        positive += f64::from(u8::from(determinant > 0.0));
        entries.iter_mut().zip(&w).for_each(|(e, &v)| e.push(v));
    }
    for (place, entry) in entries.iter().enumerate() {
        assert!(ks_test(entry, |x| law.cdf(x)).expect("finite").p_value > 1e-7, "entry {place}");
    }
    let n = f64::from(trials);
    assert!((positive / n - 0.5).abs() < 4.89 * 0.5 / n.sqrt(), "{positive} of {trials}");
    // The twin: without the choice of signs the first entry is not symmetric.
    let folded: Vec<f64> = entries[0].iter().map(|v| -v.abs()).collect();
    assert!(ks_test(&folded, |x| law.cdf(x)).expect("finite").p_value < 1e-6);
}

#[test]
fn structured_arrays_have_their_structure() {
    let dense = WeightShape::dense(4, 3).expect("valid");
    assert_eq!(draw("identity", &dense, key(0)), [1., 0., 0., 0., 0., 1., 0., 0., 0., 0., 1., 0.]);

    let wide = WeightShape::dense(50, 40).expect("valid");
    let sparse = draw("sparse(sparsity = 0.9, std = 0.5)", &wide, key(1));
    for column in 0..50 {
        let zeros = (0..40).filter(|row| sparse[row * 50 + column] == 0.0).count();
        assert_eq!(zeros, 36, "every input feeds four units");
    }

    // Dirac passes every channel on: convolving an impulse at the centre returns it.
    let conv = WeightShape::conv(&[3, 3], 4, 4, 2).expect("valid");
    let dirac = draw("dirac", &conv, key(2));
    assert_eq!(dirac.iter().filter(|w| **w == 1.0).count(), 4);
    assert_eq!(dirac.iter().sum::<f32>(), 4.0);
    for output in 0..4 {
        assert_eq!(dirac[(output * 2 + output % 2) * 9 + 4], 1.0);
    }

    let conv = WeightShape::conv(&[3], 5, 8, 1).expect("valid");
    let delta = draw("delta_orthogonal", &conv, key(3));
    let centre: Vec<f64> = delta.chunks_exact(3).map(|taps| f64::from(taps[1])).collect();
    assert!(delta.chunks_exact(3).all(|taps| taps[0] == 0.0 && taps[2] == 0.0));
    assert!(gram_error(&centre, 8, 5) < 1e-6);
}

#[test]
fn wrong_lengths_and_biases_are_refused() {
    use crate::{InitError, fill_bias};
    let he = Initializer::he_normal();
    let mut short = [0.0f32; 7];
    let refused = fill(&he, &shape(), Layout::OutIn, key(0), &mut short);
    assert!(matches!(refused, Err(InitError::Length { found: 7, needed: 120_000, .. })));
    let orthogonal = Initializer::Orthogonal { gain: 1.0 };
    assert!(matches!(
        fill_bias(&orthogonal, &shape(), key(0), &mut short),
        Err(InitError::Bias(_))
    ));
}

#[test]
fn f64_draws_follow_the_same_laws() {
    for (layer, text) in INDEPENDENT.iter().enumerate() {
        let initializer: Initializer = text.parse().expect(text);
        let mut out = vec![0.0f64; shape().elements()];
        fill_f64(&initializer, &shape(), Layout::OutIn, key(50 + layer as u32), &mut out)
            .expect(text);
        let law = initializer.law(&shape()).expect(text);
        assert!(ks_test(&out, |x| law.cdf(x)).expect("finite").p_value > 1e-7, "{text}");
    }
}

#[test]
fn first_values_of_every_law_are_stable() {
    let first =
        |text: &str| draw(text, &WeightShape::dense(8, 8).expect("valid"), key(0))[0].to_bits();
    let found: Vec<u32> = INDEPENDENT.iter().map(|text| first(text)).collect();
    assert_eq!(found, STABLE, "a change here breaks every stored result");
    let first_f64 = |text: &str| {
        let (initializer, mut out) = (text.parse::<Initializer>().expect(text), [0.0f64; 64]);
        let dense = WeightShape::dense(8, 8).expect("valid");
        fill_f64(&initializer, &dense, Layout::OutIn, key(0), &mut out).expect(text);
        out[0].to_bits()
    };
    let found: Vec<u64> = ["he_uniform", "he_normal", "keras_he_normal"].map(first_f64).to_vec();
    assert_eq!(found, STABLE_F64, "a change here breaks every stored result");
    // Products may round differently on another processor.
    for (text, value) in
        [("orthogonal", 0.1153302), ("sparse(sparsity = 0.3, std = 1)", -2.1462662)]
    {
        let found = draw(text, &WeightShape::dense(8, 8).expect("valid"), key(0))[11];
        assert!((f64::from(found) - value).abs() < 1e-6, "{text}: {found}");
    }
}

const STABLE_F64: [u64; 3] = [13818869274755247120, 4584563960246667713, 4585223621743411055];

const STABLE: [u32; 18] = [
    3176118764, 1028284020, 1058622414, 1019895412, 1021710342, 1061898198, 1056765457, 1043521246,
    3195838118, 1043521246, 3195838118, 1048376849, 3199377676, 1047881869, 1049610756, 1045125433,
    3188840861, 3202008682,
];

#[test]
fn draws_agree_with_those_of_an_independent_sampler() {
    // rand_distr's normal and uniform, from a stream of another purpose; two-sample KS at 1e-6 with
    // 120,000 draws a side sees distances of 0.02.
    let mut stream = Key::new(77, Purpose::Application, 0, 0).stream();
    let mut reference = |distribution: &dyn Fn(&mut Stream) -> f64| -> Vec<f64> {
        (0..120_000).map(|_| distribution(&mut stream)).collect()
    };
    let normal = Normal::new(0.5, 0.2).expect("valid");
    let uniform = Uniform::new(-0.2, 0.3).expect("valid");
    let cut = |s: &mut Stream| loop {
        let x = 0.05 * s.sample::<f64, _>(StandardNormal);
        if x.abs() <= 0.1 {
            return x;
        }
    };
    for (layer, text, reference) in [
        (30, "normal(mean = 0.5, std = 0.2)", reference(&|s| normal.sample(s))),
        (31, "uniform(low = -0.2, high = 0.3)", reference(&|s| uniform.sample(s))),
        (32, "truncated_normal(std = 0.05)", reference(&cut)),
    ] {
        let ours: Vec<f64> = draw(text, &shape(), key(layer)).into_iter().map(f64::from).collect();
        let same = ks_two_sample_test(&ours, &reference).expect("finite");
        assert!(same.p_value > 1e-6, "{text}: {}", same.p_value);
        let wide: Vec<f64> = ours.iter().map(|w| 1.1 * w).collect();
        let wrong = ks_two_sample_test(&wide, &reference).expect("finite");
        assert!(wrong.p_value < 1e-6, "{text}: a scale wrong by 10% passes");
    }
}
