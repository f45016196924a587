//! The demo's counters as text, from what the admin socket answers.

use std::collections::HashMap;

/// One row of `show stat`, by column name.
type Row<'a> = HashMap<&'a str, &'a str>;

/// A table of all servers and their sum.
pub(super) fn table(stat: &str, activity: &str) -> String {
    let mut text = format!(
        "{:<10} {:<8} {:>8} {:>10} {:>12} {:>12}\n",
        "server", "status", "open", "sessions", "from client", "to client"
    );
    for row in rows(stat)
        .iter()
        .filter(|r| r.get("pxname") == Some(&"origins"))
    {
        text.push_str(&format!(
            "{:<10} {:<8} {:>8} {:>10} {:>12} {:>12}\n",
            field(row, "svname"),
            field(row, "status"),
            field(row, "scur"),
            field(row, "stot"),
            bytes(field(row, "bin")),
            bytes(field(row, "bout")),
        ));
    }
    let (copied, spliced) = paths(activity);
    text.push_str(&format!(
        "bytes copied {}, spliced {}\n",
        size(copied),
        size(spliced)
    ));
    text
}

/// The same in one line, for logs and pipes.
pub(super) fn line(stat: &str, activity: &str) -> String {
    let servers: Vec<String> = rows(stat)
        .iter()
        .filter(|r| r.get("pxname") == Some(&"origins"))
        .map(|r| {
            format!(
                "{} {} {}/{}",
                field(r, "svname"),
                field(r, "status"),
                field(r, "scur"),
                field(r, "stot")
            )
        })
        .collect();
    let (copied, spliced) = paths(activity);
    format!(
        "{}; copied {}, spliced {}\n",
        servers.join(", "),
        size(copied),
        size(spliced)
    )
}

fn rows(stat: &str) -> Vec<Row<'_>> {
    let mut lines = stat.lines();
    let Some(head) = lines.next().and_then(|l| l.strip_prefix("# ")) else {
        return Vec::new();
    };
    let names: Vec<&str> = head.split(',').collect();
    lines
        .filter(|l| !l.is_empty())
        .map(|l| names.iter().copied().zip(l.split(',')).collect())
        .collect()
}

fn field<'a>(row: &Row<'a>, name: &str) -> &'a str {
    row.get(name).copied().unwrap_or("")
}

/// Bytes copied and spliced, summed over the shards.
fn paths(activity: &str) -> (u64, u64) {
    let number = |name: &str| {
        let rest = activity
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix(": "))?;
        rest.split(' ').next()?.parse().ok()
    };
    (
        number("bytes_copied").unwrap_or(0),
        number("bytes_spliced").unwrap_or(0),
    )
}

fn bytes(text: &str) -> String {
    text.parse().map_or_else(|_| String::new(), size)
}

/// A size in the largest unit that keeps at least one digit before the point.
fn size(n: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")];
    for (unit, name) in UNITS {
        if n >= unit {
            return format!("{:.1} {name}", n as f64 / unit as f64);
        }
    }
    format!("{n} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "# pxname,svname,scur,stot,bin,bout,status\n\
                        demo,FRONTEND,1,9,1,1,OPEN\n\
                        origins,anna,1,5,2048,3145728,UP\n\
                        origins,BACKEND,1,9,2048,3145728,UP\n\n";

    #[test]
    fn the_table_shows_servers_and_their_sum() {
        let text = table(
            STAT,
            "bytes_copied: 2048 [ 2048 0 ]\nbytes_spliced: 3145728 [ 0 3145728 ]\n",
        );
        assert_eq!(text.lines().count(), 4);
        assert!(
            text.contains("anna       UP              1          5       2.0 kB       3.0 MB"),
            "{text}"
        );
        assert!(text.ends_with("bytes copied 2.0 kB, spliced 3.0 MB\n"));
    }

    #[test]
    fn one_line_says_the_same() {
        assert_eq!(
            line(STAT, ""),
            "anna UP 1/5, BACKEND UP 1/9; copied 0 B, spliced 0 B\n"
        );
    }

    #[test]
    fn an_answer_that_is_no_table_shows_nothing() {
        assert_eq!(rows("").len() + rows("Permission denied\n").len(), 0);
    }
}
