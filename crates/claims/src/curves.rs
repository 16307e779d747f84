//! Curves of the training loss, averaged over windows of steps.

use gainstage_train::Fit;

/// Means over consecutive windows of so many steps.
pub(crate) fn smoothed(fit: &Fit, window: usize) -> Vec<f64> {
    let windows = fit.step_losses.chunks_exact(window);
    windows.map(|w| w.iter().map(|&l| f64::from(l)).sum::<f64>() / window as f64).collect()
}

/// Mean over the last so many steps: infinite where training diverged.
pub(crate) fn last_loss(fit: &Fit, window: usize) -> f64 {
    if fit.diverged.is_some() {
        return f64::INFINITY;
    }
    let steps = &fit.step_losses[fit.step_losses.len().saturating_sub(window)..];
    steps.iter().map(|&l| f64::from(l)).sum::<f64>() / steps.len() as f64
}

/// Steps until a window's mean is below a level, to the end of that window.
pub(crate) fn steps_to(fit: &Fit, window: usize, level: f64) -> Option<usize> {
    smoothed(fit, window).iter().position(|&l| l < level).map(|w| (w + 1) * window)
}

/// Step and loss, averaged over several trainings for as long as one of them lasts.
pub(crate) fn mean_curve(fits: &[Fit], window: usize) -> Vec<(f64, f64)> {
    let curves: Vec<Vec<f64>> = fits.iter().map(|fit| smoothed(fit, window)).collect();
    let longest = curves.iter().map(Vec::len).max().unwrap_or(0);
    let mean = |w: usize| {
        let there: Vec<f64> = curves.iter().filter_map(|c| c.get(w).copied()).collect();
        there.iter().sum::<f64>() / there.len() as f64
    };
    (0..longest).map(|w| (((w + 1) * window) as f64, mean(w))).collect()
}

/// The mean of what is found of every training.
pub(crate) fn mean_of(fits: &[Fit], value: impl Fn(&Fit) -> f64) -> f64 {
    fits.iter().map(value).sum::<f64>() / fits.len() as f64
}
