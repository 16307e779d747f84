//! Small matrices in the order in which the kernels read them.

use super::lanes::TILED;

/// The rows of a small matrix, packed for [`super::lanes::combine`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Coefficients {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Rows of one tile each: their numbers, and how many leading columns are not all zero.
    pub(super) tiles: Vec<Tile>,
    /// Tile after tile, column after column, one value for each of the tile's rows.
    pub(super) packed: Vec<f64>,
    /// Row after row, for large batches.
    pub(super) plain: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    pub(super) rows: [u32; 4],
    pub(super) count: u32,
    pub(super) reach: u32,
    pub(super) start: u32,
}

impl Coefficients {
    /// Packs `values`, `rows x columns`, row after row.
    pub(crate) fn pack(&mut self, values: &[f64], rows: usize, columns: usize) {
        (self.rows, self.columns) = (rows, columns);
        self.tiles.clear();
        self.packed.clear();
        self.plain.clear();
        if rows.max(columns) > TILED {
            self.plain.extend_from_slice(values);
            return;
        }
        self.packed.reserve(rows * columns);
        // Triangular factors come in the order of their pivots; rows of similar length share a tile.
        let mut order = [(0usize, 0usize); TILED];
        let order = &mut order[..rows];
        for (row, place) in order.iter_mut().enumerate() {
            let values = &values[row * columns..(row + 1) * columns];
            let zeros = values.iter().rev().take_while(|v| **v == 0.0).count();
            *place = (columns - zeros, row);
        }
        order.sort_unstable();
        let mut rest = &*order;
        while !rest.is_empty() {
            let count = match rest.len() {
                1 => 1,
                2 | 3 => 2,
                _ => 4,
            };
            let (here, after) = rest.split_at(count);
            rest = after;
            let reach = here.last().map_or(0, |place| place.0);
            let mut tile = Tile {
                rows: [0; 4],
                count: count as u32,
                reach: reach as u32,
                start: self.packed.len() as u32,
            };
            for (place, &(_, row)) in tile.rows.iter_mut().zip(here) {
                *place = row as u32;
            }
            for column in 0..reach {
                self.packed.extend(here.iter().map(|&(_, row)| values[row * columns + column]));
            }
            self.tiles.push(tile);
        }
    }
}

impl Coefficients {
    /// The matrix, which is `B x B` and small.
    #[inline(always)]
    pub(crate) fn square<const B: usize>(&self) -> [[f64; B]; B] {
        let mut out = [[0.0; B]; B];
        for tile in &self.tiles {
            let (count, start) = (tile.count as usize, tile.start as usize);
            for column in 0..tile.reach as usize {
                for r in 0..count {
                    out[tile.rows[r] as usize][column] = self.packed[start + column * count + r];
                }
            }
        }
        out
    }
}
