//! Colours, and lines that never grow too wide.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style as Ansi};

use super::text;

/// Whether to paint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether colour sequences are written.
    pub colour: bool,
}

impl Style {
    /// No colours.
    pub const PLAIN: Style = Style { colour: false };
    /// Colours.
    pub const PAINTED: Style = Style { colour: true };

    /// The text in this ink.
    #[must_use]
    pub fn paint(self, ink: Ink, words: &str) -> String {
        let ansi = ink.ansi();
        if self.colour && !words.trim().is_empty() && ansi != Ansi::new() {
            format!("{ansi}{words}{ansi:#}")
        } else {
            words.to_owned()
        }
    }
}

/// What a text means, not how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Ordinary text.
    Plain,
    /// A name or a title.
    Strong,
    /// What may be overlooked.
    Dim,
    /// It is well.
    Good,
    /// Something goes on.
    Busy,
    /// Somebody should look.
    Warn,
    /// It is not well.
    Bad,
}

impl Ink {
    const fn ansi(self) -> Ansi {
        match self {
            Ink::Plain => Ansi::new(),
            Ink::Strong => Ansi::new().bold(),
            Ink::Dim => Ansi::new().dimmed(),
            Ink::Good => AnsiColor::Green.on_default(),
            Ink::Busy => AnsiColor::Cyan.on_default(),
            Ink::Warn => AnsiColor::Yellow.on_default(),
            Ink::Bad => AnsiColor::Red.on_default(),
        }
    }
}

/// A page of lines, none of them wider than `width` columns.
#[derive(Clone, Debug)]
pub struct Page {
    /// Columns.
    pub width: usize,
    /// Whether to paint.
    pub style: Style,
    lines: Vec<String>,
}

impl Page {
    /// An empty page.
    #[must_use]
    pub const fn new(width: usize, style: Style) -> Self {
        Self { width, style, lines: Vec::new() }
    }

    /// A new line to be filled and given to [`Page::push`].
    #[must_use]
    pub const fn line(&self) -> Line {
        Line { width_max: self.width, style: self.style, painted: String::new(), width: 0 }
    }

    /// Adds a line.
    pub fn push(&mut self, line: Line) {
        self.lines.push(line.painted.trim_end().to_owned());
    }

    /// Adds an empty line, but never two in a row and none at the top.
    pub fn gap(&mut self) {
        if self.lines.last().is_some_and(|last| !last.is_empty()) {
            self.lines.push(String::new());
        }
    }

    /// Adds a text in as many lines as it needs, at most `lines_max`, each after `indent` spaces.
    pub fn paragraph(&mut self, indent: usize, ink: Ink, words: &str, lines_max: usize) {
        let columns = self.width.saturating_sub(indent);
        for part in text::wrap_at_most(&text::clean(words), columns, lines_max) {
            let line = self.line().to(indent).put(ink, &part);
            self.push(line);
        }
    }

    /// All of it, each line with its end.
    #[must_use]
    pub fn finish(mut self) -> String {
        while self.lines.last().is_some_and(String::is_empty) {
            self.lines.pop();
        }
        self.lines.iter().fold(String::new(), |mut all, line| {
            let _ = writeln!(all, "{line}");
            all
        })
    }
}

/// One line under way. Text that does not fit any more is cut.
#[derive(Clone, Debug)]
pub struct Line {
    width_max: usize,
    style: Style,
    painted: String,
    width: usize,
}

impl Line {
    /// Adds a text.
    #[must_use]
    pub fn put(mut self, ink: Ink, words: &str) -> Self {
        let fitting = text::cut(words, self.width_max.saturating_sub(self.width));
        self.width += text::width(&fitting);
        self.painted.push_str(&self.style.paint(ink, &fitting));
        self
    }

    /// Fills up with spaces to a column, counted from 0. A line that is there already gets one space.
    #[must_use]
    pub fn to(self, column: usize) -> Self {
        let fill = if column > self.width { column - self.width } else { usize::from(self.width > 0) };
        self.put(Ink::Plain, &" ".repeat(fill))
    }

    /// Adds a text that ends at a column.
    #[must_use]
    pub fn put_right(self, end: usize, ink: Ink, words: &str) -> Self {
        self.to(end.saturating_sub(text::width(words))).put(ink, words)
    }

    /// Columns used so far.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }
}
