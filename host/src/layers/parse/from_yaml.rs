//! YAML, from the events of `saphyr-parser`, each of which knows its line. Plain scalars stay
//! words: whether `on` or `1e-4` is text, switch or number is for the option to say, not for YAML.

use super::{Entry, Fault};
use crate::layers::leaf::Raw;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

pub fn parse(text: &str) -> (Vec<Entry>, Vec<Fault>) {
    let mut reader = Reader { parser: Parser::new_from_str(text), entries: Vec::new() };
    let faults = reader.stream().err().into_iter().collect();
    (reader.entries, faults)
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    entries: Vec<Entry>,
}

impl<'a> Reader<'a> {
    /// The next event with its line; `None` at the end.
    fn next(&mut self) -> Result<Option<(Event<'a>, usize)>, Fault> {
        match self.parser.next_event() {
            None | Some(Ok((Event::StreamEnd, _))) => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, line(span)))),
            Some(Err(error)) => Err(invalid(&error)),
        }
    }

    fn stream(&mut self) -> Result<(), Fault> {
        let mut documents = 0;
        while let Some((event, line)) = self.next()? {
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    // The one before it has ended; what this one holds would silently win or lose.
                    if documents > 1 {
                        let line = self.next()?.map_or(line, |(_, line)| line);
                        return Err(Fault::new(line, "a second document in one file; settings take one"));
                    }
                }
                Event::MappingStart(..) => self.mapping()?,
                Event::Scalar(text, ScalarStyle::Plain, ..) if is_null(&text) => {}
                Event::Scalar(..) | Event::SequenceStart(..) | Event::Alias(_) => {
                    return Err(Fault::new(line, "expected keys and values, as `seed: 7`"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn mapping(&mut self) -> Result<(), Fault> {
        while let Some((event, line)) = self.next()? {
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(Fault::new(line, "a key must be a word, as in `seed: 7`")),
            };
            let Some((event, at)) = self.next()? else { break };
            let raw = self.value(event, at)?;
            self.entries.push(Entry { key, line, raw });
        }
        Ok(())
    }

    fn value(&mut self, event: Event<'a>, line: usize) -> Result<Raw, Fault> {
        match event {
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                while let Some((event, line)) = self.next()? {
                    match event {
                        Event::SequenceEnd => break,
                        Event::SequenceStart(..) | Event::MappingStart(..) => {
                            self.leave_out()?;
                            items.push(Raw::Other("a list or group within a list".into()));
                        }
                        event => items.push(scalar(event, line)?),
                    }
                }
                Ok(Raw::List(items))
            }
            Event::MappingStart(..) => {
                self.leave_out()?;
                Ok(Raw::Table)
            }
            event => scalar(event, line),
        }
    }

    /// Passes over the rest of a list or group, without recursion: nesting has no end in a hostile
    /// file.
    fn leave_out(&mut self) -> Result<(), Fault> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next()? {
                Some((Event::SequenceStart(..) | Event::MappingStart(..), _)) => depth += 1,
                Some((Event::SequenceEnd | Event::MappingEnd, _)) => depth -= 1,
                Some(_) => {}
                None => break,
            }
        }
        Ok(())
    }
}

fn scalar(event: Event<'_>, line: usize) -> Result<Raw, Fault> {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) if is_null(&text) => Ok(Raw::Null),
        Event::Scalar(text, ScalarStyle::Plain, ..) => Ok(Raw::Words(text.into_owned())),
        Event::Scalar(text, ..) => Ok(Raw::Text(text.into_owned())),
        Event::Alias(_) => Err(Fault::new(line, "references (`*name`) are not supported; write the value again")),
        _ => Err(Fault::new(line, "no valid YAML: a value is missing")),
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn line(span: Span) -> usize {
    span.start.line()
}

fn invalid(error: &ScanError) -> Fault {
    Fault::new(error.marker().line(), format!("no valid YAML: {}", error.info()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_quoted_text_and_nothing() {
        let (entries, faults) = parse("a: on\nb: 'on'\nc:\nd: ~\ne: |\n  two\n  lines\nf: [x, 'y', [1]]\n");
        assert_eq!(faults, []);
        let raws: Vec<Raw> = entries.into_iter().map(|entry| entry.raw).collect();
        let nested = Raw::Other("a list or group within a list".into());
        let expected = [
            Raw::Words("on".into()),
            Raw::Text("on".into()),
            Raw::Null,
            Raw::Null,
            Raw::Text("two\nlines\n".into()),
            Raw::List(vec![Raw::Words("x".into()), Raw::Text("y".into()), nested]),
        ];
        assert_eq!(raws, expected);
    }
}
