//! A frame that is drawn again in its place.

use std::fmt::Write as _;
use std::io;

use super::Printer;
use super::view::{Ink, painted_width};

const HIDE_CURSOR: &str = "\u{1b}[?25l";
const SHOW_CURSOR: &str = "\u{1b}[?25h";
/// The terminal shows what lies between these at once; those that do not know them ignore them.
const BEGIN_FRAME: &str = "\u{1b}[?2026h";
const END_FRAME: &str = "\u{1b}[?2026l";
const CLEAR_TO_END_OF_LINE: &str = "\u{1b}[K";
const CLEAR_ALL: &str = "\u{1b}[H\u{1b}[2J";
const CLEAR_BELOW: &str = "\u{1b}[J";

/// The place on the terminal. The cursor is hidden until this is dropped, however that comes about.
pub(super) struct Live<'a> {
    printer: &'a Printer,
    /// Columns of each line that is on the terminal now.
    drawn: Vec<usize>,
}

impl<'a> Live<'a> {
    pub(super) fn new(printer: &'a Printer) -> io::Result<Self> {
        printer.print(HIDE_CURSOR)?;
        Ok(Self { printer, drawn: Vec::new() })
    }

    /// Starts anew on an empty window: a changed size has moved lines to and from the terminal's memory, and nobody
    /// knows where the former frame is now.
    pub(super) fn resized(&mut self) -> io::Result<()> {
        self.drawn.clear();
        self.printer.print(CLEAR_ALL)
    }

    /// Draws the frame over the former one. What does not fit the terminal's height is left out.
    pub(super) fn draw(&mut self, frame: &str) -> io::Result<()> {
        let (columns, rows) = self.printer.size();
        let style = self.printer.style();
        let (text, drawn) = redraw(&self.drawn, frame, columns, rows, &style.paint(Ink::Dim, MORE));
        self.drawn = drawn;
        self.printer.print(&text)
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        let _ = self.printer.print(SHOW_CURSOR);
    }
}

const MORE: &str = "… the window is too low for the rest";

/// What to write so that `frame` replaces the lines `drawn` on a terminal of this size, and the new lines' columns.
fn redraw(drawn: &[usize], frame: &str, columns: usize, rows: usize, more: &str) -> (String, Vec<usize>) {
    let columns = columns.max(1);
    // A narrower window has broken long lines into several rows.
    let height: usize = drawn.iter().map(|width| width.div_ceil(columns).max(1)).sum();
    // The last row is the cursor's.
    let room = rows.saturating_sub(1).max(1);
    let mut lines: Vec<&str> = frame.lines().collect();
    if lines.len() > room {
        lines.truncate(room - 1);
        lines.push(more);
    }
    let mut text = BEGIN_FRAME.to_owned();
    match height.min(room) {
        0 => {}
        up => {
            let _ = write!(text, "\r\u{1b}[{up}A");
        }
    }
    for line in &lines {
        let _ = write!(text, "{line}{CLEAR_TO_END_OF_LINE}\r\n");
    }
    text.push_str(CLEAR_BELOW);
    text.push_str(END_FRAME);
    (text, lines.iter().map(|line| painted_width(line)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_up_by_the_rows_that_a_narrower_window_made_of_the_lines() {
        let (text, drawn) = redraw(&[], "short\n0123456789\n", 80, 24, MORE);
        assert!(!text.contains('A'), "the first frame goes nowhere up: {text:?}");
        assert_eq!(drawn, [5, 10]);
        assert!(redraw(&drawn, "x", 80, 24, MORE).0.contains("\u{1b}[2A"));
        assert!(redraw(&drawn, "x", 4, 24, MORE).0.contains("\u{1b}[5A"));
    }

    #[test]
    fn never_draws_more_rows_than_the_window_has() {
        let (text, drawn) = redraw(&[], "1\n2\n3\n4\n5\n", 80, 4, MORE);
        assert_eq!(drawn.len(), 3);
        assert!(text.contains(MORE) && !text.contains('4'), "{text:?}");
    }
}
