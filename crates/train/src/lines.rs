use std::ops::{Deref, DerefMut};

/// Numbers that begin where a line of the cache does. Otherwise every load of a whole vector spans two lines, which
/// makes an epoch of the example `notebook` a sixth longer.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    memory: Vec<f32>,
    first: usize,
    len: usize,
}

/// Numbers of a line.
const LINE: usize = 16;

impl Lines {
    pub(crate) fn zeros(len: usize) -> Self {
        if len == 0 {
            return Self::default();
        }
        let memory = vec![0.0; len + LINE - 1];
        let first = memory.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE - 1);
        Self { memory, first, len }
    }
}

impl From<&[f32]> for Lines {
    fn from(values: &[f32]) -> Self {
        let mut lines = Self::zeros(values.len());
        lines.copy_from_slice(values);
        lines
    }
}

impl Clone for Lines {
    fn clone(&self) -> Self {
        Self::from(&self[..])
    }
}

impl PartialEq for Lines {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Deref for Lines {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.memory[self.first..][..self.len]
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.memory[self.first..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_begin_at_a_line_also_when_cloned_or_moved() {
        for len in [0, 1, 16, 1000] {
            let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let lines = Lines::from(&values[..]);
            let moved = vec![lines.clone(), lines];
            for lines in moved {
                assert_eq!(lines[..], values);
                assert!(len == 0 || lines.as_ptr().addr().is_multiple_of(64), "{len}");
            }
        }
    }
}
