//! The one way to the terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::view::Style;

/// Columns when the output is not a terminal.
const WIDTH_ELSEWHERE: usize = 100;

/// When to write colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    #[default]
    Auto,
    /// In any case
    Always,
    /// In no case
    Never,
}

/// Standard output and standard error.
pub struct Printer {
    out: Sink,
    err: Sink,
}

struct Sink {
    writer: Mutex<Box<dyn Write + Send>>,
    is_terminal: bool,
    style: Style,
}

/// What a [`Printer::captured`] printer wrote.
#[derive(Clone, Default)]
pub struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Captured {
    /// All of it so far.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Printer {
    /// Prints to the process's own output.
    #[must_use]
    pub fn new(colour: Colour) -> Self {
        let sink = |writer: Box<dyn Write + Send>, is_terminal: bool| Sink {
            writer: Mutex::new(writer),
            is_terminal,
            style: Style { colour: wants_colour(colour, is_terminal) },
        };
        Self {
            out: sink(Box::new(io::stdout()), io::stdout().is_terminal()),
            err: sink(Box::new(io::stderr()), io::stderr().is_terminal()),
        }
    }

    /// Prints to memory, without colours: standard output, standard error.
    #[must_use]
    pub fn captured() -> (Self, Captured, Captured) {
        let (out, err) = (Captured::default(), Captured::default());
        let sink = |captured: &Captured| Sink {
            writer: Mutex::new(Box::new(captured.clone())),
            is_terminal: false,
            style: Style::PLAIN,
        };
        (Self { out: sink(&out), err: sink(&err) }, out, err)
    }

    /// Writes to standard output.
    ///
    /// # Errors
    /// When nobody reads it any more, or the device is full.
    pub fn print(&self, text: &str) -> io::Result<()> {
        self.out.write(text)
    }

    /// Writes to standard error; when even that fails there is nobody left to tell.
    pub fn say(&self, text: &str) {
        let _ = self.err.write(text);
    }

    /// How standard output is painted.
    #[must_use]
    pub const fn style(&self) -> Style {
        self.out.style
    }

    /// How standard error is painted.
    #[must_use]
    pub const fn error_style(&self) -> Style {
        self.err.style
    }

    /// Whether standard output is a terminal that understands cursor movement.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.out.is_terminal && !is_dumb()
    }

    /// Columns for standard error: a person reads words, a program that reads it looks for whole lines.
    #[must_use]
    pub fn error_width(&self) -> usize {
        match terminal_size::terminal_size() {
            Some((columns, _)) if self.err.is_terminal => usize::from(columns.0),
            _ => usize::MAX,
        }
    }

    /// Columns and rows of the terminal at this moment; where there is none, 100 columns and no end of rows.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        match terminal_size::terminal_size() {
            Some((columns, rows)) if self.out.is_terminal => (usize::from(columns.0), usize::from(rows.0)),
            _ => (WIDTH_ELSEWHERE, usize::MAX),
        }
    }
}

impl Sink {
    fn write(&self, text: &str) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(text.as_bytes())?;
        writer.flush()
    }
}

/// <https://no-color.org>: any value but the empty one.
fn wants_colour(colour: Colour, is_terminal: bool) -> bool {
    match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => {
            is_terminal && !is_dumb() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}
