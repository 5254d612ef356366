//! Whether something grows.

/// How much `y` grows with each unit of `x`, by least squares; `None` when that cannot be told.
pub(super) fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let count = points.clone().count() as f64;
    let mean = |of: fn((f64, f64)) -> f64| points.clone().map(of).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|(x, _)| x), mean(|(_, y)| y));
    let spread: f64 = points.clone().map(|(x, _)| (x - mean_x).powi(2)).sum();
    let together: f64 = points.map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    (spread > 0.0).then(|| together / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope_whatever_swings_around_it() {
        let swing = [3.0, -3.0, -3.0, 3.0];
        let points = (0..400_u32).map(|n| (f64::from(n), 50.0 + 2.5 * f64::from(n) + swing[n as usize % 4]));
        let found = slope(points).expect("there are points");
        assert!((found - 2.5).abs() < 0.001, "{found}");
        assert_eq!(slope([(1.0, 2.0)].into_iter()), None);
        assert_eq!(slope([].into_iter()), None);
    }
}
