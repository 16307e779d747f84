//! The bulk normals at large numbers of draws: moments one to eight, tails, distribution function, and
//! the dependence that a defect of the generator or of the pairing would leave.

use gainstage_stats::{Probability, clopper_pearson_interval};

use crate::{Key, Purpose, fill_normal};

/// Two-sided normal quantile of the false-alarm rate 1e-6 of every check.
const Z: f64 = 4.892;
/// sqrt(ln(2e6) / 2): sqrt(n) D of a Kolmogorov-Smirnov test at the same rate.
const KOLMOGOROV: f64 = 2.694;
const CHUNK: usize = 1 << 16;
/// Box-Muller partners are 16 apart, pairs of one counter 32, of neighbouring counters 1, of
/// neighbouring blocks 64.
const LAGS: [usize; 5] = [1, 16, 32, 48, 64];
const BINS: usize = 4000;
/// The grid of the distribution function, in standard deviations.
const EDGE: f64 = 5.0;

fn cdf(x: f64) -> f64 {
    gainstage_spec::Law::Normal { mean: 0.0, std: 1.0 }.cdf(x)
}

/// The checks that the altered draws fail; 30 in all, so 3e-5 is the rate of any alarm.
fn alarms(chunks: u64, alter: impl Fn(&mut [f32])) -> Vec<String> {
    let tails = [3.0, 4.0, 4.5, 5.0];
    let mut powers = [0.0; 8];
    let mut products = [0.0; LAGS.len()];
    let mut squares = [0.0; LAGS.len()];
    let mut beyond = [0u64; 4];
    let mut bins = vec![0u64; BINS + 1];
    let mut x = vec![0.0f32; CHUNK];
    let mut finite = true;
    for chunk in 0..chunks {
        fill_normal(Key::new(1, Purpose::Weights, 0, 0), chunk * CHUNK as u64, 0.0, 1.0, &mut x);
        alter(&mut x);
        for &value in &x {
            let v = f64::from(value);
            finite &= v.is_finite();
            let mut power = 1.0;
            for sum in &mut powers {
                power *= v;
                *sum += power;
            }
            bins[((v + EDGE) * (BINS as f64 / (2.0 * EDGE))).clamp(0.0, BINS as f64) as usize] += 1;
            for (count, sigma) in beyond.iter_mut().zip(tails) {
                *count += u64::from(v.abs() > sigma);
            }
        }
        for (at, lag) in LAGS.into_iter().enumerate() {
            for (&a, &b) in x.iter().zip(&x[lag..]) {
                let (a, b) = (f64::from(a), f64::from(b));
                products[at] += a * b;
                squares[at] += (a * a - 1.0) * (b * b - 1.0);
            }
        }
    }
    let n = (chunks * CHUNK as u64) as f64;
    let mut alarms = Vec::new();
    let mut check = |name: String, size: f64, limit: f64| {
        if !(size.abs() < limit) {
            alarms.push(format!("{name}: {size} beyond {limit}"));
        }
    };
    check("a draw is not finite".to_owned(), f64::from(u8::from(!finite)), 0.5);
    // E x^k: 1 3 5 ... (k - 1) for even k.
    let normal = |k: i32| if k % 2 == 0 { (1..k).step_by(2).map(f64::from).product() } else { 0.0 };
    for (k, sum) in (1..).zip(powers) {
        let error = ((normal(2 * k) - normal(k).powi(2)) / n).sqrt();
        check(format!("moment {k}"), (sum / n - normal(k)) / error, Z);
    }
    for (at, lag) in LAGS.into_iter().enumerate() {
        let pairs = n - (chunks as usize * lag) as f64;
        check(format!("product at lag {lag}"), products[at] / pairs.sqrt(), Z);
        check(format!("squares at lag {lag}"), squares[at] / (2.0 * pairs.sqrt()), Z);
    }
    let mut below = 0u64;
    let mut distance = 0.0f64;
    for (bin, count) in bins[..BINS].iter().enumerate() {
        below += count;
        let edge = (bin + 1) as f64 * (2.0 * EDGE / BINS as f64) - EDGE;
        distance = distance.max((below as f64 / n - cdf(edge)).abs());
    }
    check("distribution".to_owned(), n.sqrt() * distance, KOLMOGOROV);
    let sure = Probability::new(1.0 - 1e-6).expect("between 0 and 1");
    for (count, sigma) in beyond.into_iter().zip(tails) {
        let interval = clopper_pearson_interval(count, n as u64, sure).expect("draws");
        let p = 2.0 * cdf(-sigma);
        if !(interval.low..=interval.high).contains(&p) {
            alarms.push(format!("{count} beyond {sigma} sigma, {} expected", p * n));
        }
    }
    alarms
}

#[test]
fn sixteen_million_normals_raise_no_alarm_and_wrong_ones_do() {
    let chunks = 256;
    assert_eq!(alarms(chunks, |_| ()), [""; 0]);
    let raises = |name: &str, alter: &dyn Fn(&mut [f32])| {
        assert!(alarms(chunks, alter).iter().any(|a| a.contains(name)), "{name} is not seen");
    };
    // 1% of variance: three times the smallest error seen at a miss rate of 1e-6.
    raises("moment 2", &|x| x.iter_mut().for_each(|v| *v *= 1.005));
    raises("moment 1", &|x| x.iter_mut().for_each(|v| *v += 0.003));
    raises("beyond 4.5", &|x| x.iter_mut().for_each(|v| *v = v.clamp(-4.4, 4.4)));
    raises("distribution", &|x| x.iter_mut().for_each(|v| *v += 0.002));
    // Partners that share their radius and not their angle: uncorrelated, and dependent.
    raises("squares at lag 32", &|x| {
        for block in x.chunks_exact_mut(64) {
            for i in 0..32 {
                block[32 + i] = block[i] * block[32 + i].signum();
            }
        }
    });
    raises("product at lag 1", &|x| (1..x.len()).for_each(|i| x[i] += 0.002 * x[i - 1]));
}

#[test]
#[ignore = "a billion draws take half a minute"]
fn a_billion_normals_raise_no_alarm() {
    assert_eq!(alarms(1 << 14, |_| ()), [""; 0]);
}
