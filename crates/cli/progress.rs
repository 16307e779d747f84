//! Progress on standard error, and only where a person looks at it.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::Common;

/// A bar of `total` steps; silent with --quiet or when standard error is no terminal.
pub(crate) fn bar(common: &Common, total: u64, message: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if common.quiet || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) =
        ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len} {elapsed} (eta {eta})")
    {
        bar.set_style(style);
    }
    bar.set_message(message.to_owned());
    bar
}

/// A line that says what goes on, where no end can be foreseen.
pub(crate) fn spinner(common: &Common, message: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if common.quiet || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.set_message(message.to_owned());
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    bar
}
