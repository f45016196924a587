//! A line of the admin socket into commands and words (management.txt 9.3): spaces separate words,
//! `;` commands, a backslash takes both meanings from the character behind it, and `<<` at the end
//! announces a payload.

/// One command, as words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub words: Vec<String>,
}

/// How a line ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Plain,
    /// A payload follows, up to this line (`<<PATTERN`), or up to an empty one.
    Payload(Vec<u8>),
}

/// Longest pattern behind `<<`.
const PATTERN_BYTES: usize = 64;

/// Cuts a line, without its line feed. An empty line is one command without words.
pub fn line(line: &[u8]) -> (Vec<Command>, Ending) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (line, ending) = payload(line);
    let mut commands = vec![Command { words: Vec::new() }];
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => word.get_or_insert_default().extend(bytes.next()),
            b';' => {
                finish(&mut commands, &mut word);
                commands.push(Command { words: Vec::new() });
            }
            b' ' | b'\t' => finish(&mut commands, &mut word),
            other => word.get_or_insert_default().push(other),
        }
    }
    finish(&mut commands, &mut word);
    // What stands behind the last `;` counts only if it says something.
    if commands.len() > 1 && commands.last().is_some_and(|last| last.words.is_empty()) {
        commands.pop();
    }
    (commands, ending)
}

fn finish(commands: &mut [Command], word: &mut Option<Vec<u8>>) {
    if let (Some(word), Some(last)) = (word.take(), commands.last_mut()) {
        last.words.push(String::from_utf8_lossy(&word).into_owned());
    }
}

/// Takes ` <<` or ` <<PATTERN` off the end of a line.
fn payload(line: &[u8]) -> (&[u8], Ending) {
    let trimmed = line.trim_ascii_end();
    let Some(space) = trimmed.iter().rposition(|&b| b == b' ') else {
        return (line, Ending::Plain);
    };
    match trimmed[space + 1..].strip_prefix(b"<<") {
        Some(pattern) if pattern.len() <= PATTERN_BYTES => {
            (&line[..space], Ending::Payload(pattern.to_vec()))
        }
        _ => (line, Ending::Plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        line(text.as_bytes())
            .0
            .into_iter()
            .map(|c| c.words)
            .collect()
    }

    #[test]
    fn spaces_separate_words_and_semicolons_commands() {
        assert_eq!(
            words("show  info ;show stat"),
            [vec!["show", "info"], vec!["show", "stat"]]
        );
        assert_eq!(words("show version\r"), [vec!["show", "version"]]);
        assert_eq!(words("show version;"), [vec!["show", "version"]]);
    }

    #[test]
    fn a_backslash_keeps_the_next_character() {
        assert_eq!(
            words("get weight be\\;s1"),
            [vec!["get", "weight", "be;s1"]]
        );
        assert_eq!(
            words("get weight a\\ b\\\\c"),
            [vec!["get", "weight", "a b\\c"]]
        );
    }

    #[test]
    fn quotes_mean_nothing() {
        assert_eq!(
            words("get weight \"be/s1\""),
            [vec!["get", "weight", "\"be/s1\""]]
        );
    }

    #[test]
    fn an_empty_line_is_one_empty_command() {
        assert_eq!(words(""), [Vec::<String>::new()]);
    }

    #[test]
    fn a_payload_is_announced_by_the_last_word() {
        let ending = |text: &str| line(text.as_bytes()).1;
        assert_eq!(ending("set ssl cert x <<"), Ending::Payload(Vec::new()));
        assert_eq!(
            ending("set ssl cert x <<EOF"),
            Ending::Payload(b"EOF".to_vec())
        );
        assert_eq!(ending("set x y<<"), Ending::Plain);
        assert_eq!(
            words("set ssl cert x <<EOF"),
            [vec!["set", "ssl", "cert", "x"]]
        );
    }
}
