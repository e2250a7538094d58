//! The matrices against the correlation that they stand for, straight-line code against its matrix, and the choice of points.

use super::*;

/// Every size there is code for.
fn sizes() -> impl Iterator<Item = Size> {
    (2..Size::MOST).flat_map(Size::all)
}

fn float(x: Rational) -> f64 {
    *x.numer() as f64 / *x.denom() as f64
}

/// `y = A^T [(G g) . (B^T d)]` is the correlation, exactly: for every pair of unit vectors.
#[test]
fn matrices_make_the_correlation() {
    for size in sizes() {
        let of = |role| Map { size, role }.matrix();
        let (input, kernel, output) =
            (of(MapRole::Input), of(MapRole::Kernel), of(MapRole::Output));
        for tap in 0..size.taps {
            let kernel: Vec<Rational> = kernel.iter().map(|row| row[tap]).collect();
            for position in 0..size.inputs() {
                let input = input.iter().map(|row| row[position]);
                let products: Vec<Rational> = input.zip(&kernel).map(|(d, g)| d * g).collect();
                for (number, row) in output.iter().enumerate() {
                    let sum: Rational = row.iter().zip(&products).map(|(a, x)| a * x).sum();
                    let expected = Ratio::new(i64::from(number + tap == position), 1);
                    assert_eq!(sum, expected, "{size} {tap} {position} {number}");
                }
            }
        }
    }
}

/// Straight-line code computes its matrix's product.
#[test]
fn straight_code_is_the_matrix() {
    for size in sizes() {
        for role in [
            MapRole::Input,
            MapRole::Kernel,
            MapRole::Output,
            MapRole::OutputGrad,
            MapRole::KernelGrad,
        ] {
            let map = Map { size, role };
            let matrix = map.matrix();
            assert_eq!((matrix.len(), matrix[0].len()), (map.to(), map.from()), "{map}");
            let code = Straight::of(&matrix);
            for position in 0..map.from() {
                let mut values: Vec<f64> =
                    (0..map.from()).map(|at| f64::from(u8::from(at == position))).collect();
                for term in &code.terms {
                    values.push(match *term {
                        Term::Scaled { factor, of } => f64::from(factor) * values[of],
                        Term::Sum { a, factor, b } => values[a] + f64::from(factor) * values[b],
                    });
                }
                for (row, output) in matrix.iter().zip(&code.outputs) {
                    let found = output.map_or(0.0, |value| values[value]);
                    assert!((found - float(row[position])).abs() < 1e-6, "{map}");
                }
            }
        }
    }
}

/// The transforms of the two commonest sizes take no more operations than the best written by hand: even and odd parts are
/// shared.
#[test]
fn common_parts_are_computed_once() {
    let steps = |outputs, taps, role| {
        Straight::of(&Map { size: Size { outputs, taps }, role }.matrix()).terms.len()
    };
    assert!(steps(4, 5, MapRole::Input) <= 26, "{}", steps(4, 5, MapRole::Input));
    assert!(steps(4, 5, MapRole::Output) <= 18, "{}", steps(4, 5, MapRole::Output));
    assert!(steps(4, 5, MapRole::OutputGrad) <= 16, "{}", steps(4, 5, MapRole::OutputGrad));
    assert!(steps(4, 3, MapRole::Input) <= 14, "{}", steps(4, 3, MapRole::Input));
}

/// Root mean square error of F in two directions in float32, relative to that of the outputs, summed over `channels`.
fn error(size: Size, points: &[Rational], channels: usize, seed: u64) -> f64 {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand::rngs::ChaCha8Rng::seed_from_u64(seed);
    let matrices = Matrices::at(points, size);
    let table = |rows: &[Vec<Rational>]| -> Vec<Vec<f32>> {
        rows.iter().map(|row| row.iter().map(|&x| float(x) as f32).collect()).collect()
    };
    let (input, kernel) = (table(&matrices.input), table(&matrices.kernel));
    let output = table(&transposed(&matrices.output, size.outputs));
    let both = |map: &[Vec<f32>], from: &[Vec<f32>]| -> Vec<Vec<f32>> {
        let once = |rows: &[Vec<f32>]| -> Vec<Vec<f32>> {
            let dot = |row: &Vec<f32>, x: usize| {
                row.iter().zip(rows).fold(0.0, |sum, (a, b)| a.mul_add(b[x], sum))
            };
            (0..rows[0].len()).map(|x| map.iter().map(|row| dot(row, x)).collect()).collect()
        };
        once(&once(from))
    };
    let (n, m, k) = (size.inputs(), size.outputs, size.taps);
    let mut draw = |side: usize, low: f32| -> Vec<Vec<f32>> {
        (0..side).map(|_| (0..side).map(|_| rng.random_range(low..1.0f32)).collect()).collect()
    };
    let mut sums = vec![vec![0.0f32; n]; n];
    let mut exact = vec![vec![0.0f64; m]; m];
    for _ in 0..channels {
        let (d, g) = (draw(n, 0.0), draw(k, -1.0));
        let (v, u) = (both(&input, &d), both(&kernel, &g));
        for y in 0..n {
            for x in 0..n {
                sums[y][x] = v[y][x].mul_add(u[y][x], sums[y][x]);
            }
        }
        for (y, row) in exact.iter_mut().enumerate() {
            for (x, sum) in row.iter_mut().enumerate() {
                for (dy, taps) in g.iter().enumerate() {
                    for (dx, &tap) in taps.iter().enumerate() {
                        *sum += f64::from(tap) * f64::from(d[y + dy][x + dx]);
                    }
                }
            }
        }
    }
    let found = both(&output, &sums);
    let pairs = || exact.iter().flatten().zip(found.iter().flatten());
    let squares: f64 = pairs().map(|(exact, &found)| (f64::from(found) - exact).powi(2)).sum();
    (squares / pairs().map(|(exact, _)| exact.powi(2)).sum::<f64>()).sqrt()
}

/// Of all points from a set of small numbers and their inverses, in pairs of `p` and `-p` as far as they go, those chosen round
/// least, but for what the luck of a draw may explain.
#[test]
fn points_round_least() {
    let ratios = [(1, 1), (1, 2), (2, 1), (3, 2), (2, 3)].map(|(p, q)| Ratio::new(p, q));
    for inputs in 4..=Size::MOST {
        let all: Vec<Size> = sizes().filter(|size| size.inputs() == inputs).collect();
        let mean = |points: &[Rational]| {
            let errors = all.iter().flat_map(|&size| (0..4).map(move |seed| (size, seed)));
            let logs = errors.map(|(size, seed)| error(size, points, 32, seed).ln());
            (logs.sum::<f64>() / (4 * all.len()) as f64).exp()
        };
        let chosen = mean(&all[0].points());
        let mut best = (f64::INFINITY, Vec::new());
        for set in 0_u32..1 << ratios.len() {
            let members = ratios.iter().enumerate().filter(|(number, _)| set >> number & 1 == 1);
            let pairs = members.flat_map(|(_, &point)| [point, -point]);
            let paired: Vec<Rational> = [Ratio::new(0, 1)].into_iter().chain(pairs).collect();
            let odd = ratios.iter().filter(|point| !paired.contains(point));
            let sets = match (inputs - 1).checked_sub(paired.len()) {
                Some(0) => vec![paired.clone()],
                Some(1) => odd.map(|&point| [paired.clone(), vec![point]].concat()).collect(),
                _ => continue,
            };
            for points in sets {
                let found = mean(&points);
                if found < best.0 {
                    best = (found, points);
                }
            }
        }
        let best = (best.0, best.1.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert!(chosen <= 1.2 * best.0, "{inputs}: {chosen:e}, but {:e} at {:?}", best.0, best.1);
    }
}
