//! Photographs of donut boxes, and counting what is in them.

use super::chance::Chance;
use super::real;

/// Width and height of one compartment of a box, in pixels.
const CELL: usize = 28;
/// Compartments across and down.
const GRID: (usize, usize) = (4, 3);

/// A black and white photograph of a box.
#[derive(Clone, Debug)]
pub struct Photo {
    width: usize,
    dark: Vec<bool>,
}

/// What is in a box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Rings with a hole.
    pub whole: u32,
    /// Pieces without one: somebody took a bite.
    pub bitten: u32,
}

/// Photographs the box of that number; also says what was put in, to check the counting.
pub fn photograph(box_id: u32) -> (Photo, Counted) {
    let mut chance = Chance::of("donut box", box_id);
    let (columns, rows) = GRID;
    let mut photo = Photo { width: columns * CELL, dark: vec![false; columns * rows * CELL * CELL] };
    let mut content = Counted::default();
    for cell in 0..columns * rows {
        let corner = (cell % columns * CELL, cell / columns * CELL);
        match chance.below(8) {
            0 => {} // somebody was quicker
            1 => {
                photo.draw(corner, &mut chance, true);
                content.bitten += 1;
            }
            _ => {
                photo.draw(corner, &mut chance, false);
                content.whole += 1;
            }
        }
    }
    (photo, content)
}

impl Photo {
    /// Draws a ring into the compartment at `corner`, with a gap if it was bitten.
    fn draw(&mut self, corner: (usize, usize), chance: &mut Chance, bitten: bool) {
        let middle = real(CELL - 1) / 2.0;
        let centre = (middle + chance.between(-1.5, 1.5), middle + chance.between(-1.5, 1.5));
        let outer = chance.between(8.0, 11.0);
        let inner = outer * chance.between(0.35, 0.5);
        for (y, x) in (0..CELL).flat_map(|y| (0..CELL).map(move |x| (y, x))) {
            let (dx, dy) = (real(x) - centre.0, real(y) - centre.1);
            let away = dx.hypot(dy);
            let bite = bitten && dx > 0.0 && dy.abs() < 2.0;
            if (inner..=outer).contains(&away) && !bite {
                self.dark[(corner.1 + y) * self.width + corner.0 + x] = true;
            }
        }
    }

    /// Counts whole and bitten donuts.
    ///
    /// A donut is a connected dark patch. It is whole if it has a hole: a light patch that does not reach the
    /// photograph's edge. No patch of this bakery has two.
    pub fn count(&self) -> Counted {
        let mut seen = vec![false; self.dark.len()];
        let (mut patches, mut holes) = (0, 0);
        for start in 0..self.dark.len() {
            if seen[start] {
                continue;
            }
            let reaches_edge = self.flood(start, &mut seen);
            if self.dark[start] {
                patches += 1;
            } else if !reaches_edge {
                holes += 1;
            }
        }
        Counted { whole: holes, bitten: patches - holes }
    }

    /// Marks the patch of one shade around `start`; says whether it reaches the edge.
    fn flood(&self, start: usize, seen: &mut [bool]) -> bool {
        let height = self.dark.len() / self.width;
        let mut reaches_edge = false;
        let mut open = vec![start];
        seen[start] = true;
        while let Some(at) = open.pop() {
            let (x, y) = (at % self.width, at / self.width);
            reaches_edge |= x == 0 || y == 0 || x + 1 == self.width || y + 1 == height;
            let left = (x > 0).then(|| at - 1);
            let right = (x + 1 < self.width).then_some(at + 1);
            let up = (y > 0).then(|| at - self.width);
            let down = (y + 1 < height).then_some(at + self.width);
            for next in [left, right, up, down].into_iter().flatten() {
                if !seen[next] && self.dark[next] == self.dark[start] {
                    seen[next] = true;
                    open.push(next);
                }
            }
        }
        reaches_edge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_counted() {
        let mut all = Counted::default();
        for box_id in 0..200 {
            let (photo, content) = photograph(box_id);
            assert_eq!(photo.count(), content, "box {box_id}");
            all = Counted { whole: all.whole + content.whole, bitten: all.bitten + content.bitten };
        }
        assert!(all.whole > 1_500 && all.bitten > 200, "{all:?}");
    }

    #[test]
    fn a_hand_drawn_photo_is_counted() {
        let lines = ["........", ".###.##.", ".#.#.#..", ".###.##.", "........"];
        let dark = lines.iter().flat_map(|line| line.chars().map(|pixel| pixel == '#')).collect();
        assert_eq!(Photo { width: 8, dark }.count(), Counted { whole: 1, bitten: 1 });
    }

    #[test]
    fn an_empty_box_is_empty() {
        assert_eq!(Photo { width: 3, dark: vec![false; 9] }.count(), Counted::default());
    }
}
