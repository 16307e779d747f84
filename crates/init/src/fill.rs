use gainstage_spec::{Initializer, Law, Layout, SpecError, WeightShape};
use rand::RngExt;
use rand_distr::Distribution;
use thiserror::Error;

use crate::bulk::{self, box_muller};
use crate::key::Key;
use crate::orthogonal::haar;
use crate::sampler::Sampler;

/// What can keep an array from being filled.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum InitError {
    /// The initializer, or the initializer for this shape, is not defined.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The array has another size than the shape.
    #[error(
        "the array holds {found} values, the shape {shape} has {needed}; give it exactly as many"
    )]
    Length {
        /// Values in the array.
        found: usize,
        /// Values of the shape.
        needed: usize,
        /// The shape.
        shape: String,
    },
    /// An initializer whose entries depend on each other, asked for a bias.
    #[error(
        "{0} is no initializer for a bias; use zeros, constant, normal, uniform or a scaled rule"
    )]
    Bias(String),
}

/// Fills a weight array.
///
/// `out` holds [`WeightShape::elements`] values in the order of `layout`. The same key gives the same
/// weights in both layouts, only stored in another order, and the same bits on every processor but
/// for [`Initializer::Orthogonal`] and [`Initializer::DeltaOrthogonal`], whose decomposition may
/// round differently. A truncated normal is drawn again, from a stream of its own per element, until
/// it falls between its cuts.
///
/// # Errors
/// [`InitError`] if the array has the wrong size or the initializer is not defined for the shape.
pub fn fill(
    initializer: &Initializer,
    shape: &WeightShape,
    layout: Layout,
    key: Key,
    out: &mut [f32],
) -> Result<(), InitError> {
    let law = checked_law(initializer, shape, out.len())?;
    if is_independent(initializer) {
        draw_f32(&law, key, out);
    } else {
        let values = structured(initializer, shape, &law, key);
        out.iter_mut().zip(values).for_each(|(o, v)| *o = v as f32);
    }
    store(shape, layout, out);
    Ok(())
}

/// As [`fill`], in f64. The draws are other ones than those of [`fill`].
///
/// # Errors
/// As [`fill`].
pub fn fill_f64(
    initializer: &Initializer,
    shape: &WeightShape,
    layout: Layout,
    key: Key,
    out: &mut [f64],
) -> Result<(), InitError> {
    let law = checked_law(initializer, shape, out.len())?;
    if is_independent(initializer) {
        let mut stream = key.stream();
        out.iter_mut().for_each(|o| *o = Sampler(&law).sample(&mut stream));
    } else {
        out.copy_from_slice(&structured(initializer, shape, &law, key));
    }
    store(shape, layout, out);
    Ok(())
}

/// Fills the biases of a layer whose weights have this shape; fan rules take the weights' fans, as
/// PyTorch's default does.
///
/// # Errors
/// [`InitError::Bias`] for an initializer whose entries depend on each other.
///
/// ```
/// use gainstage_init::{Key, Purpose, fill_bias};
/// use gainstage_spec::{Initializer, WeightShape};
/// let mut bias = [0.0f32; 10];
/// let key = Key::new(1, Purpose::Biases, 0, 0);
/// fill_bias(&Initializer::pytorch_linear(), &WeightShape::dense(100, 10)?, key, &mut bias)?;
/// assert!(bias.iter().all(|b| b.abs() <= 0.1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fill_bias(
    initializer: &Initializer,
    shape: &WeightShape,
    key: Key,
    out: &mut [f32],
) -> Result<(), InitError> {
    let law = bias_law(initializer, shape)?;
    draw_f32(&law, key, out);
    Ok(())
}

/// As [`fill_bias`], in f64.
///
/// # Errors
/// As [`fill_bias`].
pub fn fill_bias_f64(
    initializer: &Initializer,
    shape: &WeightShape,
    key: Key,
    out: &mut [f64],
) -> Result<(), InitError> {
    let law = bias_law(initializer, shape)?;
    let mut stream = key.stream();
    out.iter_mut().for_each(|o| *o = Sampler(&law).sample(&mut stream));
    Ok(())
}

fn checked_law(
    initializer: &Initializer,
    shape: &WeightShape,
    found: usize,
) -> Result<Law, InitError> {
    let needed = shape.elements();
    if found != needed {
        return Err(InitError::Length { found, needed, shape: shape.to_string() });
    }
    Ok(initializer.law(shape)?)
}

fn bias_law(initializer: &Initializer, shape: &WeightShape) -> Result<Law, InitError> {
    if !is_independent(initializer) {
        return Err(InitError::Bias(initializer.to_string()));
    }
    Ok(initializer.law(shape)?)
}

/// Whether the entries are independent draws from one law.
fn is_independent(initializer: &Initializer) -> bool {
    !matches!(
        initializer,
        Initializer::Identity { .. }
            | Initializer::Orthogonal { .. }
            | Initializer::Sparse { .. }
            | Initializer::Dirac { .. }
            | Initializer::DeltaOrthogonal { .. }
    )
}

/// Independent draws, each from its own index of the key's stream.
fn draw_f32(law: &Law, key: Key, out: &mut [f32]) {
    match law {
        Law::Point { value } => out.fill(*value as f32),
        Law::Normal { mean, std } => bulk::fill_normal(key, 0, *mean as f32, *std as f32, out),
        Law::Uniform { low, high } => {
            bulk::fill_uniform(key, 0, *low as f32, *high as f32, out);
            // Rounding of the bounds to f32 must not leave the declared support.
            let (inner_low, inner_high) = (round_up(*low), round_down(*high));
            out.iter_mut().for_each(|o| *o = o.clamp(inner_low, inner_high));
        }
        Law::TruncatedNormal { mean, sigma, low, high } => {
            let (mean, sigma) = (*mean as f32, *sigma as f32);
            bulk::fill_normal(key, 0, mean, sigma, out);
            let inside = |x: f32| (*low..=*high).contains(&f64::from(x));
            for (index, value) in out.iter_mut().enumerate().filter(|(_, v)| !inside(**v)) {
                let mut stream = key.redraw(index as u64);
                while !inside(*value) {
                    let (a, b) = box_muller(stream.random(), stream.random());
                    *value = mean + sigma * a;
                    if !inside(*value) {
                        *value = mean + sigma * b;
                    }
                }
            }
        }
        // No independent initializer declares these; a caller of ours who did would still get the law.
        other => {
            let mut stream = key.stream();
            out.iter_mut().for_each(|o| *o = Sampler(other).sample(&mut stream) as f32);
        }
    }
}

/// Arrays whose entries depend on each other, in the order of [`Layout::OutIn`].
fn structured(initializer: &Initializer, shape: &WeightShape, law: &Law, key: Key) -> Vec<f64> {
    let mut out = vec![0.0; shape.elements()];
    let rows = shape.outputs();
    let mut stream = key.stream();
    match *initializer {
        Initializer::Identity { gain } => {
            let cols = shape.elements() / rows;
            (0..rows.min(cols)).for_each(|i| out[i * cols + i] = gain);
        }
        Initializer::Orthogonal { gain } => {
            out = haar(rows, shape.elements() / rows, &mut stream);
            out.iter_mut().for_each(|v| *v *= gain);
        }
        Initializer::Sparse { sparsity, .. } => {
            let cols = shape.elements() / rows;
            let zeros = (sparsity * rows as f64).ceil() as usize;
            let nonzero = match law {
                Law::ZeroInflated { other, .. } => other,
                other => other,
            };
            let mut order: Vec<usize> = (0..rows).collect();
            for col in 0..cols {
                // The first `zeros` places of a partial Fisher-Yates shuffle.
                for i in 0..zeros {
                    order.swap(i, stream.random_range(i..rows));
                }
                for &row in &order[zeros..] {
                    out[row * cols + col] = Sampler(nonzero).sample(&mut stream);
                }
            }
        }
        Initializer::Dirac { gain } => {
            let (inputs, outputs) = (shape.inputs() / shape.groups(), rows / shape.groups());
            for group in 0..shape.groups() {
                for channel in 0..inputs.min(outputs) {
                    let place =
                        tap(shape, group * outputs + channel, channel, group * inputs + channel);
                    out[place] = gain;
                }
            }
        }
        Initializer::DeltaOrthogonal { gain } => {
            let inputs = shape.inputs();
            let q = haar(rows, inputs, &mut stream);
            for row in 0..rows {
                for col in 0..inputs {
                    let place = tap(shape, row, col, col);
                    out[place] = gain * q[row * inputs + col];
                }
            }
        }
        _ => {}
    }
    out
}

/// Index of the kernel's central tap from input `inside` (of its group) or `input` (of all) to `output`.
fn tap(shape: &WeightShape, output: usize, inside: usize, input: usize) -> usize {
    let centre = shape.kernel().iter().fold(0, |index, &size| index * size + (size - 1) / 2);
    let (major, minor, width) = if shape.is_transposed() {
        (input, output % (shape.outputs() / shape.groups()), shape.outputs() / shape.groups())
    } else {
        (output, inside, shape.inputs() / shape.groups())
    };
    (major * width + minor) * shape.field() + centre
}

/// From `[a, b, kernel...]` to `[kernel..., b, a]` where the layout asks for it.
fn store<T: Copy>(shape: &WeightShape, layout: Layout, out: &mut [T]) {
    if layout == Layout::OutIn || shape.is_embedding() {
        return;
    }
    let axes = shape.axes(Layout::OutIn);
    let (a, b, field) = (axes[0], axes[1], shape.field());
    let from: Vec<T> = out.to_vec();
    for k in 0..field {
        for j in 0..b {
            for i in 0..a {
                out[(k * b + j) * a + i] = from[(i * b + j) * field + k];
            }
        }
    }
}

/// The smallest f32 not below `x`.
fn round_up(x: f64) -> f32 {
    let nearest = x as f32;
    if f64::from(nearest) < x { nearest.next_up() } else { nearest }
}

/// The largest f32 not above `x`.
fn round_down(x: f64) -> f32 {
    -round_up(-x)
}
