//! The admin socket: one command in, its answer out.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::PATIENCE;

/// Where a balancer answers commands.
#[derive(Clone)]
pub(crate) enum Admin {
    Unix(String),
    Tcp(u16),
}

/// A row of `show stat`, by column name.
pub(crate) type Row = HashMap<String, String>;

impl Admin {
    /// Sends one line and reads to the end.
    pub(crate) fn try_run(&self, command: &str) -> io::Result<String> {
        let mut answer = String::new();
        match self {
            Self::Unix(path) => {
                let mut stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(format!("{command}\n").as_bytes())?;
                stream.read_to_string(&mut answer)?;
            }
            Self::Tcp(port) => {
                let mut stream = TcpStream::connect(("127.0.0.1", *port))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.write_all(format!("{command}\n").as_bytes())?;
                stream.read_to_string(&mut answer)?;
            }
        }
        Ok(answer)
    }

    #[track_caller]
    pub(crate) fn run(&self, command: &str) -> String {
        self.try_run(command)
            .unwrap_or_else(|e| panic!("{command:?} on the admin socket: {e}"))
    }

    /// `show info` as a map.
    #[track_caller]
    pub(crate) fn info(&self) -> HashMap<String, String> {
        let text = self.run("show info");
        let pairs = text.lines().filter_map(|line| line.split_once(": "));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// A number of `show info`.
    #[track_caller]
    pub(crate) fn info_number(&self, name: &str) -> u64 {
        let info = self.info();
        let text = info
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in show info: {info:#?}"));
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is {text:?}"))
    }

    /// `show stat`, row by row, parsed by its header line.
    #[track_caller]
    pub(crate) fn stat(&self) -> Vec<Row> {
        let text = self.run("show stat");
        let mut lines = text.lines().filter(|line| !line.is_empty());
        let header = lines
            .next()
            .expect("a header line")
            .trim_start_matches("# ");
        let names: Vec<_> = header.split(',').collect();
        let row = |line: &str| {
            let cells = names.iter().zip(line.split(','));
            cells
                .map(|(name, cell)| ((*name).to_owned(), cell.to_owned()))
                .collect()
        };
        lines.map(row).collect()
    }

    /// The row of `server` (or `FRONTEND`, `BACKEND`) of `proxy`.
    #[track_caller]
    pub(crate) fn row(&self, proxy: &str, server: &str) -> Row {
        let rows = self.stat();
        let found = rows
            .iter()
            .find(|row| row["pxname"] == proxy && row["svname"] == server);
        found
            .unwrap_or_else(|| panic!("no row {proxy}/{server} in {rows:#?}"))
            .clone()
    }

    /// One cell of `show stat`.
    #[track_caller]
    pub(crate) fn cell(&self, proxy: &str, server: &str, column: &str) -> String {
        let row = self.row(proxy, server);
        row.get(column)
            .unwrap_or_else(|| panic!("no column {column}"))
            .clone()
    }

    /// One cell of `show stat`, as a number; an empty cell counts as 0.
    #[track_caller]
    pub(crate) fn count(&self, proxy: &str, server: &str, column: &str) -> u64 {
        let text = self.cell(proxy, server, column);
        if text.is_empty() {
            0
        } else {
            text.parse()
                .unwrap_or_else(|_| panic!("{column} is {text:?}"))
        }
    }

    /// Waits until `proxy/server` has a status that begins with `status`.
    #[track_caller]
    pub(crate) fn wait_status(&self, proxy: &str, server: &str, status: &str) {
        let there = super::within(PATIENCE, || {
            self.cell(proxy, server, "status").starts_with(status)
        });
        assert!(
            there,
            "{proxy}/{server} never was {status}, but {}",
            self.cell(proxy, server, "status")
        );
    }
}
