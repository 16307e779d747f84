use gainstage_spec::{Initializer, Law, Layout, WeightShape};

use crate::InitError;
use crate::draw::{Scalar, draw, inner_support};
use crate::key::Key;
use crate::structured::Places;

/// Fills a weight array.
///
/// `out` holds [`WeightShape::elements`] values in the order of `layout`. The same key gives the same
/// weights in both layouts, only stored in another order.
///
/// # Draws
/// Independent entries come by index, as from [`crate::fill_block`]: the same bits on every processor.
/// A truncated normal that falls outside its cuts is drawn again from numbers that belong to its index
/// alone. Bounds are never crossed by rounding; constants are rounded to the nearest f32. Orthogonal
/// matrices are exactly Haar-distributed, computed in f64 by matrix products that may differ in the
/// last bits between processors. For kernels of even size, dirac and delta-orthogonal take tap
/// (size - 1) / 2 as the centre, as JAX does; PyTorch's `dirac_` takes size / 2.
///
/// # Errors
/// [`InitError`] if the array has the wrong size, the initializer is not defined for the shape, or
/// f32 cannot hold its law.
///
/// # Example
/// ```
/// use gainstage_init::{Key, Purpose, fill};
/// use gainstage_spec::{Initializer, Layout, WeightShape};
/// let shape = WeightShape::dense(64, 10)?;
/// let mut w = vec![0.0f32; shape.elements()];
/// let key = Key::new(0, Purpose::Weights, 0, 0);
/// fill(&"orthogonal(gain = 2)".parse::<Initializer>()?, &shape, Layout::OutIn, key, &mut w)?;
/// let dot = |i: usize, j: usize| -> f32 { (0..64).map(|k| w[i * 64 + k] * w[j * 64 + k]).sum() };
/// assert!((dot(3, 3) - 4.0).abs() < 1e-5 && dot(3, 4).abs() < 1e-5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fill(
    initializer: &Initializer,
    shape: &WeightShape,
    layout: Layout,
    key: Key,
    out: &mut [f32],
) -> Result<(), InitError> {
    fill_any(initializer, shape, layout, key, out)
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
    fill_any(initializer, shape, layout, key, out)
}

/// Fills the biases of a layer whose weights have this shape; fan rules take the weights' fans, as
/// PyTorch's default does. Any number of biases may be drawn.
///
/// # Errors
/// [`InitError::Bias`] for an initializer whose entries depend on each other, otherwise as [`fill`].
///
/// # Example
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
    draw(&bias_law(initializer, shape)?, key, 0, out)
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
    draw(&bias_law(initializer, shape)?, key, 0, out)
}

fn fill_any<S: Scalar>(
    initializer: &Initializer,
    shape: &WeightShape,
    layout: Layout,
    key: Key,
    out: &mut [S],
) -> Result<(), InitError> {
    if out.len() != shape.elements() {
        return Err(InitError::Length {
            found: out.len(),
            needed: shape.elements(),
            shape: shape.to_string(),
        });
    }
    let law = initializer.law(shape)?;
    inner_support::<S>(&law)?;
    let places = Places(shape);
    match *initializer {
        Initializer::Identity { gain } => places.identity(gain, out),
        Initializer::Orthogonal { gain } => places.orthogonal(gain, key, out),
        Initializer::Sparse { sparsity, std } => {
            draw(&Initializer::normal(std).law(shape)?, key, 0, out)?;
            places.sparsify((sparsity * shape.outputs() as f64).ceil() as usize, key, out);
        }
        Initializer::Dirac { gain } => places.dirac(gain, out),
        Initializer::DeltaOrthogonal { gain } => places.delta_orthogonal(gain, key, out),
        _ => draw(&law, key, 0, out)?,
    }
    store(shape, layout, out);
    Ok(())
}

fn bias_law(initializer: &Initializer, shape: &WeightShape) -> Result<Law, InitError> {
    if matches!(
        initializer,
        Initializer::Identity { .. }
            | Initializer::Orthogonal { .. }
            | Initializer::Sparse { .. }
            | Initializer::Dirac { .. }
            | Initializer::DeltaOrthogonal { .. }
    ) {
        return Err(InitError::Bias(initializer.to_string()));
    }
    Ok(initializer.law(shape)?)
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
