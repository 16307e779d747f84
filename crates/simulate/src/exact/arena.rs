//! Memory for the draws of one thread.

/// Memory that one thread reuses from layer to layer and from draw to draw.
#[derive(Debug)]
pub(crate) struct Arena {
    /// The normals of a draw stay for the way back up to this many, else they are drawn again.
    pub(crate) most_kept: usize,
    pub(super) normals: Vec<f32>,
    pub(super) fresh: Vec<f32>,
    pub(super) z: Vec<f64>,
    pub(super) h: Vec<f64>,
    /// A chunk of W'D on its way through the layer below.
    pub(super) delta: Vec<f64>,
}

impl Default for Arena {
    /// Keeps up to 128 MiB of normals.
    fn default() -> Self {
        let (normals, fresh, z, h, delta) = Default::default();
        Self { most_kept: 32 << 20, normals, fresh, z, h, delta }
    }
}

impl Arena {
    /// Room for layers of up to `widest` values and for `normals` of them.
    pub(crate) fn reserve(&mut self, widest: usize, normals: usize) {
        let grow = |values: &mut Vec<f32>, len| {
            if values.len() < len {
                values.resize(len, 0.0);
            }
        };
        grow(&mut self.normals, normals.max(widest));
        grow(&mut self.fresh, widest);
        if self.z.len() < widest {
            self.z.resize(widest, 0.0);
            self.h.resize(widest, 0.0);
        }
    }
}
