//! Colours and signs for the terminal at hand.
//!
//! Nobody tells whether a terminal is dark or light. So of 256 colours only those are taken that stand out on both
//! black and white; of 8 only those that most themes keep readable; and nothing is told by colour alone.

use ratatui::style::{Color, Modifier, Style};

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    colors: Colors,
    /// Block elements can be shown.
    pub blocks: bool,
}

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// None are wanted.
    None,
    /// The eight of old.
    Eight,
    /// 256 or more.
    Many,
}

/// What something is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// In between, or to be looked at.
    Busy,
    /// Not as it should be.
    Bad,
    /// Out of the deal on purpose.
    Apart,
    /// A chart.
    Chart,
    /// Less important.
    Faint,
    /// A heading.
    Strong,
    /// Like most of the text.
    Plain,
}

impl Theme {
    /// Text without any style, for what is no terminal.
    pub fn plain(blocks: bool) -> Self {
        Self {
            colors: Colors::None,
            blocks,
        }
    }

    /// For the terminal that the environment `of` describes.
    pub fn of_environment(of: impl Fn(&str) -> Option<String>) -> Self {
        let said = |name: &str| of(name).filter(|value| !value.is_empty());
        let term = said("TERM").unwrap_or_default();
        let colors = if said("NO_COLOR").is_some() {
            Colors::None
        } else if said("COLORTERM").is_some() || term.contains("256") || term.contains("direct") {
            Colors::Many
        } else {
            Colors::Eight
        };
        // The console has eight levels of nothing but the full block; an unknown locale is most likely UTF-8.
        let locale = said("LC_ALL")
            .or_else(|| said("LC_CTYPE"))
            .or_else(|| said("LANG"));
        let is_utf8 = locale.is_none_or(|locale| {
            let locale = locale.to_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        Self {
            colors,
            blocks: is_utf8 && term != "linux",
        }
    }

    /// The style of a tone.
    pub fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        let style = match self.color(tone) {
            Some(color) => style.fg(color),
            None => style,
        };
        match tone {
            Tone::Strong => style.add_modifier(Modifier::BOLD),
            Tone::Bad => style.add_modifier(Modifier::BOLD),
            Tone::Faint if self.colors != Colors::Many => style.add_modifier(Modifier::DIM),
            _ => style,
        }
    }

    /// The style of what is selected.
    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn color(self, tone: Tone) -> Option<Color> {
        let (eight, many) = match tone {
            Tone::Good => (Color::Green, 28),
            Tone::Busy => (Color::Magenta, 166),
            Tone::Bad => (Color::Red, 160),
            Tone::Apart => (Color::Cyan, 133),
            Tone::Chart => (Color::Cyan, 31),
            Tone::Faint => (Color::Reset, 244),
            Tone::Strong | Tone::Plain => return None,
        };
        match self.colors {
            Colors::None => None,
            Colors::Eight => Some(eight).filter(|color| *color != Color::Reset),
            Colors::Many => Some(Color::Indexed(many)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the colour cube and the greys of a terminal with 256 colours, as WCAG 2 measures it.
    fn luminance(index: u8) -> f64 {
        let level = |step: u8| {
            if step == 0 {
                0.0
            } else {
                55.0 + 40.0 * f64::from(step)
            }
        };
        let [r, g, b] = match index {
            16..=231 => {
                let cube = index - 16;
                [level(cube / 36), level(cube / 6 % 6), level(cube % 6)]
            }
            232.. => [8.0 + 10.0 * f64::from(index - 232); 3],
            _ => panic!("{index} is up to the theme of the terminal"),
        };
        let linear = |c: f64| {
            let c = c / 255.0;
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
    }

    #[test]
    fn every_colour_stands_out_on_black_and_on_white() {
        let theme = Theme::of_environment(|name| (name == "TERM").then(|| "xterm-256color".into()));
        for tone in [
            Tone::Good,
            Tone::Busy,
            Tone::Bad,
            Tone::Apart,
            Tone::Chart,
            Tone::Faint,
        ] {
            let Some(Color::Indexed(index)) = theme.style(tone).fg else {
                panic!("{tone:?} has no colour");
            };
            let luminance = luminance(index);
            let (on_black, on_white) = ((luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05));
            assert!(
                on_black > 3.8 && on_white > 3.8,
                "{tone:?}: {on_black}, {on_white}"
            );
        }
    }

    #[test]
    fn the_environment_says_what_can_be_shown() {
        let of = |all: &'static [(&str, &str)]| {
            Theme::of_environment(move |name| {
                let found = all.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let theme = of(&[("TERM", "xterm-256color"), ("LANG", "de_DE.UTF-8")]);
        assert_eq!((theme.colors, theme.blocks), (Colors::Many, true));
        let theme = of(&[("TERM", "linux")]);
        assert_eq!((theme.colors, theme.blocks), (Colors::Eight, false));
        let theme = of(&[("TERM", "xterm"), ("LC_ALL", "C"), ("NO_COLOR", "1")]);
        assert_eq!((theme.colors, theme.blocks), (Colors::None, false));
        let theme = of(&[
            ("TERM", "xterm"),
            ("COLORTERM", "truecolor"),
            ("NO_COLOR", ""),
        ]);
        assert_eq!((theme.colors, theme.blocks), (Colors::Many, true));
        assert_eq!(Theme::plain(true).style(Tone::Good).fg, None);
    }
}
