//! Where words come from: the files read, and places in them.

/// Index of a file in [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u16);

/// A place in a file: `line` counts from 1, `col` and `len` are bytes of the raw line, `col` from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    pub file: FileId,
    pub line: u32,
    pub col: u32,
    pub len: u32,
}

/// The text of one file, kept for excerpts.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Name as given on the command line, or built from a directory given there.
    pub name: String,
    pub lines: Vec<Vec<u8>>,
}

/// All files of one configuration.
#[derive(Debug, Default, Clone)]
pub struct Sources {
    pub files: Vec<SourceFile>,
}

impl Sources {
    /// Adds a file. CRLF and LF both end a line; a missing last newline changes nothing.
    pub fn add(&mut self, name: impl Into<String>, bytes: &[u8]) -> FileId {
        let mut lines: Vec<Vec<u8>> = bytes
            .split(|&b| b == b'\n')
            .map(|l| l.strip_suffix(b"\r").unwrap_or(l).to_vec())
            .collect();
        if lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        let id = FileId(
            u16::try_from(self.files.len()).expect("the command line bounds the number of files"),
        );
        self.files.push(SourceFile {
            name: name.into(),
            lines,
        });
        id
    }

    /// The file of this id, if there is one.
    pub fn get(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(usize::from(id.0))
    }

    /// The file a span lies in.
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }
}
