use gainstage_spec::Law;
use rand::{Rng, RngExt};
use rand_distr::{ChiSquared, Distribution, StandardNormal};

/// A law as a distribution of `rand_distr`, for any generator, in f64.
///
/// For code that draws through rand's traits; [`crate::fill_block_f64`] is faster and addresses its
/// draws by index. Any [`Stream`](crate::Stream) serves as the generator.
///
/// A truncated normal is drawn by rejection, which takes 1/p tries if the cuts leave a share p. Laws from
/// [`Initializer::law`](gainstage_spec::Initializer::law) leave at least 1%; a law put together by hand
/// that leaves nothing never returns.
///
/// # Example
/// ```
/// use gainstage_init::{Key, Purpose, Sampler};
/// use gainstage_spec::Law;
/// use rand_distr::Distribution;
/// let law = Law::TruncatedNormal { mean: 0.0, sigma: 1.0, low: -2.0, high: 2.0 };
/// let mut stream = Key::new(7, Purpose::Application, 0, 0).stream();
/// let draws: Vec<f64> = Sampler(&law).sample_iter(&mut stream).take(1000).collect();
/// assert!(draws.iter().all(|x| x.abs() <= 2.0));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Sampler<'a>(pub &'a Law);

impl Distribution<f64> for Sampler<'_> {
    fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> f64 {
        match self.0 {
            Law::Point { value } => *value,
            Law::Uniform { low, high } => {
                (low + (high - low) * rng.random::<f64>()).clamp(*low, *high)
            }
            Law::Normal { mean, std } => mean + std * normal(rng),
            // By rejection: the inverse distribution function loses the tails to rounding.
            Law::TruncatedNormal { mean, sigma, low, high } => loop {
                let x = mean + sigma * normal(rng);
                if (*low..=*high).contains(&x) {
                    return x;
                }
            },
            // One coordinate of a Gaussian vector over its length, the other squares summed by their law.
            Law::SphereCoordinate { dimension, radius } => {
                let first = normal(rng);
                let rest = match dimension {
                    0 | 1 => 0.0,
                    more => ChiSquared::new((more - 1) as f64)
                        .expect("a positive number of degrees of freedom")
                        .sample(rng),
                };
                radius * (first / (first * first + rest).sqrt())
            }
            Law::ZeroInflated { zero_share, other } => {
                if rng.random::<f64>() < *zero_share {
                    0.0
                } else {
                    Sampler(other).sample(rng)
                }
            }
        }
    }
}

fn normal<R: Rng + ?Sized>(rng: &mut R) -> f64 {
    StandardNormal.sample(rng)
}
